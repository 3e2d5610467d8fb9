/**
 * Two hosts, joined by real UDP sockets on 127.0.0.1 and 127.0.0.2, and networks between them that use the
 * same MAC and IP addresses without ever meeting. The exit code is 0 if everything that should arrive did.
 *
 *     npm start [-- --port 14789 --capture underlay.pcapng]
 */
import { parseArgs } from 'node:util';
import { Capture, Endpoint, Overlay, UdpPort } from 'packetweave';

const { values } = parseArgs({
  options: {
    port: { type: 'string', default: '4789' },
    capture: { type: 'string', default: 'underlay.pcapng' },
  },
});
const port = Number(values.port);
const HOSTS = ['127.0.0.1', '127.0.0.2'];
const NETWORKS = [100, 200];
const BURST = 10_000;
const identity = (host: number) => ({
  mac: `02:42:0a:00:00:0${host + 2}`,
  addresses: [`10.0.0.${host + 2}`, `fd00::${host + 2}`],
});
const endpoints = HOSTS.map((_, host) =>
  NETWORKS.map((vni) => new Endpoint({ name: `${vni}`, mtu: 1400, ...identity(host) })),
);
const overlays = HOSTS.map((address, host) => {
  const socket = new UdpPort({ address, port });
  // A capture is a port around a port. What one host sees is both directions.
  const captured = { to: values.capture, local: { address, port } };
  const networks = NETWORKS.map((vni, n) => {
    const ports = [{ port: endpoints[host][n], ...identity(host) }];
    return { vni, remotes: [HOSTS[1 - host]], ports };
  });
  return new Overlay({
    local: { address, port, underlay: host === 0 ? new Capture(socket, captured) : socket },
    networks,
  });
});

function expect(ok: boolean, text: string): void {
  console.log(`${ok ? ' ok ' : 'FAIL'}  ${text}`);
  if (!ok) process.exitCode = 1;
}
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

try {
  for (const overlay of overlays) await overlay.start();
  for (const [n, vni] of NETWORKS.entries()) {
    for (const address of identity(1).addresses) {
      const ms = await endpoints[0][n].ping(address, { size: 1000 });
      expect(
        ms !== null,
        `network ${vni}: ping ${address}: ${ms?.toFixed(2) ?? 'no answer, not even in 1000'} ms`,
      );
    }
  }
  const [[sender], [receiver, ...strangers]] = endpoints;
  const before = strangers.map(({ counts }) => counts.frames);
  for (let sent = 0; sent < BURST; await pause(0)) {
    for (let i = 0; i < 64 && sent < BURST; i++)
      if (sender.sendUdp('10.0.0.3', 7, new Uint8Array(1000))) sent++;
  }
  for (let i = 0; i < 200 && receiver.counts.datagrams < BURST; i++) await pause(10);
  expect(
    receiver.counts.datagrams === BURST,
    `burst: ${receiver.counts.datagrams} of ${BURST} datagrams arrived`,
  );
  const leaked = strangers.filter(({ counts }, n) => counts.frames !== before[n]).length;
  expect(leaked === 0, 'the same addresses in the other networks saw nothing of it');
} catch (error) {
  expect(false, (error as Error).message);
}
console.table(
  overlays.flatMap((overlay, host) => overlay.ports().map((row) => ({ host: HOSTS[host], ...row }))),
);
for (const [host, overlay] of overlays.entries()) console.log(`${HOSTS[host]} dropped:`, overlay.drops());
for (const overlay of overlays) await overlay.stop();
console.log(`What the underlay carried: tcpdump -n -r ${values.capture}`);
