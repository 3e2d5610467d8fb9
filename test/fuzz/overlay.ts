/**
 * Whole overlays in one process, with mutated frames at their local ports and on their underlays. Rules:
 *
 * - nothing throws, what was put in comes to rest, and every packet comes home;
 * - what comes out was put into the same network, and what came from a tunnel goes into none;
 * - a guarded port's frames bear its MAC address;
 * - encrypted networks let nothing out in clear but keepalives, and nothing in that is in clear, false, changed
 *   or repeated;
 * - every packet that came in, was copied or made went out or was dropped for a reason;
 * - nothing depends on bytes outside a frame: each world is there twice, with other bytes in its free memory,
 *   and what comes out and what is counted is the same;
 * - afterwards frames pass as before.
 */
import * as ethernet from '../../codecs/ethernet.ts';
import { BATCH, Batch } from '../../lib/core/batch.ts';
import { VirtualClock } from '../../lib/core/clock.ts';
import { Random } from '../../lib/core/random.ts';
import { station } from './corpus.ts';
import { KINDS, type Kind } from './ends.ts';
import { Fabric, GUARDED, SECRET } from './fabric.ts';
import { Round } from './round.ts';
import { fail, Judge } from './rules.ts';

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
  /** Keepalives sent. */
  readonly keepalives: number;
}

/** Rounds between two audits of the books. */
const AUDIT = 256;
/** What the free memory of each of the two worlds is filled with. */
const POISONS = [0xdb, 0x24];

/** Puts `count` mutated frames into overlays of every kind, and ends at the first finding. Equal seeds do the
 * same, but for the keys of encrypted networks. */
export async function fuzzOverlay(count: number, seed: number): Promise<Outcome> {
  const run = new Run(seed);
  const findings: string[] = [];
  let totals: Totals = { delivered: 0, drops: {}, keepalives: 0 };
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

/** One kind of overlay in both worlds, and who watches it there. */
interface Twins {
  readonly kind: Kind;
  readonly fabrics: readonly Fabric[];
  readonly judges: readonly Judge[];
}

class Run {
  readonly #r: Random;
  readonly #seed: number;
  readonly #clock = new VirtualClock();
  readonly #round: Round;
  readonly #twins: readonly Twins[];
  readonly #batch = new Batch();

  constructor(seed: number) {
    this.#r = new Random(seed);
    this.#seed = seed;
    this.#round = new Round(this.#r, KINDS[0]);
    this.#twins = KINDS.map((kind) => {
      const fabrics = POISONS.map((poison) => new Fabric(kind, this.#clock, poison));
      return { kind, fabrics, judges: fabrics.map((fabric) => new Judge(this.#round, fabric)) };
    });
  }

  get #fabrics(): Fabric[] {
    return this.#twins.flatMap(({ fabrics }) => fabrics);
  }

  /** Opens everything, and waits until all have keys. */
  async open(): Promise<void> {
    for (const fabric of this.#fabrics) await fabric.open(this.#seed);
    this.#pass(500);
    if (!this.#fabrics.every(({ ready }) => ready)) fail('hosts did not agree on keys');
  }

  async close(): Promise<void> {
    for (const fabric of this.#fabrics) {
      await fabric.close();
      if (fabric.pool.used !== 0) fail('after closing, packets did not come home');
    }
  }

  /** Lets time pass without packets. */
  #pass(ms: number): void {
    for (let i = 0; i < ms; i += 10) {
      this.#clock.advance(10);
      for (const { overlays } of this.#fabrics) for (const overlay of overlays) overlay.step();
    }
  }

  /** Puts `count` frames through one door of one kind of overlay, in both worlds. */
  round(count: number): void {
    const r = this.#r;
    this.#clock.advance(r.chance(0.005) ? r.below(200_000) : r.below(4));
    const twins = this.#twins[r.below(this.#twins.length)];
    this.#round.make(twins.kind, twins.fabrics[0], count);
    this.#run(twins);
  }

  #run({ fabrics, judges: [one, other] }: Twins): void {
    const batch = this.#batch;
    for (const [i, fabric] of fabrics.entries()) {
      this.#round.fill(batch, fabric);
      fabric.ends.doors[this.#round.door].put(batch);
      fabric.drain(i === 0 ? one.see : other.note);
      if (fabric.pool.used !== 0) fail(`slots ${fabric.pool.leaked} did not come home`);
    }
    if (one.hash !== other.hash) fail('what came out depends on bytes outside the frames');
  }

  /** Checks that the books balance and that both worlds counted the same. */
  audit(): void {
    for (const { kind, fabrics } of this.#twins) {
      const [one, other] = fabrics;
      if (one.pool.dry !== 0) fail(`the pool of ${kind.name} was dry`);
      const missing = one.unexplained();
      if (missing !== 0) fail(`${kind.name}: ${missing} packets are not accounted for`);
      if (one.counters() !== other.counters()) {
        fail(`${kind.name}: counters depend on bytes outside the frames`);
      }
    }
  }

  /** Checks that a frame passes from host 1 to host 2, once what was learned has aged. */
  checkAlive(): void {
    this.#clock.advance(600_000);
    // A keepalive is looked for in a 64th of the peers a tick.
    this.#pass(1000);
    const [from, to] = [station(1).mac, station(2).mac];
    const bytes = new Uint8Array(60);
    ethernet.write(new DataView(bytes.buffer), 0, to.hi, to.lo, from.hi, from.lo, 0x88b5);
    for (const twins of this.#twins) {
      const [{ ends, overlays }] = twins.fabrics;
      for (const fabric of twins.fabrics) fabric.withholds = false;
      for (const vni of [GUARDED, SECRET]) {
        const door = ends.doors.findIndex((each) => each.vni === vni && each.host === 1);
        this.#round.only(twins.kind, door, bytes);
        const arrived = () => overlays[1].ports().find((port) => port.vni === vni)!.txPackets;
        const before = arrived();
        this.#run(twins);
        if (arrived() !== before + 1) fail(`${twins.kind.name}: frames do not pass in network ${vni}`);
      }
    }
  }

  /** The round at hand. */
  describe(): string {
    const { kind, door } = this.#round;
    const twins = this.#twins.find((each) => each.kind === kind)!;
    const name = twins.fabrics[0].ends.doors[door]?.name;
    return [`${kind.name}, ${name}, frames:`, ...this.#round.describe()].join('\n  ');
  }

  totals(): Totals {
    const drops: Record<string, number> = {};
    let keepalives = 0;
    for (const { fabrics } of this.#twins) {
      for (const overlay of fabrics[0].overlays) {
        for (const [name, n] of Object.entries(overlay.drops())) drops[name] = (drops[name] ?? 0) + n;
        keepalives += overlay.counters()['esp-seal'].keepalives ?? 0;
      }
    }
    const delivered = this.#twins.reduce((sum, { judges }) => sum + judges[0].seen, 0);
    return { delivered, drops, keepalives };
  }
}
