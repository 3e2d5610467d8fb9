/**
 * Prints one line a frame, from a capture file or a live interface, and shows how to write an element.
 *
 *     node dist/examples/sniff.js underlay.pcapng --vni 100
 *     node dist/examples/sniff.js eth0 --port 4789 --count 20      (live: needs libpcap and privilege)
 * All filters must fit: --address A, --port N, --vni N, inner or outer. --vxlan N: one more UDP port of VXLAN.
 */
import { existsSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { type Batch, createContext, Element, Engine, node, PcapLive, PcapReader } from 'packetweave';
import { dissect } from 'packetweave/codecs/dissect';
import { format } from 'packetweave/codecs/format';
import * as ip from 'packetweave/codecs/ip';
import * as ipv4 from 'packetweave/codecs/ipv4';
import * as layer from 'packetweave/codecs/layers';
import * as linktype from 'packetweave/codecs/linktype';
import * as udp from 'packetweave/codecs/udp';
import * as vxlan from 'packetweave/codecs/vxlan';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: Object.fromEntries(
    ['address', 'port', 'vni', 'vxlan', 'count'].map((name) => [name, { type: 'string' as const }]),
  ),
});
const [source] = positionals;
if (source === undefined) throw new TypeError('name a capture file or an interface: sniff FILE|INTERFACE');
const address = values.address === undefined ? null : ip.parse(values.address);
const port = existsSync(source) ? new PcapReader({ path: source }) : new PcapLive({ device: source });
let left = Number(values.count ?? Infinity);

class Print extends Element {
  readonly #layers = new layer.Layers({ vxlanPorts: [vxlan.PORT, Number(values.vxlan ?? vxlan.PORT_LINUX)] });

  push(batch: Batch): void {
    for (let i = 0; i < batch.length; i++) {
      const p = batch.packets[i];
      const linkType = port.medium === 1 ? linktype.ETHERNET : linktype.RAW;
      dissect(p.view, p.start, p.end, this.#layers, linkType);
      if (left > 0 && this.#fits(p.view)) {
        left--;
        console.log(format(p.view, p.start, p.end, { link: true, linkType, layers: this.#layers }));
      }
      p.pool.give(p);
    }
    batch.clear();
  }

  /** Whether some layer has the address, some the port and some the VNI, where they are asked for. */
  #fits(v: DataView): boolean {
    let [a, p, n] = [address === null, values.port === undefined, values.vni === undefined];
    for (let i = 0; i < this.#layers.count; i++) {
      const kind = this.#layers.kind[i];
      const at = this.#layers.start[i];
      if (kind === layer.IPV4) a ||= [ipv4.src(v, at), ipv4.dst(v, at)].includes(address!.words[3]);
      if (kind === layer.IPV6)
        a ||= [8, 24].some((x) => `${ip.read6(v, at + x).words}` === `${address!.words}`);
      // The ports lie at the same place in UDP, TCP and SCTP.
      const ports = kind === layer.UDP || kind === layer.TCP || kind === layer.SCTP;
      if (ports) p ||= [udp.srcPort(v, at), udp.dstPort(v, at)].includes(Number(values.port));
      if (kind === layer.VXLAN) n ||= vxlan.vni(v, at) === Number(values.vni);
    }
    return a && p && n;
  }
}

const engine = new Engine(createContext());
const ended = port instanceof PcapReader ? port.ended : new Promise(() => {});
const interrupted = new Promise((resolve) => process.once('SIGINT', resolve));
const enough = new Promise<void>((resolve) => setInterval(() => left <= 0 && resolve(), 50).unref());
try {
  await engine.apply({ source: { port, to: { out: 'print' } }, print: node(Print, []) });
  engine.start();
  await Promise.race([ended, interrupted, enough]);
} catch (error) {
  console.error((error as Error).message);
  process.exitCode = 1;
}
await engine.close();
