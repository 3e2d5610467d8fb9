import t from 'tap';
import { fromHex, hex, viewOf } from '../../codecs/bytes.ts';
import * as checksum from '../../codecs/checksum.ts';
import { LENGTH, OK, OPTIONS, SHORT, TRUNCATED } from '../../codecs/fault.ts';
import * as tcp from '../../codecs/tcp.ts';
import * as options from '../../codecs/tcp-options.ts';
import { known, roundTrips } from '../gen/codec.ts';

// The SYN that Linux sends to open a connection on the loopback device: MSS 65495, SACK, time stamps, scale 7.
const SYN_OPTIONS = '0204ffd7 0402 080a 03e8d4a5 00000000 01 030307';
const SYN = `d6d8 1f90 1a2b3c4d 00000000 a002 ffd7 fe30 0000 ${SYN_OPTIONS}`;

known(t, tcp, {
  bytes: SYN,
  size: 40,
  fields: {
    srcPort: 55000,
    dstPort: 8080,
    seq: 0x1a2b3c4d,
    ack: 0,
    dataOffset: 10,
    reserved: 0,
    flags: tcp.SYN,
    window: 65495,
    checksum: 0xfe30,
    urgent: 0,
    options: [
      { kind: options.MSS, value: 'ffd7' },
      { kind: options.SACK_PERMITTED, value: '' },
      { kind: options.TIMESTAMPS, value: '03e8d4a500000000' },
      { kind: options.NOP, value: '' },
      { kind: options.WINDOW_SCALE, value: '07' },
    ],
  },
  text:
    'Flags [S], seq 439041101, win 65495, ' +
    'options [mss 65495,sackOK,TS val 65590437 ecr 0,nop,wscale 7], length 0',
  write(v, at) {
    tcp.write(v, at, 55000, 8080, 0x1a2b3c4d, 0, 40, tcp.SYN, 65495);
    tcp.setChecksum(v, at, 0xfe30);
    for (const [i, byte] of fromHex(SYN_OPTIONS).entries()) v.setUint8(at + tcp.SIZE + i, byte);
  },
});

roundTrips(t, tcp, (r) => {
  const u32 = () => r.int32() >>> 0;
  const list: options.Option[] = [];
  let bytes = 0;
  for (let left = r.below(5); left > 0; left--) {
    const value = Array.from({ length: r.below(7) }, () => r.below(256).toString(16).padStart(2, '0'));
    const kind = 1 + r.below(255);
    list.push({ kind, value: kind === options.NOP ? '' : value.join('') });
    bytes += kind === options.NOP ? 1 : value.length + 2;
  }
  const dataOffset = 5 + Math.ceil(bytes / 4) + r.below(2);
  return {
    srcPort: r.below(65536),
    dstPort: r.below(65536),
    seq: u32(),
    ack: u32(),
    dataOffset,
    reserved: r.below(16),
    flags: r.below(256),
    window: r.below(65536),
    checksum: r.below(65536),
    urgent: r.below(65536),
    options: list,
  };
});

t.test('every accessor, one field at a time', async (t) => {
  const v = viewOf(new Uint8Array(24));
  tcp.setSrcPort(v, 2, 0xfffe);
  tcp.setDstPort(v, 2, 0xfffd);
  tcp.setSeq(v, 2, 0xfffffffc);
  tcp.setAck(v, 2, 0xfffffffb);
  tcp.setHeaderLength(v, 2, 20);
  tcp.setFlags(v, 2, tcp.CWR | tcp.ECE);
  tcp.setWindow(v, 2, 0xfffa);
  tcp.setChecksum(v, 2, 0xfff9);
  tcp.setUrgent(v, 2, 0xfff8);
  t.equal(hex(v, 0, 24), '0000fffefffdfffffffcfffffffb50c0fffafff9fff80000');
  t.same(
    [tcp.srcPort, tcp.dstPort, tcp.seq, tcp.ack, tcp.headerLength, tcp.flags].map((get) => get(v, 2)),
    [0xfffe, 0xfffd, 0xfffffffc, 0xfffffffb, 20, 0xc0],
  );
  t.same(
    [tcp.window, tcp.checksum, tcp.urgent].map((get) => get(v, 2)),
    [0xfffa, 0xfff9, 0xfff8],
  );
});

t.test('impossible lengths are refused', async (t) => {
  const v = viewOf(fromHex(SYN));
  t.equal(tcp.check(v, 0, 19), SHORT);
  t.equal(tcp.check(v, 0, 39), TRUNCATED, 'options cut');
  tcp.setHeaderLength(v, 0, 16);
  t.equal(tcp.check(v, 0, 40), LENGTH, 'shorter than the fixed header');
  tcp.setHeaderLength(v, 0, 60);
  t.equal(tcp.check(v, 0, 40), TRUNCATED, 'longer than the packet');
});

t.test('options', async (t) => {
  const make = (list: string) => {
    const bytes = fromHex(list);
    const v = viewOf(new Uint8Array(tcp.SIZE + bytes.length + 8).fill(0x05));
    tcp.write(v, 0, 1, 2, 3, 4, tcp.SIZE + bytes.length, tcp.SYN, 5);
    for (const [i, byte] of bytes.entries()) v.setUint8(tcp.SIZE + i, byte);
    return v;
  };
  const text = (v: DataView) => /options \[(.*)\]/.exec(tcp.format(v, 0))![1];

  let v = viewOf(fromHex(SYN));
  t.equal(tcp.checkOptions(v, 0), OK);
  t.equal(tcp.mss(v, 0), 65495);
  t.equal(tcp.option(v, 0, options.TIMESTAMPS), 26);
  t.equal(tcp.option(v, 0, options.NOP), 36);
  t.equal(tcp.option(v, 0, options.SACK), -1);

  v = make('01 00 0204 0001 0000');
  t.equal(tcp.mss(v, 0), -1, 'behind the end of the list');
  t.equal(tcp.checkOptions(v, 0), OK);
  t.equal(text(v), 'nop,eol');

  v = make('01 01 050a 00000001 00000002');
  t.equal(text(v), 'nop,nop,sack 1 {1:2}');
  v = make('fd04 f989 0101 0101');
  t.equal(tcp.checkOptions(v, 0), OK, 'an unknown kind');
  t.equal(text(v), 'unknown-253 0xf989,nop,nop,nop,nop');

  for (const [list, what] of [
    ['0200 05b4', 'length 0'],
    ['0201 05b4', 'length 1'],
    ['0101 0204', 'value behind the header'],
    ['0101 0102', 'length behind the header'],
    ['0101 0263', 'length far behind the header'],
  ]) {
    v = make(list);
    t.equal(tcp.checkOptions(v, 0), OPTIONS, what);
    t.equal(tcp.mss(v, 0), -1, what);
    t.match(text(v), /mss\[bad opt\]$/, what);
    t.notOk(
      tcp.decode(v, 0).options.some(({ kind }) => kind === options.MSS),
      what,
    );
  }
  v = make('0203 0501');
  t.equal(tcp.checkOptions(v, 0), OPTIONS, 'a length that the kind cannot have');
  t.equal(tcp.mss(v, 0), -1);
});

t.test('checksum', async (t) => {
  const v = viewOf(fromHex('7f000001 7f000001'.concat(SYN)));
  const pseudo = checksum.add(checksum.sum(v, 0, 8), checksum.add(tcp.PROTOCOL, 40));
  tcp.fillChecksum(v, 8, 48, pseudo);
  t.ok(tcp.verifyChecksum(v, 8, 48, pseudo));
  v.setUint8(30, v.getUint8(30) ^ 1);
  t.notOk(tcp.verifyChecksum(v, 8, 48, pseudo), 'one bit flipped');
});

t.test('text', async (t) => {
  const v = viewOf(new Uint8Array(40));
  tcp.write(v, 0, 80, 4000, 0xffffffff, 7, 20, tcp.ACK | tcp.PSH | tcp.URG, 100);
  tcp.setUrgent(v, 0, 3);
  t.equal(tcp.format(v, 0, 30), 'Flags [P.U], seq 4294967295:9, ack 7, win 100, urg 3, length 10');
  tcp.setFlags(v, 0, 0);
  t.equal(tcp.format(v, 0), 'Flags [none], win 100, length 0');
  tcp.setFlags(v, 0, 0xff);
  t.match(tcp.format(v, 0), /^Flags \[FSRP\.UEW\], seq 4294967295, ack 7,/);
});
