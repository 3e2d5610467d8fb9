import t from 'tap';
import { fromHex, hex, viewOf } from '../../codecs/bytes.ts';
import { LENGTH, OK, SHORT, TRUNCATED } from '../../codecs/fault.ts';
import * as sctp from '../../codecs/sctp.ts';
import * as chunk from '../../codecs/sctp-chunk.ts';
import { known, roundTrips } from '../gen/codec.ts';

const make = (bytes: string) => viewOf(fromHex(bytes));

// An INIT as scapy 2.5.0 makes it, without its checksum 0x684ce2c9.
const INIT = '0001000200000000 00000000 01000014 00000005 000005dc 000a0014 0000004d';
const HEADER = '12341000 deadbeef 00000000';

known(t, sctp, {
  bytes: '12341000 deadbeef 89abcdef',
  fields: { srcPort: 0x1234, dstPort: 4096, tag: 0xdeadbeef, checksum: 0x89abcdef },
  text: 'sctp',
  write(v, at) {
    sctp.write(v, at, 0x1234, 4096, 0xdeadbeef);
    sctp.setChecksum(v, at, 0x89abcdef);
  },
});

roundTrips(t, sctp, (r) => ({
  srcPort: r.below(65536),
  dstPort: r.below(65536),
  tag: r.int32() >>> 0,
  checksum: r.int32() >>> 0,
}));

t.test('a chunk', async (t) => {
  const fields = { type: chunk.DATA, flags: 3, length: 9, value: '0102030405' };
  const v = viewOf(new Uint8Array(20).fill(0xa5));
  chunk.encode(fields, v, 2);
  t.equal(hex(v, 0, 20), 'a5a5000300090102030405000000a5a5a5a5a5a5');
  t.same(chunk.decode(v, 2), fields);
  t.same([chunk.type(v, 2), chunk.flags(v, 2), chunk.length(v, 2)], [0, 3, 9]);
  chunk.write(v, 2, chunk.SACK, 7, 10);
  t.equal(hex(v, 2, 4), '0307000a');
});

t.test('the walk over chunks', async (t) => {
  const bundle = make(`${HEADER} 0a000006 aabb0000 00030005 cc000000 0e000004`);
  const end = bundle.byteLength;
  t.equal(sctp.checkChunks(bundle, 0, end), OK);
  t.same(
    chunk.decodeAll(bundle, sctp.SIZE, end).map(({ type, value }) => [type, value]),
    [
      [chunk.COOKIE_ECHO, 'aabb'],
      [chunk.DATA, 'cc'],
      [chunk.SHUTDOWN_COMPLETE, ''],
    ],
  );
  t.equal(sctp.format(bundle, 0, end), 'sctp (1) [COOKIE ECHO], (2) [DATA], (3) [SHUTDOWN COMPLETE]');
  t.equal(sctp.checkChunks(bundle, 0, 30), SHORT, 'cut in the header of the third');
  t.equal(sctp.checkChunks(bundle, 0, 19), OK, 'the last padding may be missing');
  t.equal(sctp.checkChunks(bundle, 0, 17), TRUNCATED, 'cut in the value');
  t.equal(sctp.checkChunks(bundle, 0, 12), OK, 'no chunk at all');

  const zero = make(`${HEADER} 0a000000`);
  t.equal(sctp.checkChunks(zero, 0, 16), LENGTH);
  t.same(chunk.decodeAll(zero, 12, 16), []);
  t.equal(sctp.checkChunks(make(`${HEADER} 0a000003`), 0, 16), LENGTH);
  t.equal(sctp.format(make(`${HEADER} 77000004`), 0, 16), 'sctp (1) [Unknown chunk type: 0x77]');
});

t.test('rules that a receiver may insist on (RFC 9260 sections 3.1, 6.10, 8.5.1)', async (t) => {
  const valid = (bytes: string) => {
    const v = make(bytes);
    return sctp.valid(v, 0, v.byteLength);
  };
  t.ok(valid('12341000 00000000 00000000 01000004'), 'INIT, tag 0');
  t.notOk(valid('12341000 00000001 00000000 01000004'), 'INIT with a tag');
  t.notOk(valid('12341000 00000000 00000000 03000004'), 'SACK without a tag');
  t.ok(valid(`${HEADER} 0a000004 00000004`), 'COOKIE ECHO and DATA');
  t.notOk(valid(`${HEADER} 02000004 00000004`), 'INIT ACK and DATA');
  t.notOk(valid(`${HEADER} 00000004 0e000004`), 'DATA and SHUTDOWN COMPLETE');
  t.notOk(valid('00001000 00000001 00000000 03000004'), 'source port 0');
  t.notOk(valid('12340000 00000001 00000000 03000004'), 'destination port 0');
  t.notOk(valid(HEADER), 'no chunk');
});

t.test('checksum', async (t) => {
  const v = make(INIT);
  const end = v.byteLength;
  sctp.fillChecksum(v, 0, end);
  t.equal(sctp.checksum(v, 0), 0x684ce2c9, 'as scapy computes it');
  t.ok(sctp.verifyChecksum(v, 0, end));
  const missed: number[] = [];
  for (let bit = 0; bit < end * 8; bit++) {
    const flip = () => v.setUint8(bit >> 3, v.getUint8(bit >> 3) ^ (1 << (bit & 7)));
    flip();
    if (sctp.verifyChecksum(v, 0, end)) missed.push(bit);
    flip();
  }
  t.same(missed, [], 'no flipped bit goes unseen');
});
