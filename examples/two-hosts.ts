/**
 * Two hosts, joined by real UDP sockets on 127.0.0.1 and 127.0.0.2, and networks between them with the same
 * addresses, the third of them encrypted. The exit code is 0 if what should arrive did, and nothing else.
 *
 *     node dist/examples/two-hosts.js [--port 14789 --esp-port 14500 --capture underlay]
 */
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { Capture, Endpoint, KeyDirectory, Overlay, UdpPort } from 'packetweave';
import type { LoggedKey } from 'packetweave/crypto/epoch';
import { tsharkLine } from 'packetweave/crypto/key-log';

const text = { type: 'string' } as const;
const { values } = parseArgs({ options: { port: text, 'esp-port': text, capture: text } });
const [port, espPort] = [Number(values.port ?? 4789), Number(values['esp-port'] ?? 4500)];
const { capture = 'underlay' } = values;
const HOSTS = ['127.0.0.1', '127.0.0.2'];
const NETWORKS = [{ vni: 100 }, { vni: 200 }, { vni: 300, encrypted: true }];
const PAYLOAD = new Uint8Array(1000);
const [BURST, WINDOW] = [5000, 128]; // of which so many on their way, for a socket's buffer is small
const addresses = (host: number) => [`10.0.0.${host + 2}`, `fd00::${host + 2}`];
const identity = (host: number) => ({ mac: `02:42:0a:00:00:0${host + 2}`, addresses: addresses(host) });
const endpoints = HOSTS.map((_, host) =>
  NETWORKS.map(({ vni }) => new Endpoint({ name: `${vni}`, mtu: 1400, ...identity(host) })),
);
const channel = new KeyDirectory(); // how the hosts tell each other their public keys
const keys = new Set<string>();
/** A socket, and around the first host's, which sees both directions, a capture. */
function underlay(address: string, port: number, to: string): UdpPort | Capture {
  const socket = new UdpPort({ address, port });
  return address === HOSTS[1] ? socket : new Capture(socket, { to, local: { address, port } });
}
const overlays = HOSTS.map((address, host) => {
  const onKeys = (key: LoggedKey) => keys.add(tsharkLine(key));
  const esp = { secret: 'only an example: never do this', port: espPort, channel, onKeys };
  const plain = { address, port, underlay: underlay(address, port, `${capture}.pcapng`) };
  return new Overlay({
    local: { ...plain, esp: { ...esp, underlay: underlay(address, espPort, `${capture}-esp.pcapng`) } },
    networks: NETWORKS.map((network, n) => {
      const ports = [{ port: endpoints[host][n], ...identity(host) }];
      return { ...network, remotes: [HOSTS[1 - host]], ports };
    }),
  });
});
const seen = () => endpoints.flat().reduce((sum, { counts }) => sum + counts.frames, 0);
function expect(ok: boolean, text: string): void {
  console.log(`${ok ? ' ok ' : 'FAIL'}  ${text}`);
  if (!ok) process.exitCode = 1;
}
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
try {
  for (const overlay of overlays) await overlay.start();
  const ready = () => overlays.every((overlay) => overlay.encryptedPeers().every((peer) => peer.ready));
  for (let i = 0; i < 500 && !ready(); i++) await pause(10);
  for (const [n, { vni }] of NETWORKS.entries()) {
    const [sender, receiver] = [endpoints[0][n], endpoints[1][n]];
    for (const address of addresses(1)) {
      const ms = await sender.ping(address, { size: 1000 });
      expect(ms !== null, `network ${vni}: ping ${address}: ${ms?.toFixed(2) ?? 'no answer in 1000'} ms`);
    }
    const before = seen();
    const arrived = () => receiver.counts.datagrams;
    for (let sent = 0, turn = 0; sent < BURST && turn < 20_000; turn++, await pause(0)) {
      while (sent < Math.min(BURST, arrived() + WINDOW) && sender.sendUdp('10.0.0.3', 7, PAYLOAD)) sent++;
    }
    for (let i = 0; i < 300 && arrived() < BURST; i++) await pause(10);
    expect(arrived() === BURST, `network ${vni}: ${arrived()} of ${BURST} datagrams arrived`);
    expect(seen() - before === arrived(), `network ${vni}: the same addresses elsewhere saw none of them`);
  }
} catch (error) {
  expect(false, (error as Error).message);
}
for (const [host, overlay] of overlays.entries()) {
  console.table(overlay.ports());
  console.log(`${HOSTS[host]} dropped:`, overlay.drops());
  await overlay.stop();
}
writeFileSync(`${capture}-esp.keys`, [...keys, ''].join('\n'), { mode: 0o600 });
console.log(`Look at ${capture}.pcapng and ${capture}-esp.pcapng (keys: ${capture}-esp.keys)`);
