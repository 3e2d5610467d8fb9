/**
 * A learning switch. Each capture file is what arrives at one of its ports; what the switch sends out of that
 * port is written beside it.
 *
 *     node dist/examples/switch.js a.pcap b.pcap c.pcapng      writes a.out.pcapng, b.out.pcapng, c.out.pcapng
 *     node dist/examples/switch.js                             three hosts in memory ping each other
 */

import type { GraphConfig, Port } from 'packetweave';
import {
  Ageing,
  Bridge,
  createContext,
  Dispatch,
  Endpoint,
  Engine,
  Fdb,
  node,
  PcapReader,
  PcapWriter,
} from 'packetweave';
import * as mac from 'packetweave/codecs/mac';

const files = process.argv.slice(2);
const hosts = [2, 3, 4].map((n) => new Endpoint({ mac: `02:42:0a:00:00:0${n}`, addresses: [`10.0.0.${n}`] }));
const fdb = new Fdb({ capacity: 4096, seed: Date.now() % 2 ** 31 });

/** For each port of the switch, where frames come from and where they go. */
const readers = files.map((path) => new PcapReader({ path }));
const ins: Port[] = files.length > 0 ? readers : hosts;
const outs: Port[] = files.length > 0 ? files.map((path) => new PcapWriter({ path: outputOf(path) })) : hosts;

function outputOf(path: string): string {
  return `${path.replace(/\.(pcap|pcapng)$/, '')}.out.pcapng`;
}

const graph: Record<string, GraphConfig[string]> = {
  bridge: node(
    Bridge,
    { domain: 0, vni: 0, fdb, ports: ins.map((_, place) => place), remotes: false },
    { local: 'dispatch' },
  ),
  ageing: node(Ageing, { fdb }),
  dispatch: node(Dispatch, {}, Object.fromEntries(outs.map((_, place) => [place, `out ${place}`]))),
};
for (const [place, port] of outs.entries()) {
  const both = port === ins[place];
  graph[`out ${place}`] = both ? { port, place, to: { out: 'bridge' } } : { port };
  if (!both) graph[`in ${place}`] = { port: ins[place], place, to: { out: 'bridge' } };
}

const engine = new Engine(createContext());
await engine.apply(graph);
engine.start();
if (files.length > 0) await Promise.all(readers.map((reader) => reader.ended));
else {
  for (const from of hosts) {
    for (const to of hosts.filter((host) => host !== from)) {
      const ms = await from.ping(to.name);
      console.log(`${from.name} -> ${to.name}: ${ms === null ? 'no answer' : `${ms.toFixed(2)} ms`}`);
      if (ms === null) process.exitCode = 1;
    }
  }
}

console.table([...fdb.entries()].map(({ hi, lo, place }) => ({ address: mac.format(hi, lo), port: place })));
const rows = ins.map(({ stats }, place) => ({
  port: place,
  in: stats.rxPackets,
  out: outs[place].stats.txPackets,
}));
await engine.close();
console.table(rows);
