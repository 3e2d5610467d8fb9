import t from 'tap';
import { fromHex, hex, viewOf } from '../../codecs/bytes.ts';
import { CaptureReader, readCapture } from '../../codecs/capture-reader.ts';
import { CaptureWriter } from '../../codecs/capture-writer.ts';
import * as pcap from '../../codecs/pcap.ts';

// One packet of 4 bytes that had 60, at 1700000000.123456 s, by the draft; in both byte orders.
const BIG = `
  a1b2c3d4 0002 0004 00000000 00000000 0000ffff 00000001
  6553f100 0001e240 00000004 0000003c  deadbeef`;
const LITTLE = `
  d4c3b2a1 0200 0400 00000000 00000000 ffff0000 01000000
  00f15365 40e20100 04000000 3c000000  deadbeef`;

/** A copy of a file with some 32-bit big-endian word changed. */
function changed(at: number, word: number, file = BIG): Uint8Array {
  const bytes = fromHex(file);
  viewOf(bytes).setUint32(at, word);
  return bytes;
}

t.test('known bytes are read, in both byte orders and both units of time', async (t) => {
  for (const [file, nano] of [
    [BIG, false],
    [LITTLE, false],
    [BIG.replace('a1b2c3d4', 'a1b23c4d'), true],
    [LITTLE.replace('d4c3b2a1', '4d3cb2a1'), true],
  ] as const) {
    const { packets, interfaces, error } = readCapture(fromHex(file));
    t.equal(error, null);
    t.match(interfaces, [{ link: 1, snaplen: 65535, fcs: 0, resolution: nano ? 9 : 6, section: 0 }]);
    t.match(packets, [
      { seconds: 1700000000, nanoseconds: nano ? 123456 : 123456000, original: 60, interface: 0, flags: 0 },
    ]);
    t.equal(packets.length, 1);
    t.equal(hex(viewOf(packets[0].bytes), 0, 4), 'deadbeef');
  }
});

t.test('the layouts show the same to people', async (t) => {
  for (const [file, fileLayout, recordLayout] of [
    [BIG, pcap.fileLayout, pcap.recordLayout],
    [LITTLE, pcap.fileLayoutLE, pcap.recordLayoutLE],
  ] as const) {
    const v = viewOf(fromHex(file));
    t.match(fileLayout.decode(v, 0), {
      magic: pcap.MAGIC_MICRO,
      major: 2,
      minor: 4,
      snaplen: 65535,
      link: 1,
    });
    t.same(recordLayout.decode(v, pcap.FILE_SIZE), {
      seconds: 1700000000,
      fraction: 123456,
      captured: 4,
      original: 60,
    });
  }
});

t.test('what is written is what stands in the draft, over 0xa5', async (t) => {
  for (const le of [false, true]) {
    const v = viewOf(new Uint8Array(64).fill(0xa5));
    pcap.writeFile(v, 8, le, 1, 65535);
    pcap.writeRecord(v, 8 + pcap.FILE_SIZE, le, 1700000000, 123456, 4, 60);
    const expected = (le ? LITTLE.replace('d4c3b2a1', '4d3cb2a1') : BIG.replace('a1b2c3d4', 'a1b23c4d'))
      .replace(/\s/g, '')
      .replace('deadbeef', '');
    t.equal(hex(v, 8, 40), expected);
    t.equal(hex(v, 0, 8) + hex(v, 48, 16), 'a5'.repeat(24), 'nothing beside it');
  }
});

t.test('a file that is cut anywhere gives its whole records, then an error with the offset', async (t) => {
  const one = fromHex(LITTLE);
  const record = one.subarray(24);
  const file = new Uint8Array([...one, ...record, ...record]);
  const wrong: number[] = [];
  for (let n = 0; n < file.length; n++) {
    const { packets, error } = readCapture(file.subarray(0, n));
    const whole = Math.max(0, Math.floor((n - 24) / 20));
    const rest = n < 24 || (n - 24) % 20 !== 0;
    const offset = n < 24 ? 0 : 24 + whole * 20;
    if (packets.length !== whole || (error !== null) !== rest || (rest && error?.offset !== offset))
      wrong.push(n);
  }
  t.same(wrong, []);
  t.match(readCapture(file.subarray(0, 70)).error, {
    message: 'at offset 64: expected 16 bytes to follow, got the end after 6',
  });
});

t.test('modified and foreign formats are refused by name', async (t) => {
  const message = (file: Uint8Array) => readCapture(file).error?.message;
  t.match(
    message(changed(0, 0xa1b2cd34)),
    /at offset 0: expected a pcap or pcapng file, got Alexey Kuznetzov's/,
  );
  t.match(message(changed(0, 0x34cdb2a1)), /Alexey Kuznetzov's modified pcap \(magic 0x34cdb2a1\)/);
  t.match(message(changed(0, 0xa1b234cd)), /Francisco Mesquita's modified pcap/);
  t.match(message(changed(0, 0xa12b3c4d)), /Navtel's modified pcap/);
  t.match(message(changed(0, 0x1c0001ac)), /Ixia/);
  t.match(message(changed(0, 0x1f8b0800)), /gzip/);
  t.match(message(changed(0, 0x23212f62)), /got something else \(magic 0x23212f62\)/);
  t.match(message(new Uint8Array(0)), /at offset 0: expected a pcap or pcapng file, got an empty one/);
  t.match(message(fromHex('a1b2c3')), /got a cut one/);
});

t.test('versions', async (t) => {
  t.match(readCapture(changed(4, 0x00010004)).error, { offset: 4, message: /version 2.0 to 2.4, got 1.4/ });
  t.match(readCapture(changed(4, 0x00020005)).error, { offset: 4, message: /got 2.5/ });
  // 2.3 with the lengths in either order, 2.2 always the old way round.
  const swapped = BIG.replace('00000004 0000003c', '0000003c 00000004');
  for (const file of [
    changed(4, 0x00020003),
    changed(4, 0x00020003, swapped),
    changed(4, 0x00020002, swapped),
  ]) {
    const { packets, error } = readCapture(file);
    t.equal(error, null);
    t.match(packets, [{ original: 60, bytes: { length: 4 } }]);
  }
});

t.test('the upper bits of the link type are the frame check sequence', async (t) => {
  t.match(readCapture(changed(20, 0x24000001)).interfaces, [{ link: 1, fcs: 4 }]);
  t.match(readCapture(changed(20, 0x20000001)).interfaces, [{ link: 1, fcs: 0 }], 'not valid without P');
  t.match(readCapture(changed(20, 0x00300000)).interfaces, [{ link: 0x300000, fcs: 0 }]);
});

t.test('absurd lengths are refused where they stand', async (t) => {
  t.match(readCapture(changed(32, 262145)).error, {
    offset: 24,
    message: /at most 131070 bytes, got 262145/,
  });
  t.match(readCapture(changed(32, 0xffffffff)).error, { offset: 24, message: /got 4294967295/ });
  const unlimited = changed(16, 0);
  viewOf(unlimited).setUint32(32, 262144);
  t.match(readCapture(unlimited).error, { message: /262160 bytes to follow/ }, 'as long as any may be');
});

t.test('a record is handed on as it is, however odd its numbers', async (t) => {
  const odd = changed(28, 0xffffffff);
  viewOf(odd).setUint32(36, 2);
  t.match(readCapture(odd).packets, [{ nanoseconds: 4294967295000, original: 2, bytes: { length: 4 } }]);
});

t.test('chunks of any size; misuse', async (t) => {
  const file = fromHex(BIG);
  const reader = new CaptureReader();
  t.equal(reader.next(), false);
  t.same(reader.interfaces, []);
  const found: number[] = [];
  for (let i = 0; i < file.length; i++) {
    reader.push(file.subarray(i, i + 1));
    if (reader.next()) found.push(i);
  }
  t.same(found, [43]);
  t.equal(reader.offset, 44);
  t.equal(reader.record.captured, 4);
  t.equal(reader.record.time, 1700000000123.456);
  t.same(reader.record.comments, []);
  reader.end();
  t.equal(reader.next(), false);
  t.throws(() => reader.push(file), TypeError);

  const damaged = new CaptureReader(fromHex(`${BIG} 00`));
  t.equal(damaged.next(), true);
  for (let i = 0; i < 2; i++) t.throws(() => damaged.next(), { message: /at offset 44/ }, 'damage stays');
});

t.test('the writer: one interface, one buffer, whole records', async (t) => {
  const parts: Uint8Array[] = [];
  const writer = new CaptureWriter((bytes) => parts.push(bytes.slice()), {
    format: 'pcap',
    buffer: 64,
    snaplen: 50,
  });
  t.equal(writer.interface({ link: 1 }), 0);
  t.throws(() => writer.interface({ link: 1 }), { message: /use pcapng/ });
  t.throws(() => writer.secrets(1, new Uint8Array(1)), { message: /use pcapng/ });
  for (const length of [0, 10, 49, 50, 51, 100]) {
    writer.frame(0, 7, length, 0, new Uint8Array(200).fill(length), 3, 3 + length);
  }
  t.ok(writer.waiting > 0);
  writer.flush();
  writer.flush();
  t.equal(writer.waiting, 0);
  const file = new Uint8Array(parts.flatMap((part) => [...part]));
  const { packets, error } = readCapture(file);
  t.equal(error, null);
  t.same(
    packets.map(({ bytes, original, nanoseconds }) => [bytes.length, original, nanoseconds]),
    [0, 10, 49, 50, 51, 100].map((n) => [Math.min(n, 50), n, n]),
  );
  for (const part of parts.keys()) {
    const whole = new Uint8Array(parts.slice(0, part + 1).flatMap((x) => [...x]));
    t.equal(readCapture(whole).error, null, `whole after part ${part}`);
  }
  for (const snaplen of [0, 262145, 1.5]) {
    t.throws(() => new CaptureWriter(() => {}, { snaplen }), {
      message: /"snaplen" expected an integer 1..262144/,
    });
  }
});
