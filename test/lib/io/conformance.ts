/**
 * One suite for every port and wrapper: the contract at the head of lib/io/port.ts.
 *
 * A rig is a port under test, not yet open, and a far side that sends to it (`deliver`) and gets what it sends
 * (`collect`); one of the two is absent where a port goes one way only. A port that receives by itself, as from
 * a file, has `content` instead of `deliver`. A far side has a buffer of at least 512 frames. All waiting is for a condition, for at most a number of turns of the event loop.
 */
import type { Test } from 'tap';
import { BATCH, Batch } from '../../../lib/core/batch.ts';
import { VirtualClock } from '../../../lib/core/clock.ts';
import { createContext, portHost } from '../../../lib/core/context.ts';
import { CLOSED, type Drop, POOL_DRY, TOO_BIG, UNKNOWN_PEER } from '../../../lib/core/drop.ts';
import type { Context } from '../../../lib/core/element.ts';
import {
  GSO_NONE,
  GSO_TCPV4,
  GSO_TCPV6,
  GSO_UDP_L4,
  HEADROOM,
  NONE,
  type Packet,
  TAILROOM,
} from '../../../lib/core/packet.ts';
import { DebugPool } from '../../../lib/core/pool.ts';
import { Random } from '../../../lib/core/random.ts';
import {
  CHECKSUM,
  DATAGRAM,
  type Port,
  PortError,
  type PortHost,
  TSO4,
  TSO6,
  USO,
} from '../../../lib/io/port.ts';
import { testHost } from '../../gen/context.ts';
import { turn, until } from '../../gen/far-socket.ts';
import { seed } from '../../gen/seed.ts';

export interface Rig {
  /** The port under test, closed. */
  readonly port: Port;
  /** Has the far side send frames to the port. */
  readonly deliver?: (frames: readonly Uint8Array[]) => void | Promise<void>;
  /** What the port receives each time that it is open, without anybody's doing. */
  readonly content?: readonly Uint8Array[];
  /** Takes the frames that the far side has got since the last call. */
  readonly collect?: () => readonly Uint8Array[];
  /** How many frames of those delivered were lost and counted, wherever. Default: what the port dropped. */
  readonly lost?: () => number;
  /** Makes the open port fail, as the world could. */
  readonly fail?: () => void;
  /** Called at each turn of the event loop: the far side's clockwork. */
  readonly turn?: () => void;
  /** Closes the far side and gives back what it holds. */
  readonly close: () => void | Promise<void>;
}

export interface Traits {
  /** Lengths of frames to carry. Default: many, from 14 to the mtu. */
  readonly sizes?: readonly number[];
  /** Makes a frame that the port can carry. Default: an Ethernet header of a local type and a pattern. */
  readonly frame?: (length: number, serial: number) => Uint8Array;
  /** The number that the far side has in the port's `peers`. Default 0. */
  readonly peer?: number;
  /** Received frames are copied into packets of the host's pool. Default true. */
  readonly copies?: boolean;
  /** What is on the way to the far side can be lost where it comes too fast, as in a kernel's buffer. */
  readonly paced?: boolean;
  /** Options of the pool. Default: 2048 packets. */
  readonly pool?: { readonly count?: number; readonly slot?: number };
}

/** What a rig is made with: the far side may take packets from the pool and reads the clock. */
export interface Bench {
  readonly pool: DebugPool;
  readonly clock: VirtualClock;
}

export type MakeRig = (bench: Bench) => Rig | Promise<Rig>;

const SIZES = [14, 15, 42, 59, 60, 61, 64, 127, 128, 129, 255, 256, 500, 511, 512, 513, 999, 1024, 1400];

/** Runs the suite over the port that `make` makes. */
export function portConformance(t: Test, name: string, make: MakeRig, traits: Traits = {}): void {
  const one = (title: string, body: (t: Test, s: Stand) => Promise<void>, unless = false) => {
    if (unless) return;
    t.test(`${name}: ${title}`, async (t) => {
      const bench = { pool: new DebugPool({ count: 2048, ...traits.pool }), clock: new VirtualClock() };
      const s = new Stand(await make(bench), bench, traits);
      await body(t, s);
      await s.port.close();
      await s.rig.close();
      t.equal(bench.pool.used, 0, 'every packet came home');
      t.equal(s.host.jumbo.available, s.host.jumbo.count, 'every jumbo, too');
      t.same(s.errors, s.expected, 'onError');
    });
  };
  one('says what it is', describes);
  one('carries frames of many sizes in batches of every length', carries);
  one('receives frames of many sizes, whole and in order', receives);
  one('receives what is there by itself', contains);
  one('counts every frame of a burst that it is given', bursts);
  one('counts every frame of a burst that it receives', floods);
  one('drops what is too big', tooBig);
  one('drops super-frames and partial checksums that it did not declare', superFrames);
  one('wakes whenever there is something after there was nothing', wakes);
  one('drops what is sent while it is closed, and keeps nothing', closes);
  one('is opened once, and again when it was closed', opens);
  one('survives a dry pool', dries, traits.copies === false);
  one('sends to known peers alone', peers);
  one('tells when it fails, and is closed then', fails);
}

/** A rig that is being tested, and how a dataplane uses a port. */
class Stand {
  readonly rig: Rig;
  readonly port: Port;
  readonly pool: DebugPool;
  readonly clock: VirtualClock;
  readonly traits: Traits;
  readonly host: PortHost;
  readonly #context: Context;
  readonly batch = new Batch();
  readonly errors: string[] = [];
  /** Codes of the errors that the test asked for. */
  expected: string[] = [];
  woken = 0;
  #serial = 0;

  constructor(rig: Rig, { pool, clock }: Bench, traits: Traits) {
    this.rig = rig;
    this.port = rig.port;
    this.pool = pool;
    this.clock = clock;
    this.traits = traits;
    this.#context = createContext({ pool, clock });
    this.host = portHost(this.#context, () => this.woken++);
    this.port.onError = (error) => this.errors.push(error.code);
  }

  /** Frames of the sizes that the port carries, one after the other. */
  frames(count: number): Uint8Array[] {
    const { mtu } = this.port;
    const sizes = this.traits.sizes ?? [...SIZES.filter((n) => n < mtu - 1), mtu - 1, mtu];
    return Array.from({ length: count }, () => this.frame(sizes[this.#serial % sizes.length]));
  }

  frame(length: number): Uint8Array {
    return (this.traits.frame ?? pattern)(length, this.#serial++);
  }

  packet(frame: Uint8Array): Packet {
    const p = this.pool.take()!.set(frame);
    p.peer = this.port.medium === DATAGRAM ? (this.traits.peer ?? 0) : NONE;
    return p;
  }

  /** Sends frames in one batch and says whether it came back empty. */
  send(frames: readonly Uint8Array[]): boolean {
    for (const frame of frames) this.batch.add(this.packet(frame));
    this.port.send(this.batch);
    return this.batch.length === 0;
  }

  /** Sends one packet that `change` has changed. */
  sendOne(frame: Uint8Array, change: (p: Packet) => void): void {
    const p = this.packet(frame);
    change(p);
    this.batch.add(p);
    this.port.send(this.batch);
  }

  /** Receives one batch and returns its frames; what is noted on the packets is checked. */
  receive(): Uint8Array[] {
    const n = this.port.receive(this.batch);
    if (n !== this.batch.length || n > BATCH) throw new Error(`receive said ${n}, gave ${this.batch.length}`);
    const got: Uint8Array[] = [];
    for (let i = 0; i < n; i++) {
      this.#checkNotes(this.batch.packets[i]);
      got.push(this.batch.packets[i].frame().slice());
    }
    this.batch.release();
    return got;
  }

  #checkNotes(p: Packet): void {
    const peer = this.port.medium === DATAGRAM ? (this.traits.peer ?? 0) : NONE;
    const notes = [p.port, p.out, p.l3, p.l4, p.vni, p.peer, p.hash, p.gsoType, p.csumStart];
    const fresh = [NONE, NONE, NONE, NONE, NONE, peer, 0, GSO_NONE, NONE];
    if (notes.join() !== fresh.join()) throw new Error(`received with notes ${notes}, expected ${fresh}`);
    if (p.start < HEADROOM || p.bytes.length - p.end < TAILROOM) {
      throw new Error(`received at ${p.start}..${p.end} of ${p.bytes.length}: too little room`);
    }
  }

  /** Receives until `enough` says so, or until patience ends. */
  async receiveUntil(enough: (got: readonly Uint8Array[]) => boolean): Promise<Uint8Array[]> {
    const got = this.receive();
    await this.until(() => {
      got.push(...this.receive());
      return enough(got);
    });
    return got;
  }

  /** What the far side has when it has `count` frames, or when patience ends. */
  async collect(count: number): Promise<Uint8Array[]> {
    const got: Uint8Array[] = [];
    await this.until(() => {
      got.push(...this.rig.collect!());
      return got.length >= count;
    });
    return got;
  }

  /** Turns until `done`, or until patience ends: what is missing then, the assertions tell. */
  until(done: () => boolean): Promise<void> {
    return until(done, () => this.turn());
  }

  /** One turn of the event loop, 10 ms later, with a look at the descriptors that a native port waits for. */
  async turn(): Promise<void> {
    await turn();
    this.#context.poll?.wait(0);
    this.clock.advance(10);
    this.port.tick?.(this.clock.now);
    this.rig.turn?.();
  }

  /** Packets sent or dropped, and bytes sent. */
  get out(): { packets: number; bytes: number; dropped: number } {
    const { txPackets, txBytes, dropped } = this.port.stats;
    return { packets: txPackets, bytes: txBytes, dropped };
  }

  dropped(reason: Drop): number {
    return this.port.stats.droppedFor(reason);
  }
}

async function describes(t: Test, s: Stand): Promise<void> {
  const { port } = s;
  await port.open(s.host);
  t.ok(port.name.length > 0, 'name');
  t.ok(port.mtu >= 68, 'mtu');
  t.equal(port.medium === DATAGRAM, port.peers !== undefined, 'peers on DATAGRAM ports alone');
  t.same([port.stats.rxPackets, port.stats.txPackets, port.stats.dropped], [0, 0, 0], 'nothing counted yet');
  if (s.rig.content === undefined) t.equal(port.receive(s.batch), 0, 'nothing to receive');
  t.equal(s.send([]), true, 'an empty batch');
  if (s.rig.collect !== undefined) return;
  t.ok(s.send(s.frames(5)), 'a port that does not send leaves the batch empty');
  await s.until(() => port.stats.dropped >= 5);
  t.equal(port.stats.dropped, 5, 'and counts what it was given');
}

async function carries(t: Test, s: Stand): Promise<void> {
  if (s.rig.collect === undefined) return;
  await s.port.open(s.host);
  const given: Uint8Array[] = [];
  const got: Uint8Array[] = [];
  let emptied = true;
  for (let n = 1; n <= BATCH; n++) {
    const frames = s.frames(n);
    given.push(...frames);
    emptied = s.send(frames) && emptied;
    got.push(...(await s.collect(n)));
  }
  await s.until(() => s.out.packets === given.length);
  t.ok(emptied, 'send leaves the batch empty');
  t.same(difference(got, given), null);
  t.same(s.out, { packets: given.length, bytes: total(given), dropped: 0 }, 'counted');
}

async function receives(t: Test, s: Stand): Promise<void> {
  if (s.rig.deliver === undefined) return;
  await s.port.open(s.host);
  const given: Uint8Array[] = [];
  const got: Uint8Array[] = [];
  for (let n = 1; n <= BATCH + 8; n++) {
    const frames = s.frames(n);
    given.push(...frames);
    await s.rig.deliver(frames);
    got.push(...(await s.receiveUntil((got) => got.length >= n)));
  }
  t.same(difference(got, given), null);
  t.equal(s.receive().length, 0, 'nothing comes behind');
  t.same([s.port.stats.rxPackets, s.port.stats.rxBytes], [given.length, total(given)], 'counted');
}

async function contains(t: Test, s: Stand): Promise<void> {
  const { content } = s.rig;
  if (content === undefined) return;
  for (let round = 1; round <= 2; round++) {
    const woken = s.woken;
    await s.port.open(s.host);
    await s.until(() => s.woken > woken);
    t.ok(s.woken > woken, 'wakes');
    const got = await s.receiveUntil((got) => got.length >= content.length);
    t.same(difference(got, content), null, `when it is open for the ${round}. time`);
    t.equal(s.receive().length, 0, 'nothing comes behind');
    t.equal(s.port.stats.rxPackets, round * content.length, 'counted');
    t.equal(s.port.stats.rxBytes, round * total(content), 'counted in bytes');
    await s.port.close();
  }
}

async function bursts(t: Test, s: Stand): Promise<void> {
  if (s.rig.collect === undefined) return;
  await s.port.open(s.host);
  let given = 0;
  // Nobody collects: what does not fit must be counted, too.
  // What is paced has a kernel in between, whose buffer holds some 32 frames for sure.
  const burst = s.traits.paced ? 32 : BATCH;
  for (let i = 0; i < 60 && s.pool.available >= burst; i++) {
    const frames = s.frames(burst);
    given += frames.length;
    s.send(frames);
    if (s.traits.paced) await s.turn();
  }
  await s.until(() => s.out.packets + s.out.dropped >= given);
  const got = await s.collect(s.out.packets);
  t.equal(s.out.packets + s.out.dropped, given, 'sent or dropped');
  t.equal(got.length, s.out.packets, 'what was sent arrived');
  t.equal(total(got), s.out.bytes, 'bytes');
  s.send(s.frames(3));
  t.equal((await s.collect(3)).length, 3, 'and there is room again');
}

async function floods(t: Test, s: Stand): Promise<void> {
  if (s.rig.deliver === undefined) return;
  const lost = s.rig.lost ?? (() => s.port.stats.dropped);
  await s.port.open(s.host);
  const given = s.frames(1500);
  await s.rig.deliver(given);
  // Turns without receiving fill whatever the port has.
  for (let i = 0; i < 100; i++) await s.turn();
  const got = await s.receiveUntil((got) => got.length + lost() >= given.length);
  t.equal(got.length + lost(), given.length, 'received or counted as lost');
  t.equal(s.port.stats.rxPackets, got.length, 'received');
  const after = s.frames(3);
  await s.rig.deliver(after);
  t.same(difference(await s.receiveUntil((got) => got.length >= 3), after), null, 'and there is room again');
}

async function tooBig(t: Test, s: Stand): Promise<void> {
  if (s.rig.collect === undefined) return;
  await s.port.open(s.host);
  const { mtu } = s.port;
  const [fits, after] = [s.frame(mtu), s.frame(mtu)];
  t.ok(s.send([fits, s.frame(mtu + 1), s.frame(mtu + 100), after]), 'send leaves the batch empty');
  t.same(difference(await s.collect(2), [fits, after]), null, 'the others pass');
  await s.until(() => s.out.packets === 2);
  t.equal(s.dropped(TOO_BIG), 2);
  t.same(s.out, { packets: 2, bytes: 2 * mtu, dropped: 2 });
}

async function superFrames(t: Test, s: Stand): Promise<void> {
  if (s.rig.collect === undefined) return;
  await s.port.open(s.host);
  const kinds = [
    [GSO_TCPV4, TSO4],
    [GSO_TCPV6, TSO6],
    [GSO_UDP_L4, USO],
  ] as const;
  const undeclared = kinds.filter(([, bits]) => (s.port.offloads & bits) === 0);
  for (const [gsoType] of undeclared) {
    s.sendOne(s.frame(1000), (p) => {
      p.gsoType = gsoType;
      p.gsoSize = 100;
      p.hdrLen = 54;
      p.csumStart = p.start + 34;
      p.csumOffset = 16;
    });
  }
  let refused: number = undeclared.length;
  if ((s.port.offloads & CHECKSUM) === 0) {
    refused++;
    s.sendOne(s.frame(100), (p) => {
      p.csumStart = p.start + 34;
      p.csumOffset = 6;
    });
  }
  const plain = s.frame(100);
  s.send([plain]);
  t.same(difference(await s.collect(1), [plain]), null, 'only the plain frame passes');
  t.equal(s.dropped(TOO_BIG), refused, 'the others are counted');
}

/** Receives only between a wake and an empty batch, as the engine does, while frames come at odd moments. */
async function wakes(t: Test, s: Stand): Promise<void> {
  if (s.rig.deliver === undefined) return;
  t.comment(`seed ${seed}`);
  const random = new Random(seed);
  await s.port.open(s.host);
  let given = 0;
  let got = 0;
  let seen = 0;
  let ready = false;
  const inhale = () => {
    if (s.woken > seen) ready = true;
    seen = s.woken;
    if (!ready) return;
    const n = s.receive().length;
    got += n;
    ready = n > 0;
  };
  for (let round = 0; round < 100; round++) {
    const frames = Array.from({ length: random.below(40) }, () => s.frame(60));
    given += frames.length;
    await s.rig.deliver(frames);
    for (let i = random.below(4); i > 0; i--) inhale();
    for (let i = random.below(3); i > 0; i--) await s.turn();
    for (let i = random.below(4); i > 0; i--) inhale();
    await s.until(() => {
      inhale();
      return given - got < 200;
    });
  }
  await s.until(() => {
    inhale();
    return got === given;
  });
  t.equal(got, given, `received by wakes alone, seed ${seed}`);
  for (let i = 0; i < 3; i++) {
    await s.until(() => {
      inhale();
      return !ready;
    });
    const before = s.woken;
    await s.rig.deliver([s.frame(60)]);
    await s.until(() => s.woken > before);
    t.ok(s.woken > before, 'one frame after silence wakes');
  }
}

async function closes(t: Test, s: Stand): Promise<void> {
  const { port } = s;
  await port.close();
  t.equal(port.receive(s.batch), 0, 'nothing is received before it is open');
  t.ok(s.send(s.frames(3)), 'send leaves the batch empty');
  t.equal(s.dropped(CLOSED), 3, 'and is refused');
  await port.open(s.host);
  if (s.rig.deliver !== undefined) {
    await s.rig.deliver(s.frames(40));
    await s.until(() => s.woken > 0);
  }
  const sent = s.rig.collect === undefined ? [] : s.frames(20);
  if (sent.length > 0) s.send(sent);
  await port.close();
  t.equal(port.receive(s.batch), 0, 'nothing is received afterwards');
  const before = s.dropped(CLOSED);
  t.ok(s.send(s.frames(5)), 'send leaves the batch empty');
  t.equal(s.dropped(CLOSED) - before, 5, 'counted as closed');
  await port.close();
  port.tick?.(s.clock.now + 1000);
  await s.rig.close();
  t.equal(s.pool.used, 0, 'no packet is kept');
}

async function opens(t: Test, s: Stand): Promise<void> {
  const { port } = s;
  await port.open(s.host);
  await t.rejects(port.open(s.host), { name: 'PortError', code: 'STATE' });
  await works(t, s, 'after a refused opening');
  await port.close();
  await port.open(s.host);
  await works(t, s, 'after closing and opening');
}

/** A few frames in both directions. */
async function works(t: Test, s: Stand, when: string): Promise<void> {
  if (s.rig.collect !== undefined) {
    const out = s.frames(5);
    s.send(out);
    t.same(difference(await s.collect(5), out), null, `sends ${when}`);
  }
  if (s.rig.deliver !== undefined) {
    const woken = s.woken;
    const into = s.frames(5);
    await s.rig.deliver(into);
    await s.until(() => s.woken > woken);
    const got = await s.receiveUntil((got) => got.length >= 5);
    t.same(difference(got, into), null, `receives ${when}`);
    t.ok(s.woken > woken, `wakes ${when}`);
  }
}

async function dries(t: Test, s: Stand): Promise<void> {
  if (s.rig.deliver === undefined) return;
  await s.port.open(s.host);
  const frames = s.frames(8);
  const hoard: Packet[] = [];
  for (let p = s.pool.take(); p !== null; p = s.pool.take()) hoard.push(p);
  await s.rig.deliver(frames.slice(0, 5));
  await s.until(() => s.receive().length > 0 || s.dropped(POOL_DRY) >= 5);
  t.equal(s.dropped(POOL_DRY), 5, 'counted');
  t.equal(s.port.stats.rxPackets, 0, 'and not as received');
  for (const p of hoard) s.pool.give(p);
  await s.rig.deliver(frames.slice(5));
  const got = await s.receiveUntil((got) => got.length >= 3);
  t.same(difference(got, frames.slice(5)), null, 'what comes later is received');
}

async function peers(t: Test, s: Stand): Promise<void> {
  if (s.port.medium !== DATAGRAM || s.rig.collect === undefined) return;
  await s.port.open(s.host);
  const table = s.port.peers!;
  for (const peer of [NONE, 999, table.capacity]) {
    s.sendOne(s.frame(100), (p) => {
      p.peer = peer;
    });
  }
  await s.until(() => s.dropped(UNKNOWN_PEER) >= 3);
  t.equal(s.dropped(UNKNOWN_PEER), 3);
  const known = table.get(s.traits.peer ?? 0)!;
  await works(t, s, 'with a known peer');
  table.remove(s.traits.peer ?? 0);
  s.send(s.frames(2));
  await s.until(() => s.dropped(UNKNOWN_PEER) >= 5);
  t.equal(s.dropped(UNKNOWN_PEER), 5, 'a peer that was removed');
  if (s.rig.deliver !== undefined) {
    await s.rig.deliver(s.frames(2));
    const got = await s.receiveUntil(() => s.dropped(UNKNOWN_PEER) >= 7);
    t.equal(s.dropped(UNKNOWN_PEER), 7, 'is a stranger when it sends, too');
    t.equal(got.length, 0, 'and nothing is received');
  }
  t.equal(table.set(known), s.traits.peer ?? 0, 'the number is used again');
  await works(t, s, 'when the peer is back');
}

async function fails(t: Test, s: Stand): Promise<void> {
  if (s.rig.fail === undefined) return;
  const seen: PortError[] = [];
  const { onError } = s.port;
  s.port.onError = (error) => {
    seen.push(error);
    onError?.(error);
  };
  await s.port.open(s.host);
  if (s.rig.deliver !== undefined) {
    await s.rig.deliver(s.frames(10));
    await s.until(() => s.woken > 0);
  }
  s.rig.fail();
  // What is broken may be known only to who receives.
  await s.until(() => {
    if (seen.length === 0) s.receive();
    return seen.length > 0;
  });
  t.ok(seen[0] instanceof PortError, 'onError is called with a PortError');
  t.ok(seen[0]?.message.length > 0, 'which says what happened');
  s.expected = [seen[0]?.code];
  t.equal(s.port.receive(s.batch), 0, 'nothing is received any more');
  const before = s.dropped(CLOSED);
  s.send(s.frames(4));
  t.equal(s.dropped(CLOSED) - before, 4, 'what is sent is dropped as closed');
  await s.port.close();
  await s.rig.close();
  t.equal(s.pool.used, 0, 'no packet is kept');
}

/** A frame of a local experimental type (IEEE 802 section 9.2.3) whose bytes tell its serial. */
function pattern(length: number, serial: number): Uint8Array {
  const frame = new Uint8Array(length);
  for (let i = 0; i < length; i++) frame[i] = (i * 7 + serial * 31) & 0xff;
  frame.set([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xb5].slice(0, length));
  if (length >= 18) new DataView(frame.buffer).setUint32(14, serial);
  return frame;
}

/** Null where the frames are the same, or what is the first that differs. */
export function difference(got: readonly Uint8Array[], want: readonly Uint8Array[]): unknown {
  const n = Math.max(got.length, want.length);
  for (let i = 0; i < n; i++) {
    const [a, b] = [got[i], want[i]];
    if (a !== undefined && b !== undefined && Buffer.compare(a, b) === 0) continue;
    const text = (frame?: Uint8Array) => frame && Buffer.from(frame.subarray(0, 32)).toString('hex');
    const lengths = [a?.length, b?.length];
    return { counts: [got.length, want.length], at: i, lengths, got: text(a), want: text(b) };
  }
  return null;
}

function total(frames: readonly Uint8Array[]): number {
  return frames.reduce((sum, frame) => sum + frame.length, 0);
}

/** The far side of a rig that is a port itself. It is opened by `open`, and shares the bench's pool. */
export class FarPort {
  readonly port: Port;
  readonly #bench: Bench;
  readonly #batch = new Batch();
  /** What `packet.peer` says on packets to the port under test. */
  readonly #peer: number;

  constructor(port: Port, bench: Bench, peer = 0) {
    this.port = port;
    this.#bench = bench;
    this.#peer = peer;
  }

  open(): Promise<void> {
    return this.port.open(testHost(this.#bench));
  }

  readonly deliver = (frames: readonly Uint8Array[]): void => {
    for (const frame of frames) {
      const p = this.#bench.pool.take()!.set(frame);
      // What this side noted is no business of the other's.
      p.port = p.out = p.l3 = p.l4 = p.vni = p.hash = 77;
      p.peer = this.#peer;
      this.#batch.add(p);
      if (this.#batch.full) this.port.send(this.#batch);
    }
    this.port.send(this.#batch);
  };

  readonly collect = (): Uint8Array[] => {
    const got: Uint8Array[] = [];
    while (this.port.receive(this.#batch) > 0) {
      for (let i = 0; i < this.#batch.length; i++) got.push(this.#batch.packets[i].frame().slice());
      this.#batch.release();
    }
    return got;
  };

  readonly close = (): Promise<void> => this.port.close();
}
