/**
 * Two hosts on this machine, joined by real UDP sockets on 127.0.0.1 and 127.0.0.2, and two networks between
 * them that use the same MAC and IP addresses without ever meeting.
 *
 *     npm start [-- --port 14789] [-- --capture underlay.pcapng]
 *
 * It pings across, shows that nothing crosses between the networks, pushes a burst through, writes what the
 * underlay carried as a capture, and prints what was sent, delivered and dropped. The exit code is 0 if
 * everything that should arrive did, and nothing else.
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

// On each host, in each network, one endpoint; the two networks know the same two addresses.
const endpoints = HOSTS.map((_, h) =>
  NETWORKS.map((vni) => new Endpoint({ name: `host ${h + 1}, network ${vni}`, ...identity(h) })),
);
function identity(host: number) {
  return {
    mac: `02:42:0a:00:00:0${host + 2}`,
    addresses: [`10.0.0.${host + 2}`, `fd00::${host + 2}`],
    mtu: 1450,
  };
}

const overlays = HOSTS.map((address, h) => {
  const socket = new UdpPort({ address, port });
  // The capture is a port around a port. One host's view shows both directions.
  const underlay = h === 0 ? new Capture(socket, { path: values.capture, local: { address, port } }) : socket;
  return new Overlay({
    local: { address, port, underlay },
    networks: NETWORKS.map((vni, n) => ({
      vni,
      remotes: [HOSTS[1 - h]],
      ports: [{ port: endpoints[h][n], mac: identity(h).mac, addresses: identity(h).addresses }],
    })),
  });
});

let failures = 0;
function expect(ok: boolean, text: string): void {
  console.log(`${ok ? ' ok ' : 'FAIL'}  ${text}`);
  if (!ok) failures++;
}

try {
  for (const overlay of overlays) await overlay.start();
  for (const [n, vni] of NETWORKS.entries()) {
    for (const address of identity(1).addresses) {
      const ms = await endpoints[0][n].ping(address, { size: 1000 });
      expect(
        ms !== null,
        `network ${vni}: ${address} answered ${ms === null ? 'nothing' : `in ${ms.toFixed(2)} ms`}`,
      );
    }
  }

  const [sender, receiver, stranger] = [endpoints[0][0], endpoints[1][0], endpoints[1][1]];
  const before = stranger.counts.frames;
  const payload = new Uint8Array(1000).fill(0x42);
  for (let sent = 0; sent < BURST; ) {
    for (let i = 0; i < 32 && sent < BURST; i++) if (sender.sendUdp('10.0.0.3', 7, payload)) sent++;
    await new Promise((resolve) => setImmediate(resolve));
  }
  for (let i = 0; i < 200 && receiver.counts.datagrams < BURST; i++) {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  expect(
    receiver.counts.datagrams === BURST,
    `burst: ${receiver.counts.datagrams} of ${BURST} datagrams arrived`,
  );
  expect(stranger.counts.frames === before, `the same addresses in network ${NETWORKS[1]} saw none of them`);
} catch (error) {
  expect(false, (error as Error).message);
} finally {
  for (const overlay of overlays) await overlay.stop();
}

console.table(overlays.flatMap((overlay, h) => overlay.ports().map((row) => ({ host: h + 1, ...row }))));
for (const [h, overlay] of overlays.entries()) console.log(`host ${h + 1} dropped:`, overlay.drops());
console.log(`the underlay's packets are in ${values.capture}: tcpdump -n -r ${values.capture}`);
process.exitCode = failures === 0 ? 0 : 1;
