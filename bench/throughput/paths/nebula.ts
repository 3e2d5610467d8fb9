/** Nebula with AES and its usual MTU of 1300, two hosts that know each other's address, no lighthouse. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { HOSTS, type Host, INSIDE, other, UNDERLAY } from '../stage.ts';
import { APT, needs, type Path } from './path.ts';

const PORT = 4242;

/** A host's configuration. Whatever is JSON is YAML. */
function configuration(folder: string, host: Host): string {
  const far = other(host);
  const all = [{ port: 'any', proto: 'any', host: 'any' }];
  return JSON.stringify({
    pki: { ca: join(folder, 'ca.crt'), cert: join(folder, `${host}.crt`), key: join(folder, `${host}.key`) },
    static_host_map: { [INSIDE[far]]: [`${UNDERLAY[far]}:${PORT}`] },
    lighthouse: { am_lighthouse: false, hosts: [] },
    listen: { host: UNDERLAY[host], port: PORT },
    cipher: 'aes',
    tun: { dev: 'nebula0', mtu: 1300 },
    logging: { level: 'error' },
    firewall: { inbound: all, outbound: all },
  });
}

export const nebula: Path = {
  name: 'nebula',
  missing: () => needs(['nebula', 'nebula-cert'], `${APT} nebula`),
  lay(stage) {
    const folder = stage.folder();
    const ca = ['crt', 'key'].map((kind) => join(folder, `ca.${kind}`));
    stage.sh('a', `nebula-cert ca -name bench -out-crt ${ca[0]} -out-key ${ca[1]}`);
    for (const host of HOSTS) {
      const own = ['crt', 'key'].map((kind) => `-out-${kind} ${join(folder, `${host}.${kind}`)}`).join(' ');
      const by = `-ca-crt ${ca[0]} -ca-key ${ca[1]}`;
      stage.sh(host, `nebula-cert sign -name ${host} -ip ${INSIDE[host]}/24 ${by} ${own}`);
      const file = join(folder, `${host}.yml`);
      writeFileSync(file, configuration(folder, host));
      // It makes its device and the address by itself.
      stage.daemon(host, ['nebula', '-config', file]);
    }
  },
};
