/**
 * Mutated frames through every codec, `dissect`, `format` and `flowHash`. Rules:
 *
 * - nothing throws and nothing hangs;
 * - layers lie within the frame and within each other, and there are no more than the bound;
 * - a layer passes its codec's `check`;
 * - nothing depends on bytes outside the frame: each frame lies in two slots with other bytes around it, and
 *   whatever is read from the one is read from the other.
 *
 * As a program: `codecs.ts [COUNT] [SEED]`, a million frames by default.
 */
import { fileURLToPath } from 'node:url';
import { viewOf } from '../../codecs/bytes.ts';
import { dissect } from '../../codecs/dissect.ts';
import { OK, TRUNCATED } from '../../codecs/fault.ts';
import { flowHash } from '../../codecs/flow-hash.ts';
import { format } from '../../codecs/format.ts';
import * as layer from '../../codecs/layers.ts';
import { KINDS, Layers } from '../../codecs/layers.ts';
import * as linktype from '../../codecs/linktype.ts';
import { Random } from '../../lib/core/random.ts';
import { verify } from '../gen/checksums.ts';
import { ALL, READERS, type Reader } from './codec-readers.ts';
import { seedFrames } from './corpus.ts';
import { MOST, Mutator, Scratch } from './mutate.ts';

/** What a run came to. */
export interface Outcome {
  readonly frames: number;
  /** What broke which rule, with all that is needed to repeat it; empty when all is well. */
  readonly findings: readonly string[];
  /** How many layers of each kind were read. */
  readonly layers: Readonly<Record<string, number>>;
  /** How many frames had no fault at all. */
  readonly whole: number;
}

/** One frame in so many is decoded and formatted too, which takes as long as all the rest of them. */
const COLD = 64;
const LINKS = [linktype.RAW, linktype.LINUX_SLL, linktype.LINUX_SLL2, linktype.IPV4, linktype.IPV6];

/** Memory around a frame, and what is found in it. */
class Slot {
  readonly layers = new Layers({ vxlanPorts: [4789, 8472] });
  readonly v: DataView;
  readonly #bytes: Uint8Array;
  readonly #filling: number;

  constructor(filling: number) {
    this.#bytes = new Uint8Array(64 + MOST + 64).fill(filling);
    this.v = viewOf(this.#bytes);
    this.#filling = filling;
  }

  load(frame: Uint8Array, at: number): void {
    this.#bytes.set(frame, at);
  }

  clear(at: number, end: number): void {
    this.#bytes.fill(this.#filling, at, end);
  }
}

/** Reads `count` mutated frames, with the readers of all codecs; equal seeds do the same. Ends at the third finding. */
export function fuzzCodecs(count: number, seed: number, readers: readonly Reader[] = ALL): Outcome {
  const run = new Run(seed, readers);
  const findings: string[] = [];
  let frames = 0;
  for (; frames < count && findings.length < 3; frames++) {
    run.next();
    try {
      run.read(frames % COLD === 0);
    } catch (error) {
      findings.push(`frame ${frames} of seed ${seed}: ${(error as Error).stack}\n  ${run.describe()}`);
    }
    run.clear();
  }
  return { frames, findings, ...run.totals() };
}

class Run {
  readonly #r: Random;
  readonly #seeds: readonly Uint8Array[];
  readonly #mutator: Mutator;
  readonly #scratch = new Scratch();
  readonly #one = new Slot(0x5a);
  readonly #other = new Slot(0xa5);
  readonly #readers: readonly Reader[];
  readonly #kinds = new Float64Array(KINDS.length);
  #whole = 0;
  #at = 0;
  #end = 0;
  #link: number = linktype.ETHERNET;

  constructor(seed: number, readers: readonly Reader[]) {
    this.#readers = readers;
    this.#r = new Random(seed);
    this.#seeds = seedFrames(this.#r);
    this.#mutator = new Mutator(this.#r, this.#seeds);
  }

  /** Makes a frame and puts it into both slots, at the same place: some codecs read words. */
  next(): void {
    const r = this.#r;
    const scratch = this.#scratch;
    scratch.load(this.#seeds[r.below(this.#seeds.length)]);
    if (r.below(16) !== 0) this.#mutator.mutate(scratch);
    // Of a frame without its Ethernet header the rest is what other link types begin with.
    this.#link = r.below(8) === 0 ? LINKS[r.below(LINKS.length)] : linktype.ETHERNET;
    if (this.#link !== linktype.ETHERNET) scratch.start = Math.min(scratch.start + 14, scratch.end);
    const frame = scratch.bytes.subarray(scratch.start, scratch.end);
    this.#at = 32 + r.below(8);
    this.#end = this.#at + frame.length;
    this.#one.load(frame, this.#at);
    this.#other.load(frame, this.#at);
  }

  clear(): void {
    this.#one.clear(this.#at, this.#end);
    this.#other.clear(this.#at, this.#end);
  }

  read(cold: boolean): void {
    const at = this.#at;
    const end = this.#end;
    this.#dissect();
    const l = this.#one.layers;
    for (let i = 0; i < l.count; i++) {
      this.#kinds[l.kind[i]]++;
      const reader = READERS[l.kind[i]];
      if (reader !== undefined) this.#readLayer(reader, i, cold);
    }
    // Any codec must cope with any bytes.
    const anywhere = at + this.#r.below(end - at + 1);
    for (const reader of this.#readers) this.#readAt(reader, anywhere, end, cold);
    const hash = flowHash(this.#one.v, at, end, 1);
    if (hash !== flowHash(this.#other.v, at, end, 1)) throw new Error('flowHash depends on other bytes');
    if (cold) this.#format();
  }

  /** Both slots, and the rules about layers. */
  #dissect(): void {
    const one = this.#one.layers;
    const other = this.#other.layers;
    const fault = dissect(this.#one.v, this.#at, this.#end, one, this.#link);
    dissect(this.#other.v, this.#at, this.#end, other, this.#link);
    if (!equal(one, other)) throw new Error('dissect depends on other bytes');
    if (fault === OK) this.#whole++;
    demand(one.count <= layer.MAX_LAYERS, 'too many layers');
    let start = this.#at;
    let end = this.#end;
    for (let i = 0; i < one.count; i++) {
      demand(one.start[i] >= start && one.end[i] <= end, 'a layer is not within the one around it');
      demand(one.start[i] < one.end[i], 'a layer is empty');
      start = one.start[i];
      end = one.end[i];
    }
    demand(start <= one.payload && one.payload <= one.payloadEnd && one.payloadEnd <= end, 'payload');
  }

  #readLayer(reader: Reader, i: number, cold: boolean): void {
    const l = this.#one.layers;
    const at = l.start[i];
    const fault = this.#readAt(reader, at, l.end[i], cold);
    demand(fault === OK || fault === TRUNCATED, `a layer does not pass its check: ${reader.name}`);
    const good = verify(this.#one.v, l, i);
    demand(good === verify(this.#other.v, this.#other.layers, i), `checksum of ${reader.name}`);
  }

  /** Checks what lies at `at..end` and, where that is OK, reads all of it: in both slots alike. */
  #readAt(reader: Reader, at: number, end: number, cold: boolean): number {
    const one = this.#one.v;
    const other = this.#other.v;
    const fault = reader.check(one, at, end);
    if (fault !== reader.check(other, at, end)) throw new Error(`check of ${reader.name}`);
    if (fault !== OK) return fault;
    for (const get of reader.getters) {
      if (get(one, at) !== get(other, at)) throw new Error(`${reader.name}.${get.name} reads other bytes`);
    }
    for (const walk of reader.walks) {
      if (walk(one, at, end) !== walk(other, at, end))
        throw new Error(`${reader.name}: ${walk} reads other bytes`);
    }
    if (cold) demandSame(reader.cold(one, at, end), reader.cold(other, at, end), reader.name);
    return OK;
  }

  #format(): void {
    for (const link of [false, true]) {
      const text = (slot: Slot) =>
        format(slot.v, this.#at, this.#end, {
          link,
          linkType: this.#link,
          layers: slot.layers,
          original: this.#end - this.#at + 8,
        });
      const line = text(this.#one);
      demandSame(line, text(this.#other), 'format');
      demand(!/undefined|NaN|\[object/.test(line), `format says: ${line}`);
    }
  }

  describe(): string {
    const bytes = this.#scratch.bytes.subarray(this.#scratch.start, this.#scratch.end);
    return `${linktype.format(this.#link)} at ${this.#at}: ${Buffer.from(bytes).toString('hex')}`;
  }

  totals(): Pick<Outcome, 'layers' | 'whole'> {
    const layers = Object.fromEntries(KINDS.map((name, kind) => [name, this.#kinds[kind]]));
    return { layers, whole: this.#whole };
  }
}

function equal(a: Layers, b: Layers): boolean {
  if (a.count !== b.count || a.fault !== b.fault || a.faultKind !== b.faultKind) return false;
  if (a.payload !== b.payload || a.payloadEnd !== b.payloadEnd || a.faultAt !== b.faultAt) return false;
  for (let i = 0; i < a.count; i++) {
    if (a.kind[i] !== b.kind[i] || a.start[i] !== b.start[i] || a.end[i] !== b.end[i]) return false;
  }
  return a.fragment === b.fragment;
}

function demand(holds: boolean, rule: string): void {
  if (!holds) throw new Error(rule);
}

function demandSame(one: unknown, other: unknown, what: string): void {
  if (JSON.stringify(one) !== JSON.stringify(other)) throw new Error(`${what} shows other bytes`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [count = 1_000_000, seed = Date.now() % 2 ** 31] = process.argv.slice(2).map(Number);
  const start = performance.now();
  const outcome = fuzzCodecs(count, seed);
  const seconds = (performance.now() - start) / 1000;
  console.log(`${outcome.frames} frames, seed ${seed}: ${Math.round(outcome.frames / seconds)} a second`);
  console.log(outcome);
  if (outcome.findings.length > 0) process.exitCode = 1;
}
