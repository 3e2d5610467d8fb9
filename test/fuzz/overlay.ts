/**
 * Whole overlays in one process, with mutated frames at their local ports and on their underlays. Rules:
 *
 * - nothing throws, what was put in comes to rest, and every packet comes home;
 * - what comes out was put into the same network, and what came from a tunnel goes into none;
 * - a guarded port's frames bear its MAC address;
 * - every packet that came in or was copied went out or was dropped for a reason;
 * - nothing depends on bytes outside a frame: each world is there twice, with other bytes in its free memory,
 *   and what comes out and what is counted is the same;
 * - afterwards frames pass as before.
 */
import { u24 } from '../../codecs/bytes.ts';
import * as ethernet from '../../codecs/ethernet.ts';
import { BATCH, Batch } from '../../lib/core/batch.ts';
import { VirtualClock } from '../../lib/core/clock.ts';
import type { Packet } from '../../lib/core/packet.ts';
import { Random } from '../../lib/core/random.ts';
import { seedFrames, spoken, station } from './corpus.ts';
import {
  type Door,
  type Exit,
  Fabric,
  GUARDED,
  KINDS,
  type Kind,
  OUTSIDER,
  SILENT,
  STATIC,
  STRANGER,
  VNIS,
} from './fabric.ts';
import { Mutator, Scratch } from './mutate.ts';
import { carries, leadOf, writeOuter, writeVxlan } from './outer.ts';

/** What a run came to. */
export interface Outcome extends Totals {
  /** Mutated frames that were put in. */
  readonly frames: number;
  /** What broke which rule, with all that is needed to repeat it; empty when all is well. */
  readonly findings: readonly string[];
}

interface Totals {
  /** Frames that came out somewhere. */
  readonly delivered: number;
  /** Packets dropped, by reason. */
  readonly drops: Readonly<Record<string, number>>;
}

/** Rounds between two audits of the books. */
const AUDIT = 256;
/** What the free memory of each of the two worlds is filled with. */
const POISONS = [0xdb, 0x24];

/** Puts `count` mutated frames into overlays of every kind; equal seeds do the same. Ends at the first finding. */
export async function fuzzOverlay(count: number, seed: number): Promise<Outcome> {
  const run = new Run(seed);
  const findings: string[] = [];
  let totals: Totals = { delivered: 0, drops: {} };
  let frames = 0;
  let where = 'while opening';
  try {
    await run.open();
    for (let round = 0; frames < count; round++) {
      where = `round ${round}`;
      const n = Math.min(BATCH, count - frames);
      run.round(n);
      frames += n;
      if (round % AUDIT === 0) run.audit();
    }
    where = 'at the end';
    run.audit();
    run.checkAlive();
    totals = run.totals();
    await run.close();
  } catch (error) {
    findings.push(`overlay, seed ${seed}, ${where}: ${(error as Error).stack}\n${run.describe()}`);
  }
  return { frames, findings, ...totals };
}

/** One kind of overlay in each world, and a hash of what has come out of it. */
interface Twins {
  readonly kind: Kind;
  readonly fabrics: readonly Fabric[];
  readonly hashes: Int32Array;
}

class Run {
  readonly #r: Random;
  readonly #seed: number;
  readonly #clock = new VirtualClock();
  readonly #twins: readonly Twins[];
  readonly #mutator: Mutator;
  /** What each station says. */
  readonly #spoken = new Map<number, readonly Uint8Array[]>();
  readonly #batch = new Batch();
  /** Frames that came out in the first world. */
  #delivered = 0;

  // The round at hand.
  readonly #frames: readonly Scratch[] = Array.from({ length: BATCH }, () => new Scratch());
  readonly #tos = new Uint8Array(BATCH);
  #count = 0;
  #now: Twins;
  #door = 0;

  constructor(seed: number) {
    this.#r = new Random(seed);
    this.#seed = seed;
    this.#twins = KINDS.map((kind) => ({
      kind,
      fabrics: POISONS.map((poison) => new Fabric(kind, this.#clock, poison)),
      hashes: new Int32Array(POISONS.length),
    }));
    this.#now = this.#twins[0];
    const frames = seedFrames(this.#r);
    this.#mutator = new Mutator(this.#r, frames);
    const all = [1, 2, 3, 11, 12, 13, STRANGER, SILENT];
    for (const n of all) {
      const others = all.filter((other) => other !== n).map(station);
      this.#spoken.set(n, spoken(frames, station(n), others, this.#r));
    }
  }

  get #fabrics(): Fabric[] {
    return this.#twins.flatMap(({ fabrics }) => fabrics);
  }

  async open(): Promise<void> {
    for (const fabric of this.#fabrics) await fabric.open(this.#seed);
  }

  async close(): Promise<void> {
    for (const fabric of this.#fabrics) {
      await fabric.close();
      if (fabric.pool.used !== 0) fail('after closing, packets did not come home');
    }
  }

  /** Puts `count` frames through one door of one kind of overlay, in both worlds. */
  round(count: number): void {
    const r = this.#r;
    this.#clock.advance(r.chance(0.001) ? r.below(200_000) : r.below(4));
    this.#now = this.#twins[r.below(this.#twins.length)];
    const { doors } = this.#now.fabrics[0];
    this.#door = r.below(doors.length);
    this.#count = count;
    for (let i = 0; i < count; i++) this.#make(i, doors[this.#door]);
    this.#run();
  }

  #run(): void {
    const { fabrics, hashes } = this.#now;
    const batch = this.#batch;
    for (const [i, fabric] of fabrics.entries()) {
      for (let k = 0; k < this.#count; k++) {
        const { bytes, start, end } = this.#frames[k];
        const p = fabric.pool.take()!.set(bytes.subarray(start, end));
        p.tos = this.#tos[k];
        batch.add(p);
      }
      fabric.doors[this.#door].put(batch);
      fabric.drain(i === 0 ? this.#judge : this.#note);
      if (fabric.pool.used !== 0) fail(`slots ${fabric.pool.leaked} did not come home`);
    }
    if (hashes[0] !== hashes[1]) fail('what came out depends on bytes outside the frames');
  }

  /** Makes one frame for a door. Some stay as they are, so that the tables know something. */
  #make(i: number, door: Door): void {
    const r = this.#r;
    const frame = this.#frames[i];
    this.#tos[i] = r.chance(0.3) ? r.below(256) : 0;
    if (door.station !== null) {
      frame.load(this.#say(door.station.number));
      if (r.chance(0.8)) this.#mutator.mutate(frame);
      return;
    }
    const other = door.host === 1 ? 2 : 1;
    frame.load(this.#say(r.chance(0.7) ? STRANGER : other));
    if (r.chance(0.5)) this.#mutator.mutate(frame);
    writeVxlan(frame, r.chance(0.05) ? r.below(1 << 24) : VNIS[r.below(VNIS.length)]);
    const from = r.chance(0.8) ? STRANGER : r.chance(0.8) ? other : OUTSIDER;
    writeOuter(frame, this.#now.kind, from, door.host, r);
    if (r.chance(0.5)) this.#mutator.mutate(frame);
  }

  #say(n: number): Uint8Array {
    const list = this.#spoken.get(n)!;
    return list[this.#r.below(list.length)];
  }

  /** Looks at what comes out of the second world. */
  readonly #note = (p: Packet, exit: Exit): void => this.#hash(1, p, exit);

  /** Looks at what comes out of the first world, and whether it may. */
  readonly #judge = (p: Packet, exit: Exit): void => {
    this.#delivered++;
    this.#hash(0, p, exit);
    const door = this.#now.fabrics[0].doors[this.#door];
    if (door.vni === null) this.#judgeTunnelled(p, exit, door);
    else this.#judgeLocal(p, exit, door);
  };

  #judgeTunnelled({ view: v, start }: Packet, { name, door }: Exit, { from }: Door): void {
    if (door === null) fail(`a frame came out of a tunnel and went into one at ${name}`);
    const refused = from === OUTSIDER || (from === STRANGER && door.vni === STATIC);
    if (refused) fail(`a frame of host ${from}, which is no remote, came out at ${name}`);
    for (let i = 0; i < this.#count; i++) {
      if (carries(this.#frames[i], this.#now.kind, door.vni!, v, start)) return;
    }
    fail(`a frame that nobody sent into the network came out at ${name}`);
  }

  #judgeLocal({ view: v, start }: Packet, exit: Exit, from: Door): void {
    const lead = leadOf(this.#now.kind);
    const tunnelled = exit.door === null;
    if (tunnelled && exit.host !== null && exit.host !== from.host) fail(`a loop at ${exit.name}`);
    const vni = tunnelled ? u24(v, start + lead + 4) : exit.door!.vni;
    if (vni !== from.vni) fail(`a frame from ${from.name} in network ${vni} at ${exit.name}`);
    if (vni !== GUARDED || exit.door === this.#now.fabrics[0].doors[this.#door]) return;
    const at = tunnelled ? start + lead + 8 : start;
    const { hi, lo } = from.station!.mac;
    const own = ethernet.srcHi(v, at) === hi && ethernet.srcLo(v, at) === lo;
    if (!own) fail(`a frame from ${from.name} with another source at ${exit.name}`);
  }

  #hash(world: number, { view: v, start, end }: Packet, exit: Exit): void {
    let h = this.#now.hashes[world] ^ (exit.number << 16) ^ (end - start);
    let i = start;
    for (; i + 4 <= end; i += 4) h = Math.imul(h ^ (h >>> 15) ^ v.getInt32(i), 0x01000193);
    for (; i < end; i++) h = Math.imul(h ^ v.getUint8(i), 0x01000193);
    this.#now.hashes[world] = h;
  }

  /** Checks that the books balance and that both worlds counted the same. */
  audit(): void {
    for (const { kind, fabrics } of this.#twins) {
      const [one, other] = fabrics;
      if (one.pool.dry !== 0) fail(`the pool of ${kind.name} was dry`);
      const missing = one.unexplained();
      if (missing !== 0) fail(`${kind.name}: ${missing} packets are not accounted for`);
      if (one.counters() !== other.counters())
        fail(`${kind.name}: counters depend on bytes outside the frames`);
    }
  }

  /** Checks that a frame passes from host 1 to host 2, once what was learned has aged. */
  checkAlive(): void {
    this.#clock.advance(600_000);
    for (let i = 0; i < 10; i++) {
      this.#clock.advance(20);
      for (const { overlays } of this.#fabrics) for (const overlay of overlays) overlay.step();
    }
    const [from, to] = [station(1).mac, station(2).mac];
    const [frame] = this.#frames;
    frame.load(new Uint8Array(60));
    ethernet.write(frame.view, frame.start, to.hi, to.lo, from.hi, from.lo, 0x88b5);
    this.#count = 1;
    for (this.#now of this.#twins) {
      const [{ doors, overlays }] = this.#now.fabrics;
      this.#door = doors.findIndex(({ vni, host }) => vni === GUARDED && host === 1);
      const arrived = () => overlays[1].ports().find(({ vni }) => vni === GUARDED)!.txPackets;
      const before = arrived();
      this.#run();
      if (arrived() !== before + 1) fail(`${this.#now.kind.name}: frames do not pass any more`);
    }
  }

  /** The round at hand, to be repeated by hand. */
  describe(): string {
    const { kind, fabrics } = this.#now;
    const door = fabrics[0].doors[this.#door]?.name;
    const frames = this.#frames.slice(0, this.#count).map(({ bytes, start, end }, i) => {
      const text = Buffer.from(bytes.subarray(start, end)).toString('hex');
      return this.#tos[i] === 0 ? text : `${text} (TOS ${this.#tos[i]})`;
    });
    return [`${kind.name}, ${door}, frames:`, ...frames].join('\n  ');
  }

  totals(): Totals {
    const drops: Record<string, number> = {};
    for (const { fabrics } of this.#twins) {
      for (const overlay of fabrics[0].overlays) {
        for (const [name, n] of Object.entries(overlay.drops())) drops[name] = (drops[name] ?? 0) + n;
      }
    }
    return { delivered: this.#delivered, drops };
  }
}

function fail(finding: string): never {
  throw new Error(finding);
}
