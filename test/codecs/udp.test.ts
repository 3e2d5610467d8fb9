import t from 'tap';
import { fromHex, viewOf } from '../../codecs/bytes.ts';
import * as checksum from '../../codecs/checksum.ts';
import { LENGTH, OK, TRUNCATED } from '../../codecs/fault.ts';
import * as udp from '../../codecs/udp.ts';
import { known, roundTrips } from '../gen/codec.ts';

// A DNS query of 4 bytes, made up.
known(t, udp, {
  bytes: 'd431 0035 000c 1f6a 01020304',
  fields: { srcPort: 54321, dstPort: 53, length: 12, checksum: 0x1f6a },
  text: 'UDP, length 4',
  write: (v, at) => udp.write(v, at, 54321, 53, 12, 0x1f6a),
});

roundTrips(
  t,
  udp,
  (r) => ({
    srcPort: r.below(65536),
    dstPort: r.below(65536),
    length: 8 + r.below(500),
    checksum: r.below(65536),
  }),
  500,
);

t.test('impossible lengths are refused', async (t) => {
  const v = viewOf(fromHex('d431 0035 0007 0000 01020304'));
  t.equal(udp.check(v, 0, 12), LENGTH, 'shorter than the header');
  udp.setLength(v, 0, 13);
  t.equal(udp.check(v, 0, 12), TRUNCATED, 'longer than the packet');
  udp.setLength(v, 0, 8);
  t.equal(udp.check(v, 0, 12), OK, 'bytes behind the datagram are not its own');
});

t.test('checksum', async (t) => {
  // Pseudo header of 152.152.152.152 > 152.152.152.152 and a payload, so that all words are known.
  const v = viewOf(fromHex('0001 0002 000a 0000 fff0'));
  const pseudo = checksum.add(17, 10);
  udp.fillChecksum(v, 0, pseudo);
  t.ok(udp.verifyChecksum(v, 0, pseudo));
  v.setUint8(9, 0xf1);
  t.notOk(udp.verifyChecksum(v, 0, pseudo), 'one bit flipped');
  v.setUint8(9, 0xf0);

  udp.setChecksum(v, 0, 0);
  t.notOk(udp.verifyChecksum(v, 0, pseudo), 'none is not right');

  // 1 + 2 + 10 + 17 + 10 + 0xffd7 = 0xffff: the checksum comes out as 0 and is sent as 0xffff.
  v.setUint16(8, 0xffd7);
  udp.fillChecksum(v, 0, pseudo);
  t.equal(udp.checksum(v, 0), 0xffff);
  t.ok(udp.verifyChecksum(v, 0, pseudo));
});
