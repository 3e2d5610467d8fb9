/** The networks that are measured: this overlay's, Docker's own overlay, and nebula between the two hosts. */
import { execFileSync, spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import type { Engine } from './engine.ts';

const SUBNET = { plain: '10.77.0.0/21', encrypted: '10.78.0.0/24', swarm: '10.88.0.0/24' } as const;
export const NEBULA = ['10.66.0.1', '10.66.0.2'] as const;
const NEBULA_PORT = 4242;

/** The overlay over both hosts, with the networks `plain` and `encrypted` on both engines. */
export async function layOverlay([one, two]: readonly Engine[]): Promise<void> {
  const { code, text } = await one.host.ask('init', '--json');
  if (code !== 0) throw new Error(text);
  const { token } = JSON.parse(text) as { readonly token: string };
  const joined = await two.host.ask('join', token, one.host.address);
  if (joined.code !== 0) throw new Error(joined.text);
  for (const engine of [one, two]) {
    await engine.docker(...create('plain', '--subnet', SUBNET.plain));
    await engine.docker(...create('encrypted', '--subnet', SUBNET.encrypted, '--opt', 'encrypted'));
  }
}

function create(name: string, ...more: readonly string[]): string[] {
  const driver = ['-d', 'packetweave', '--ipam-driver', 'packetweave', '--ipam-opt', `network=${name}`];
  return ['network', 'create', ...driver, ...more, name];
}

/** A swarm of both engines with the network `swarm`, on ports beside this overlay's; null, or why it cannot be had. */
export async function laySwarm([one, two]: readonly Engine[]): Promise<string | null> {
  try {
    const at = (engine: Engine) => [
      ...['--advertise-addr', engine.host.address, '--listen-addr', `${engine.host.address}:2378`],
    ];
    await one.docker('swarm', 'init', ...at(one), '--data-path-port', '4790');
    const token = await one.docker('swarm', 'join-token', '-q', 'worker');
    await two.docker('swarm', 'join', ...at(two), '--token', token, `${one.host.address}:2378`);
    const network = ['network', 'create', '-d', 'overlay', '--attachable', '--subnet', SUBNET.swarm, 'swarm'];
    await one.docker(...network);
    return null;
  } catch (error) {
    return (error as Error).message;
  }
}

/** Nebula on both hosts; null, or why it cannot be had. It ends with the hosts' namespaces: `stop` ends it. */
export async function layNebula(engines: readonly Engine[]): Promise<{ stop(): void } | string> {
  const there = ['nebula', 'nebula-cert'].every((name) => spawnSync('which', [name]).status === 0);
  if (!there) return 'nebula is not installed';
  const folder = engines[0].host.path('.');
  const ca = ['crt', 'key'].map((kind) => `${folder}/ca.${kind}`);
  execFileSync('nebula-cert', ['ca', '-name', 'bench', '-out-crt', ca[0], '-out-key', ca[1]]);
  const children = engines.map(({ host }, i) => {
    const own = ['crt', 'key'].map((kind) => `${folder}/nebula${i}.${kind}`);
    const by = ['-ca-crt', ca[0], '-ca-key', ca[1], '-out-crt', own[0], '-out-key', own[1]];
    execFileSync('nebula-cert', ['sign', '-name', host.name, '-ip', `${NEBULA[i]}/24`, ...by]);
    const file = `${folder}/nebula${i}.yml`;
    const far = { inside: NEBULA[1 - i], outside: engines[1 - i].host.address };
    writeFileSync(file, configuration([ca[0], ...own], far));
    return host.start('nebula', '-config', file);
  });
  await pause(1000);
  const ended = children.some(({ exitCode }) => exitCode !== null);
  const stop = () => {
    for (const child of children) child.kill('SIGKILL');
  };
  if (!ended) return { stop };
  stop();
  return 'nebula does not start';
}

/** AES and the usual MTU of 1300, as in the library's own throughput bench. Whatever is JSON is YAML. */
function configuration([ca, cert, key]: readonly string[], far: { inside: string; outside: string }): string {
  const all = [{ port: 'any', proto: 'any', host: 'any' }];
  return JSON.stringify({
    pki: { ca, cert, key },
    static_host_map: { [far.inside]: [`${far.outside}:${NEBULA_PORT}`] },
    lighthouse: { am_lighthouse: false, hosts: [] },
    listen: { host: '0.0.0.0', port: NEBULA_PORT },
    cipher: 'aes',
    tun: { dev: 'nebula0', mtu: 1300 },
    logging: { level: 'error' },
    firewall: { inbound: all, outbound: all },
  });
}
