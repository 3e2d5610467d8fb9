/** The conformance suite over the port that reads a file. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { CaptureWriter } from '../../../codecs/capture-writer.ts';
import { PcapReader } from '../../../lib/io/pcap-file.ts';
import { Faults } from '../../../lib/io/wrap/faults.ts';
import { PortTrace } from '../../../lib/io/wrap/trace.ts';
import { portConformance, type Rig } from './conformance.ts';

const folder = mkdtempSync(join(tmpdir(), 'packetweave-'));
t.teardown(() => rmSync(folder, { recursive: true }));
const path = join(folder, 'frames.pcapng');

const content = Array.from({ length: 500 }, (_, i) => new Uint8Array(14 + i * 3).fill(i));
const parts: Uint8Array[] = [];
const writer = new CaptureWriter((bytes) => parts.push(bytes.slice()), {});
writer.interface({ link: 1 });
for (const frame of content) writer.frame(0, 1e9, 0, 0, frame, 0, frame.length);
writer.flush();
writeFileSync(path, Buffer.concat(parts));

const sizes = [14, 60, 1000];
const reader = (): Rig => ({ port: new PcapReader({ path }), content, close() {} });
portConformance(t, 'pcap reader', reader, { sizes });
portConformance(
  t,
  'pcap reader with faults and a trace',
  () => {
    const faults = new Faults(reader().port, { seed: 1, delay: { min: 20, max: 20 } });
    return { port: new PortTrace(faults, { write() {}, limit: 10 }), content, close() {} };
  },
  { sizes },
);
