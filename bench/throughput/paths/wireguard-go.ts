/**
 * WireGuard in user space, the release that moves super-frames through TUN and UDP. It is configured through
 * its socket by `wg`; the kernel's own WireGuard plays no part.
 */
import { spawnSync } from 'node:child_process';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { HOSTS, type Host, INSIDE, other, type Stage, UNDERLAY } from '../stage.ts';
import { APT, needs, type Path } from './path.ts';

const PORT = 51820;
/** The first release that moves super-frames; Debian's 0.0.20231211 names itself so. */
const OFFLOADS = 20230223;
const BACKPORTS = `add the suite bookworm-backports, then ${APT} -t bookworm-backports wireguard-go`;

let laid = 0;

function missing(): string | null {
  const absent = needs(['wireguard-go', 'wg'], `${BACKPORTS}; ${APT} wireguard-tools`);
  if (absent !== null) return absent;
  const { stdout } = spawnSync('wireguard-go', ['--version'], { encoding: 'utf8', timeout: 10_000 });
  const date = Number(/0\.0\.(\d{8})/.exec(stdout)?.[1] ?? 0);
  return date < OFFLOADS ? `wireguard-go of ${date} has no offloads: ${BACKPORTS}` : null;
}

/** Starts the daemon in a host. Its socket is where all namespaces look: the device's name is the bench's own. */
async function start(stage: Stage, host: Host, device: string): Promise<void> {
  stage.atEnd(() => rmSync(`/var/run/wireguard/${device}.sock`, { force: true }));
  const daemon = stage.daemon(host, ['wireguard-go', '-f', device]);
  for (let i = 0; i < 100; i++) {
    if ((await stage.run(host, ['wg', 'show', device], 5_000)).code === 0) return;
    if (!daemon.running) break;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`wireguard-go has not started: ${daemon.lastWords}`);
}

export const wireguardGo: Path = {
  name: 'wireguard-go',
  missing,
  async lay(stage) {
    const folder = stage.folder();
    const number = laid++;
    const device = (host: Host) => `pw${process.pid.toString(36)}${number.toString(36)}${host}`;
    const keys = { a: '', b: '' };
    for (const host of HOSTS) {
      await start(stage, host, device(host));
      const key = stage.sh(host, 'wg genkey');
      writeFileSync(join(folder, host), key, { mode: 0o600 });
      keys[host] = stage.sh(host, `sh -c "wg pubkey < ${join(folder, host)}"`).trim();
    }
    for (const host of HOSTS) {
      const far = other(host);
      const peer = `peer ${keys[far]} allowed-ips ${INSIDE[far]}/32 endpoint ${UNDERLAY[far]}:${PORT}`;
      stage.sh(host, `wg set ${device(host)} private-key ${join(folder, host)} listen-port ${PORT} ${peer}`);
      stage.settle(host, device(host));
    }
  },
};
