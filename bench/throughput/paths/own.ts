/** The project itself: the example `tap-overlay` on both hosts, as a user starts it. */
import { randomBytes } from 'node:crypto';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { OwnOptions } from '../options.ts';
import { HOSTS, other, UNDERLAY } from '../stage.ts';
import type { Path } from './path.ts';

// From dist/bench/throughput/paths/.
const PROGRAM = fileURLToPath(new URL('../../../examples/tap-overlay.js', import.meta.url));
const TAP = 'tap0';

function missing(): string | null {
  if (!existsSync(PROGRAM)) return `${PROGRAM} not found: npm run build`;
  return existsSync('/dev/net/tun') ? null : '/dev/net/tun not found: modprobe tun';
}

function own(name: string, secret: boolean, options: readonly string[], how: OwnOptions): Path {
  return {
    name,
    missing,
    async lay(stage) {
      const more = [...options, '--busy-poll', `${how.busyPoll}`];
      if (secret) {
        const file = join(stage.folder(), 'secret');
        writeFileSync(file, `${randomBytes(32).toString('base64')}\n`, { mode: 0o600 });
        more.push('--secret-file', file);
      }
      const daemons = HOSTS.map((host) => {
        const ends = ['--local', UNDERLAY[host], '--remote', UNDERLAY[other(host)]];
        const argv = [
          process.execPath,
          ...how.nodeArgs,
          PROGRAM,
          '--tap',
          TAP,
          '--vni',
          '42',
          ...ends,
          ...more,
        ];
        return stage.daemon(host, argv);
      });
      for (const daemon of daemons) await daemon.line(/^ready\b/);
      for (const host of HOSTS) stage.settle(host, TAP);
    },
  };
}

/** Plain VXLAN, ESP in UDP and ESP on protocol 50. */
export function ownPaths(how: OwnOptions): Path[] {
  return [
    own('plain', false, [], how),
    own('esp-udp', true, [], how),
    own('esp-raw', true, ['--carrier', 'ip'], how),
  ];
}
