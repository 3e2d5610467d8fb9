import t from 'tap';
import { fromHex, hex, viewOf } from '../../codecs/bytes.ts';
import { CaptureRecord, INBOUND, OUTBOUND } from '../../codecs/capture.ts';
import { listSize } from '../../codecs/capture-options.ts';
import { CaptureReader, readCapture } from '../../codecs/capture-reader.ts';
import { CaptureWriter } from '../../codecs/capture-writer.ts';
import * as pcapng from '../../codecs/pcapng.ts';
import * as blocks from '../../codecs/pcapng-blocks.ts';
import { Random } from '../../lib/core/random.ts';
import { seed } from '../gen/seed.ts';

// Little-endian, by the draft: a section that "x" wrote, an interface "lo" in nanoseconds, an inbound packet of
// 3 bytes out of 60 at 1700000000.123456789 s with the comment "hi".
const SECTION = `0a0d0d0a 28000000 4d3c2b1a 0100 0000 ffffffffffffffff 0400 0100 78000000 00000000 28000000`;
const INTERFACE = `01000000 28000000 0100 0000 00000400 0200 0200 6c6f0000 0900 0100 09000000 00000000 28000000`;
const PACKET = `06000000 38000000 00000000 fe9c9717 15cd853d 03000000 3c000000 aabbcc00
  0200 0400 01000000 0100 0200 68690000 00000000 38000000`;
const FILE = SECTION + INTERFACE + PACKET;

/** A block of one byte order from its body in hexadecimal. */
function block(type: number, body: string, le = false): string {
  const bytes = fromHex(body);
  const length = 12 + bytes.length;
  const out = new Uint8Array(length);
  const v = viewOf(out);
  v.setUint32(0, type, le);
  v.setUint32(4, length, le);
  out.set(bytes, 8);
  v.setUint32(length - 4, length, le);
  return hex(v, 0, length);
}

/** Big-endian section and interface; `options` of the interface are whole option TLVs. */
const section = block(pcapng.SECTION, '1a2b3c4d 0001 0000 ffffffffffffffff');
const iface = (options = '', snaplen = '00000000', link = '0001') =>
  block(pcapng.INTERFACE, `${link} 0000 ${snaplen} ${options}`);
const packet = (high: string, low: string, id = '00000000') =>
  block(pcapng.PACKET, `${id} ${high} ${low} 00000004 00000004 deadbeef`);
const read = (file: string) => readCapture(fromHex(file));

t.test('known bytes are read', async (t) => {
  const { sections, interfaces, packets, error } = read(FILE);
  t.equal(error, null);
  t.match(sections, [{ littleEndian: true, application: 'x', os: '', hardware: '', comments: [] }]);
  t.match(interfaces, [{ link: 1, snaplen: 262144, name: 'lo', resolution: 9, offset: 0, section: 0 }]);
  t.match(packets, [
    {
      seconds: 1700000000,
      nanoseconds: 123456789,
      original: 60,
      interface: 0,
      flags: INBOUND,
      comments: ['hi'],
    },
  ]);
  t.equal(hex(viewOf(packets[0].bytes), 0, 3), 'aabbcc');
});

t.test('the same bytes are written over 0xa5, and nothing beside them', async (t) => {
  const cold = [
    blocks.sectionBlock(true, { application: 'x' }),
    blocks.interfaceBlock(true, { link: 1, snaplen: 262144, name: 'lo' }),
  ];
  t.same(
    cold.map((bytes) => hex(viewOf(bytes), 0, bytes.length)),
    [SECTION, INTERFACE].map((text) => text.replace(/\s/g, '')),
  );
  const comment = pcapng.encodeComment('hi');
  const size = pcapng.packetSize(3, INBOUND, comment);
  const slot = new Uint8Array(size + 16).fill(0xa5);
  slot.set([0xaa, 0xbb, 0xcc], 8 + pcapng.PACKET_DATA);
  pcapng.writePacket(viewOf(slot), 8, true, 0, 1700000000, 123456789, 3, 60, INBOUND, comment);
  t.equal(hex(viewOf(slot), 8, size), PACKET.replace(/\s/g, ''));
  t.equal(hex(viewOf(slot), 0, 8) + hex(viewOf(slot), 8 + size, 8), 'a5'.repeat(16));
  t.match(pcapng.little.packet.decode(viewOf(slot), 8), {
    type: 6,
    totalLength: 56,
    captured: 3,
    original: 60,
  });
});

t.test('what is written in either order is read again', async (t) => {
  for (const littleEndian of [true, false]) {
    const parts: number[] = [];
    const about = { application: 'packetweave', os: 'an os', hardware: 'hw', comment: 'ünï' };
    const writer = new CaptureWriter((bytes) => parts.push(...bytes), { littleEndian, section: about });
    const a = writer.interface({ link: 1, name: 'a', description: 'first', comment: 'c' });
    const b = writer.interface({ link: 101, name: 'b', snaplen: 96 });
    writer.secrets(0x544c534b, new Uint8Array([1, 2, 3, 4, 5]));
    writer.frame(b, 1, 2, 0, new Uint8Array([9]), 0, 1);
    writer.frame(a, 2 ** 33, 999999999, OUTBOUND, new Uint8Array([1, 2, 3, 4]), 0, 4, 'one');
    writer.frame(a, 0, 0, 0, new Uint8Array(0), 0, 0, 'only a comment');
    writer.flush();
    const file = readCapture(new Uint8Array(parts));
    t.equal(file.error, null);
    t.same(file.sections, [
      { littleEndian, application: 'packetweave', os: 'an os', hardware: 'hw', comments: ['ünï'] },
    ]);
    t.match(file.interfaces, [
      { link: 1, name: 'a', description: 'first', comments: ['c'], snaplen: 262144 },
      { link: 101, name: 'b', description: '', comments: [], snaplen: 96 },
    ]);
    t.same(file.secrets, [{ type: 0x544c534b, bytes: new Uint8Array([1, 2, 3, 4, 5]) }]);
    t.match(file.packets, [
      { interface: b, seconds: 1, nanoseconds: 2, flags: 0, comments: [] },
      { interface: a, seconds: 2 ** 33, nanoseconds: 999999999, flags: OUTBOUND, comments: ['one'] },
      { interface: a, seconds: 0, nanoseconds: 0, flags: 0, original: 0, comments: ['only a comment'] },
    ]);
    t.same(
      file.packets.map(({ bytes }) => bytes.length),
      [1, 4, 0],
    );
  }
  t.throws(() => pcapng.encodeComment('x'.repeat(65536)), { message: /"comment" expected at most 65535/ });
  t.throws(() => listSize([{ code: 1, value: new Uint8Array(65536) }]), { message: /at most 65535 bytes/ });
});

t.test('units of time, powers of 10 and of 2, and an offset', async (t) => {
  const at = (options: string, high: string, low: string) => {
    const { packets, error } = read(section + iface(options) + packet(high, low));
    return error?.message ?? [packets[0].seconds, packets[0].nanoseconds];
  };
  const unit = (byte: string) => `0009 0001 ${byte}000000 00000000`;
  t.same(at('', '00000000', '000f4241'), [1, 1000], 'microseconds without the option');
  t.same(at(unit('00'), '00000000', '00000007'), [7, 0]);
  t.same(at(unit('03'), '00000000', '000003e9'), [1, 1_000_000]);
  t.same(at(unit('09'), 'ffffffff', 'ffffffff'), [18446744073, 709551615], 'the largest');
  // 10^13 s-12 and 3: picoseconds are cut to nanoseconds.
  t.same(at(unit('0c'), '00000918', '4e72a003'), [10, 0]);
  t.same(at(unit('0c'), '00000918', '4e72a7d3'), [10, 2]);
  t.same(at(unit('94'), '00000000', '00180000'), [1, 500_000_000], '2^-20');
  t.same(at(unit('80'), '00000000', '00000005'), [5, 0], '2^0');
  t.same(at(unit('bf'), 'c0000000', '00000000'), [1, 500_000_000], '2^-63');
  t.same(at('000e 0008 fffffffffffffff6 00000000', '00000000', '000f4240'), [-9, 0], 'if_tsoffset -10 s');
  t.same(at('000e 0008 0000000165000000', '00000000', '00000000'), [0x165000000, 0]);
});

t.test('time is read exactly, without and with BigInt', async (t) => {
  const r = new Random(seed);
  const v = viewOf(new Uint8Array(64));
  const record = new CaptureRecord();
  const wrong: string[] = [];
  for (let i = 0; i < 20_000; i++) {
    const seconds = r.below(2 ** (1 + r.below(34)));
    const nanoseconds = r.chance(0.1) ? 999_999_999 : r.below(1e9);
    pcapng.writePacket(v, 0, true, 0, seconds, nanoseconds, 0, 0, 0, null);
    const ticks = (BigInt(v.getUint32(12, true)) << 32n) | BigInt(v.getUint32(16, true));
    if (ticks !== BigInt(seconds) * 1_000_000_000n + BigInt(nanoseconds)) wrong.push(`write ${seconds}`);
    if (pcapng.readTime(v, 0, true, 1e9, record) !== nanoseconds || record.seconds !== seconds) {
      wrong.push(`read ${seconds}.${nanoseconds}`);
    }
    v.setUint32(12, r.int32(), true);
    v.setUint32(16, r.int32(), true);
    const any = (BigInt(v.getUint32(12, true)) << 32n) | BigInt(v.getUint32(16, true));
    const unit = 10 ** (4 + r.below(6)); // coarser units leave the range of whole numbers
    const rest = pcapng.readTime(v, 0, true, unit, record);
    if (BigInt(record.seconds) * BigInt(unit) + BigInt(rest) !== any) wrong.push(`${any} / ${unit}`);
  }
  t.same(wrong, [], `seed ${seed}`);
});

t.test('a unit of time that no clock has, and options that overrun, are refused', async (t) => {
  const refusal = (options: string) => read(section + iface(options)).error?.message;
  t.match(refusal('0009 0001 14000000'), /at offset 44: expected if_tsresol/);
  t.match(refusal('0009 0001 c0000000'), /if_tsresol/);
  t.match(refusal('0009 0002 09000000'), /if_tsresol/);
  t.match(refusal('0002 0009 61626364'), /at offset 44: expected an option within its block/);
  t.equal(refusal('0000 0000 ffffffff'), undefined, 'nothing is read behind the end of options');
  t.equal(read(section + iface('000d 0001 20000000')).interfaces[0].fcs, 4);
  t.equal(read(section + iface('000d 0001 04000000')).interfaces[0].fcs, 4);
  t.equal(read(section + iface('0002 0003 6c6f0000')).interfaces[0].name, 'lo', 'a zero that was counted in');
});

t.test('several sections in either order, each with interfaces of its own', async (t) => {
  const { interfaces, packets, sections, error } = read(
    section +
      iface() +
      iface() +
      packet('00000000', '00000001', '00000001') +
      FILE +
      PACKET +
      section +
      iface(),
  );
  t.equal(error, null);
  t.same(
    sections.map(({ littleEndian }) => littleEndian),
    [false, true, false],
  );
  t.same(
    interfaces.map((x) => x.section),
    [0, 0, 1, 2],
  );
  t.same(
    packets.map((x) => x.interface),
    [1, 2, 2],
  );
});

t.test('simple and old packet blocks; what is not understood is skipped', async (t) => {
  const { packets, error, secrets } = read(
    section +
      block(4, '0000 0000') + // names
      iface('', '00000003') +
      iface('0009 0001 09000000') +
      block(0x0bad, 'cafe f00d') +
      block(pcapng.SIMPLE_PACKET, '00000006 01020300') +
      block(5, '00000000 00000000 00000000') + // statistics
      block(pcapng.OLD_PACKET, '0001 0007 00000000 00000005 00000002 00000009 0a0b0000 0002 0004 00000002') +
      block(pcapng.SECRETS, '57474b4c 00000003 61626300') +
      block(pcapng.SIMPLE_PACKET, '00000002 01020000'),
  );
  t.equal(error, null);
  t.match(packets, [
    { seconds: 0, nanoseconds: 0, original: 6, interface: 0, flags: 0 },
    { seconds: 0, nanoseconds: 5, original: 9, interface: 1, flags: OUTBOUND },
    { seconds: 0, nanoseconds: 0, original: 2, interface: 0, flags: 0 },
  ]);
  t.same(
    packets.map(({ bytes }) => [...bytes]),
    [
      [1, 2, 3],
      [10, 11],
      [1, 2],
    ],
  );
  t.same(secrets, [{ type: 0x57474b4c, bytes: new Uint8Array([0x61, 0x62, 0x63]) }]);
  const reader = new CaptureReader(fromHex(section + iface() + block(pcapng.SIMPLE_PACKET, '00000000')));
  t.ok(reader.next());
  t.notOk(reader.record.timed);
});

t.test('damage is refused where it stands', async (t) => {
  const refusal = (blocks: string) => read(section + blocks).error;
  t.match(read(section.replace('1a2b3c4d', '1a2b3c4e')).error, { offset: 8, message: /byte-order magic/ });
  t.match(read(section.replace('00010000', '00020000')).error, { offset: 12, message: /1.0, got 2.0/ });
  t.equal(read(section.replace('00010000', '00010002')).error, null, '1.2 means 1.0');
  t.match(refusal(`${iface().slice(0, -2)}99`), { offset: 44, message: /block length 20 again, got 153/ });
  t.match(refusal('00000001 0000000b 0000000b'), { offset: 32, message: /12 to 16777216 bytes.*got 11/ });
  t.match(refusal('00000001 0000000e 00000000'), { offset: 32, message: /multiple of 4, got 14/ });
  t.match(refusal('00000001 01000004 00000000'), { offset: 32, message: /got 16777220/ });
  t.match(refusal(block(pcapng.INTERFACE, '0001 0000')), {
    offset: 28,
    message: /at least 20 bytes, got 16/,
  });
  t.match(refusal(block(pcapng.PACKET, '00000000')), { message: /at least 32 bytes/ });
  t.match(read(block(pcapng.SECTION, '1a2b3c4d 0001 0000')).error, { offset: 0, message: /at least 28/ });
  t.match(refusal(block(pcapng.SECRETS, '00000001 00000005 00000000')), { offset: 40, message: /at most 4/ });
  t.match(refusal(packet('00000000', '00000000')), { message: /one of the 0 interfaces .* got number 0/ });
  t.match(refusal(iface() + packet('00000000', '00000000', 'ffffffff')), {
    message: /got number 4294967295/,
  });
  t.match(refusal(block(pcapng.SIMPLE_PACKET, '00000000')), { message: /one of the 0 interfaces/ });
  t.match(refusal(iface() + block(pcapng.SIMPLE_PACKET, '00000005 00000000')), {
    message: /at most 4 bytes/,
  });
  const long = block(pcapng.PACKET, '00000000 00000000 00000000 00000005 00000005 deadbeef');
  t.match(refusal(iface() + long), { offset: 68, message: /a packet of at most 4 bytes, got 5/ });
  const huge = '00'.repeat(262148);
  t.match(refusal(iface() + block(pcapng.PACKET, `00000000 00000000 00000000 00040001 00040001 ${huge}`)), {
    message: /at most 262144 bytes, got 262145/,
  });
});

t.test('options of a packet that overrun end its options, not the file', async (t) => {
  const bad = block(
    pcapng.PACKET,
    '00000000 00000000 00000000 00000000 00000000 0001 0001 61000000 0002 00ff',
  );
  const odd = block(pcapng.PACKET, '00000000 00000000 00000000 00000000 00000000 0002 0003 01000000');
  const { packets, error } = read(section + iface() + bad + odd);
  t.equal(error, null);
  t.match(packets, [
    { comments: ['a'], flags: 0 },
    { comments: [], flags: 0 },
  ]);
});

t.test('a file that is cut anywhere gives its whole packets, then an error', async (t) => {
  const file = fromHex(FILE + PACKET);
  const wrong: number[] = [];
  for (let n = 0; n < file.length; n++) {
    const { packets, error } = readCapture(file.subarray(0, n));
    const ends = n === 40 || n === 80 || n === 136;
    if (packets.length !== (n < 136 ? 0 : 1) || (error === null) !== ends) wrong.push(n);
  }
  t.same(wrong, []);
});
