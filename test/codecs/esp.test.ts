import t from 'tap';
import { fromHex, viewOf } from '../../codecs/bytes.ts';
import * as esp from '../../codecs/esp.ts';
import { OK, SHORT, TYPE } from '../../codecs/fault.ts';
import { known, roundTrips } from '../gen/codec.ts';

// RFC 7634 appendix A: the header of its packet.
known(t, esp, {
  bytes: '01020304 00000005',
  fields: { spi: 0x01020304, seq: 5 },
  text: 'ESP(spi=0x01020304,seq=0x5), length 8',
  write: (v, at) => esp.write(v, at, 0x01020304, 5),
});

roundTrips(t, esp, (r) => ({ spi: (r.int32() | 1) >>> 0, seq: r.int32() >>> 0 }));

t.test('SPI 0 never goes on the wire', async (t) => {
  const v = viewOf(fromHex('00000000 00000001'));
  t.equal(esp.check(v, 0, 8), TYPE);
  esp.setSpi(v, 0, 0x80000000);
  t.equal(esp.check(v, 0, 8), OK);
  t.equal(esp.spi(v, 0), 0x80000000, 'unsigned');
  t.equal(esp.check(v, 0, 7), SHORT);
});

t.test('what comes on port 4500', async (t) => {
  const kind = (bytes: string) => {
    const v = viewOf(fromHex(bytes));
    return esp.carried(v, 0, v.byteLength);
  };
  t.equal(kind('ff'), esp.CARRIED_KEEPALIVE);
  t.equal(kind('00000000'), esp.CARRIED_IKE);
  t.equal(kind('00000000 0102030405060708'), esp.CARRIED_IKE);
  t.equal(kind('00000001 00000001'), esp.CARRIED_ESP);
  for (const bytes of ['', 'fe', '0000', 'ffff', '000000', '00000001 000000']) {
    t.equal(kind(bytes), esp.CARRIED_NOTHING, `"${bytes}"`);
  }
});
