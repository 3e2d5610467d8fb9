import {
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { readCapture } from '../../../codecs/capture-reader.ts';
import { CaptureWriter, type CaptureWriterOptions } from '../../../codecs/capture-writer.ts';
import { sectionBlock } from '../../../codecs/pcapng-blocks.ts';
import { BATCH, Batch } from '../../../lib/core/batch.ts';
import { VirtualClock } from '../../../lib/core/clock.ts';
import { MALFORMED, PORT_ERROR, TOO_BIG } from '../../../lib/core/drop.ts';
import { DebugPool } from '../../../lib/core/pool.ts';
import { PcapReader, type PcapReaderOptions, PcapWriter } from '../../../lib/io/pcap-file.ts';
import { ETHERNET, IP, type Port, type PortError } from '../../../lib/io/port.ts';
import { testHost } from '../../gen/context.ts';
import { portConformance, type Rig } from './conformance.ts';

const folder = mkdtempSync(join(tmpdir(), 'packetweave-'));
t.teardown(() => rmSync(folder, { recursive: true }));
const at = (name: string) => join(folder, name);

/** Makes a file of packets, each `[length, ms]`, filled with their serial number. */
function make(
  name: string,
  packets: [number, number][],
  options: CaptureWriterOptions = {},
  link = 1,
): string {
  const parts: Uint8Array[] = [];
  const writer = new CaptureWriter((bytes) => parts.push(bytes.slice()), options);
  writer.interface({ link });
  for (const [i, [length, ms]] of packets.entries()) {
    const seconds = Math.floor(ms / 1000);
    const bytes = new Uint8Array(length).fill(i);
    writer.frame(0, 1e9 + seconds, Math.round((ms - seconds * 1000) * 1e6), 0, bytes, 0, length);
  }
  writer.flush();
  writeFileSync(at(name), Buffer.concat(parts));
  return at(name);
}

const many = (n: number): [number, number][] => Array.from({ length: n }, (_, i) => [20 + (i % 1400), i]);

/** An open reader and what is received from it. */
class Replay {
  readonly pool: DebugPool;
  readonly clock = new VirtualClock();
  readonly port: PcapReader;
  readonly errors: PortError[] = [];
  readonly batch = new Batch();
  wakes = 0;

  constructor(options: PcapReaderOptions, pool = new DebugPool({ count: 64 })) {
    this.pool = pool;
    this.port = new PcapReader(options);
    this.port.onError = (error) => this.errors.push(error);
  }

  open(): Promise<void> {
    return this.port.open(testHost({ pool: this.pool, clock: this.clock }, () => this.wakes++));
  }

  /** One batch, as lengths and first bytes. */
  some(): [number, number][] {
    const n = this.port.receive(this.batch);
    const got = this.batch.packets.slice(0, n).map((p): [number, number] => [p.length, p.frame()[0]]);
    this.batch.release();
    return got;
  }

  /** All batches up to the first empty one. */
  all(): [number, number][] {
    const got: [number, number][] = [];
    for (let some = this.some(); some.length > 0; some = this.some()) got.push(...some);
    return got;
  }
}

const serial = (packets: [number, number][]) => packets.map(([length], i) => [length, i & 255]);

let files = 0;
/** A reader under the common contract: it gives what is in its file and takes nothing. */
const readerRig = (): Rig => {
  const port = new PcapReader({ path: make(`rig${files++}.pcapng`, []) });
  return { port, close() {} };
};
portConformance(t, 'pcap reader', readerRig);

/** A writer under the common contract; the far side reads its file. */
const writerRig = (name: string) => (): Rig => {
  const port = new PcapWriter({ path: at(`${files++}.${name}`), mtu: 1514 });
  let seen = 0;
  let size = 0;
  const collect = () => {
    const now = statSync(port.name, { throwIfNoEntry: false })?.size ?? 0;
    // Opening again starts a new file.
    if (now < size) seen = 0;
    if (now === size) return [];
    size = now;
    const { packets } = readCapture(readFileSync(port.name));
    const fresh = packets.slice(seen).map(({ bytes }) => bytes);
    seen = packets.length;
    return fresh;
  };
  return { port, collect, close() {} };
};
portConformance(t, 'pcap writer', writerRig('pcap'));
portConformance(t, 'pcapng writer', writerRig('pcapng'));

t.test('reads a file of either format from end to end', async (t) => {
  const packets = many(3000);
  for (const format of ['pcap', 'pcapng'] as const) {
    const r = new Replay({ path: make(`whole.${format}`, packets, { format }) });
    const { ended } = r.port;
    await r.open();
    t.equal(r.wakes, 1);
    t.same(r.all(), serial(packets));
    await ended;
    t.same([r.port.medium, r.port.stats.rxPackets, r.port.cut, r.errors.length], [ETHERNET, 3000, 0, 0]);
    t.equal(
      r.port.stats.rxBytes,
      packets.reduce((sum, [length]) => sum + length, 0),
    );
    r.port.tick();
    t.equal(r.wakes, 1, 'nobody is woken for nothing');
    await r.port.close();
    await r.open();
    t.equal(r.all().length, 3000, 'opened again it starts anew');
    await r.port.ended;
    await r.port.close();
    t.equal(r.pool.used, 0);
  }
});

t.test('again and again', async (t) => {
  const path = make('again.pcap', many(50), { format: 'pcap' });
  const r = new Replay({ path, repeat: 3 });
  await r.open();
  t.same(r.all(), [...serial(many(50)), ...serial(many(50)), ...serial(many(50))]);
  await r.port.ended;
  await r.port.close();
  const forever = new Replay({ path, repeat: Number.POSITIVE_INFINITY });
  await forever.open();
  let got = 0;
  for (let i = 0; i < 100; i++) got += forever.some().length;
  t.equal(got, 100 * BATCH);
  await forever.port.close();
  const empty = new Replay({ path: make('empty.pcap', []), repeat: Number.POSITIVE_INFINITY });
  await empty.open();
  t.same(empty.all(), [], 'a file without packets is not read for ever');
  await empty.port.ended;
  await empty.port.close();
});

t.test('paced by time stamps', async (t) => {
  const packets: [number, number][] = [
    [60, 5.5],
    [61, 5.5],
    [62, 15.75],
    [63, 1005.5],
  ];
  const r = new Replay({ path: make('paced.pcapng', packets), pace: 'timestamps', speed: 2, repeat: 2 });
  r.clock.advance(1234);
  await r.open();
  const lengths = () => r.all().map(([length]) => length);
  const after = (ms: number) => {
    r.clock.advance(ms);
    const before = r.wakes;
    r.port.tick();
    return [r.wakes - before, ...lengths()];
  };
  t.same(lengths(), [60, 61], 'the first come at once');
  t.same(after(5.12), [0]);
  t.same(after(0.01), [1, 62], 'and wake when they are due');
  t.same(after(494.86), [0]);
  t.same(after(0.02), [1, 63, 60, 61], 'the next round starts when this one is through');
  t.same(after(5.13), [1, 62]);
  t.same(after(600), [1, 63]);
  await r.port.ended;
  await r.port.close();
});

t.test('a dry pool is waited for', async (t) => {
  const r = new Replay({ path: make('dry.pcap', many(10)) }, new DebugPool({ count: 4 }));
  await r.open();
  const first = new Batch();
  t.equal(r.port.receive(first), 4);
  t.equal(r.port.receive(r.batch), 0);
  r.port.tick();
  t.equal(r.wakes, 2, 'and asked for again');
  first.release();
  t.equal(r.all().length, 6, 'nothing is lost');
  t.equal(r.port.stats.dropped, 0);
  await r.port.close();
});

t.test('what cannot be received is dropped and counted', async (t) => {
  const parts: Uint8Array[] = [];
  const writer = new CaptureWriter((bytes) => parts.push(bytes.slice()), { snaplen: 2000 });
  const ethernet = writer.interface({ link: 1 });
  const ip = writer.interface({ link: 101 });
  for (const [id, length] of [
    [ethernet, 1792],
    [ethernet, 1793],
    [ip, 60],
    [ethernet, 60],
  ]) {
    writer.frame(id, 0, 0, 0, new Uint8Array(length), 0, length);
  }
  writer.packet(ethernet, 0, 0, 0, 40, 1500);
  writer.flush();
  writeFileSync(at('mixed.pcapng'), Buffer.concat(parts));
  const r = new Replay({ path: at('mixed.pcapng') });
  await r.open();
  t.same(
    r.all().map(([length]) => length),
    [1792, 60, 40],
  );
  t.equal(r.port.stats.droppedFor(TOO_BIG), 1);
  t.equal(r.port.stats.droppedFor(MALFORMED), 1);
  t.equal(r.port.cut, 1);
  const p = r.pool.take()!;
  r.batch.add(p);
  r.port.send(r.batch);
  t.equal(r.port.stats.droppedFor(PORT_ERROR), 1);
  await r.port.close();
  t.equal(r.pool.used, 0);

  const big = make('big.pcapng', [...Array<[number, number]>(2000).fill([1793, 0]), [60, 0]]);
  const skipping = new Replay({ path: big });
  await skipping.open();
  let rounds = 0;
  for (; skipping.some().length === 0; rounds++) skipping.port.tick();
  t.ok(rounds > 1, 'a long run of them does not hold up the loop');
  t.ok(skipping.wakes > rounds);
  t.equal(skipping.port.stats.droppedFor(TOO_BIG), 2000);
  await skipping.port.close();
});

t.test('a check sequence that the file declares is taken off; raw IP', async (t) => {
  const path = make('fcs.pcap', [[64, 0]], { format: 'pcap' }, 0x24000001);
  const r = new Replay({ path });
  await r.open();
  t.same(r.all(), [[60, 0]]);
  await r.port.close();
  const raw = new Replay({ path: make('raw.pcap', [[20, 0]], { format: 'pcap' }, 101) });
  await raw.open();
  t.equal(raw.port.medium, IP);
  t.match(raw.port.interfaces, [{ link: 101 }]);
  await raw.port.close();
});

t.test('bad files', async (t) => {
  const refused = async (path: string, code: string, message: RegExp) => {
    const r = new Replay({ path });
    await t.rejects(r.open(), { name: 'PortError', code, message });
    await r.port.close();
  };
  await refused(at('none'), 'NO_SUCH_FILE', /^"\/.*none" cannot be read: there is no such file$/);
  await refused(folder, 'BAD_FILE', /is no regular file/);
  writeFileSync(at('zero'), '');
  await refused(
    at('zero'),
    'BAD_FILE',
    /zero" .*at offset 0: expected a pcap or pcapng file, got an empty one/,
  );
  writeFileSync(at('text'), 'hello, world, this is text');
  await refused(at('text'), 'BAD_FILE', /text" .*at offset 0: expected a pcap or pcapng file, got something/);
  const short = make('short.pcap', [], { format: 'pcap' });
  truncateSync(short, 20);
  await refused(short, 'BAD_FILE', /at offset 0: expected 24 bytes to follow, got the end after 20/);
  writeFileSync(at('bare.pcapng'), sectionBlock(true));
  await refused(
    at('bare.pcapng'),
    'BAD_FILE',
    /at offset 28: expected an interface description, got the end/,
  );
  await refused(
    make('sll.pcap', [], { format: 'pcap' }, 113),
    'NOT_SUPPORTED',
    /Linux cooked v1 \(113\): only Ethernet/,
  );
});

t.test('damage is told after every whole packet in front of it', async (t) => {
  const packets = many(BATCH + 8);
  for (const format of ['pcap', 'pcapng'] as const) {
    const path = make(`cut.${format}`, packets, { format });
    truncateSync(path, readFileSync(path).length - 1);
    const r = new Replay({ path });
    await r.open();
    t.equal(r.some().length, BATCH);
    t.equal(r.some().length, 7);
    t.same(r.errors, [], 'not before they are received');
    t.equal(r.some().length, 0);
    t.match(r.errors, [
      { code: 'BAD_FILE', message: /cut.* at offset \d+: expected \d+ bytes to follow, got/ },
    ]);
    await r.port.ended;
    t.equal(r.some().length, 0, 'it has closed itself');
    t.equal(r.errors.length, 1);
    await r.port.close();
  }
  const first = make('first.pcap', [[60, 0]], { format: 'pcap' });
  truncateSync(first, 50);
  const r = new Replay({ path: first });
  await r.open();
  t.same(r.some(), []);
  t.match(r.errors, [{ code: 'BAD_FILE', message: /at offset 24/ }], 'a good header opens');
});

t.test('options are checked', async (t) => {
  const path = at('x');
  t.throws(() => new PcapReader({ path, speed: 0 }), { message: '"speed" expected a number above 0, got 0' });
  t.throws(() => new PcapReader({ path, repeat: 1.5 }), { message: /"repeat" expected an integer/ });
  t.throws(() => new PcapReader({ path, pace: 'slow' as 'flat' }), {
    message: /"pace" expected flat or time/,
  });
  t.throws(() => new PcapWriter({ path, mtu: 0 }), { message: '"mtu" expected an integer 1..262144, got 0' });
  t.throws(() => new PcapWriter({ path, snaplen: 2e6 }), {
    message: /"snaplen" expected an integer 1\.\.262144/,
  });
  t.throws(() => new PcapWriter({ path, medium: 3 as typeof IP }), {
    message: /"medium" expected ETHERNET or IP/,
  });
});

/** Sends one packet of `length` bytes. */
function send(port: Port, pool: DebugPool, length: number): void {
  const batch = new Batch();
  batch.add(pool.take()!.set(new Uint8Array(length).fill(length)));
  port.send(batch);
}

t.test('the writer stamps by the clock, cuts, and flushes every second', async (t) => {
  const pool = new DebugPool({ count: 8 });
  const clock = new VirtualClock(1_700_000_000_123.25);
  const port = new PcapWriter({ path: at('out.pcapng'), name: 'eth7', snaplen: 50, medium: IP });
  await port.open(testHost({ pool, clock }));
  send(port, pool, 40);
  clock.advance(876.750001);
  send(port, pool, 60);
  const read = () => readCapture(readFileSync(at('out.pcapng')));
  t.match(read().error, { offset: 0 }, 'nothing is in the file yet');
  port.tick(clock.now);
  t.match(read().error, { offset: 0 });
  clock.advance(200);
  port.tick(clock.now);
  const { packets, interfaces, sections, error } = read();
  t.equal(error, null);
  t.match(sections, [{ application: 'packetweave' }]);
  t.match(interfaces, [{ name: 'eth7', link: 101, snaplen: 50 }]);
  t.match(packets, [
    { seconds: 1_700_000_000, nanoseconds: 123_250_000, original: 40, bytes: { length: 40 } },
    { seconds: 1_700_000_001, original: 60, bytes: { length: 50 } },
  ]);
  t.ok(Math.abs(packets[1].nanoseconds - 1) < 2, `${packets[1].nanoseconds} ns`);
  send(port, pool, 30);
  await port.close();
  t.equal(read().packets.length, 3, 'closing writes the rest');
  await port.close();
  t.equal(pool.used, 0);
});

t.test('a file that cannot be made, and a disk that is full', async (t) => {
  const pool = new DebugPool({ count: 8 });
  const host = testHost({ pool });
  const lost = new PcapWriter({ path: at('no/such/folder') });
  await t.rejects(lost.open(host), { code: 'NO_SUCH_FILE', message: /cannot be written/ });
  await t.rejects(new PcapWriter({ path: folder }).open(host), { code: 'IO' });
  if (!existsSync('/dev/full')) return;
  for (const how of ['tick', 'close', 'send'] as const) {
    const port = new PcapWriter({ path: '/dev/full' });
    const errors: PortError[] = [];
    port.onError = (error) => errors.push(error);
    await port.open(host);
    send(port, pool, 100);
    t.same(errors, []);
    if (how === 'tick') port.tick(2000);
    if (how === 'send') for (let i = 0; i < 300; i++) send(port, pool, 1500);
    await port.close();
    t.match(errors, [{ code: 'IO', message: '"/dev/full" cannot be written: the disk is full' }], how);
    t.equal(errors.length, 1);
    t.equal(pool.used, 0);
  }
});
