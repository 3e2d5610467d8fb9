/**
 * Replays a capture through an overlay: its frames enter at one host, cross a VXLAN tunnel (in memory, so that
 * none is lost however fast they come), and what leaves at the other host is written to a capture.
 *
 *     node dist/examples/replay.js traffic.pcap [--out replayed.pcapng] [--vni 42] [--speed 10]
 *
 * With --speed the frames are as far apart as they were captured, that many times faster; without, they
 * follow each other at once. It ends with what was sent, delivered and dropped; exit code 0 if nothing was lost.
 */
import { parseArgs } from 'node:util';
import { MemoryUnderlay, Overlay, PcapReader, PcapWriter } from 'packetweave';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    out: { type: 'string', default: 'replayed.pcapng' },
    vni: { type: 'string', default: '42' },
    speed: { type: 'string' },
  },
});
const [path] = positionals;
if (path === undefined) throw new TypeError('name a capture file: replay FILE');

const pace = values.speed === undefined ? {} : { pace: 'timestamps' as const, speed: Number(values.speed) };
const reader = new PcapReader({ path, ...pace });
const writer = new PcapWriter({ path: values.out });

/** One host of the overlay. Frames of a capture may be of any size, so the underlay is a jumbo one. */
const network = new MemoryUnderlay();
function host(address: string, remote: string, port: PcapReader | PcapWriter): Overlay {
  return new Overlay({
    local: { address, underlay: network.port(address, { mtu: 9000, capacity: 65536 }) },
    networks: [
      { vni: Number(values.vni), remotes: [remote], ports: [{ port }], learning: false, vlan: 'keep' },
    ],
  });
}

const from = host('192.0.2.1', '192.0.2.2', reader);
const to = host('192.0.2.2', '192.0.2.1', writer);
await to.start();
await from.start();
await reader.ended;
// What is under way arrives while nothing more is read: wait until the count stands still.
for (let seen = -1, rounds = 0; rounds < 100 && seen !== writer.stats.txPackets; rounds++) {
  seen = writer.stats.txPackets;
  await new Promise((resolve) => setTimeout(resolve, 50));
}
const sent = reader.stats.rxPackets;
const delivered = writer.stats.txPackets;
const drops = { sender: from.drops(), receiver: to.drops() };
await from.stop();
await to.stop();
console.log(`${sent} frames of ${path} sent, ${delivered} delivered to ${values.out}`);
console.log('dropped:', drops);
process.exitCode = sent === delivered ? 0 : 1;
