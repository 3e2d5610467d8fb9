import t from 'tap';
import { fromHex, viewOf } from '../../../codecs/bytes.ts';
import * as ipv4 from '../../../codecs/ipv4.ts';
import { NONE } from '../../../lib/core/packet.ts';
import * as ecn from '../../../lib/elements/ecn.ts';

const { NOT_ECT, ECT0, ECT1, CE } = ipv4;
const MACS = '020000000002 020000000001';
// 192.0.2.1 > 192.0.2.2, TTL 64, protocol 253, no payload; its checksum is right for TOS 0.
const IPV4 = '4500 0014 0000 4000 40fd b5e9 c0000201 c0000202'.replaceAll(' ', '');
const IPV6 = `60000000 0000 3b40 ${'20010db8000000000000000000000001'.repeat(2)}`.replaceAll(' ', '');

t.test('every combination of RFC 6040 figure 4', async (t) => {
  const { DROP, DANGEROUS, UNUSED, decapsulate } = ecn;
  const columns = [NOT_ECT, ECT0, ECT1, CE];
  const table = columns.map((inner) => columns.map((outer) => decapsulate(inner, outer)));
  t.same(table, [
    [NOT_ECT, NOT_ECT | DANGEROUS, NOT_ECT | DANGEROUS, NOT_ECT | DANGEROUS | DROP],
    [ECT0, ECT0, ECT1, CE],
    [ECT1, ECT1 | UNUSED, ECT1, CE],
    [CE, CE, CE | DANGEROUS, CE],
  ]);
  t.equal(decapsulate(0xb8 | ECT0, 0x28 | CE), CE, 'DSCP is no matter');
});

t.test('the IP header of a frame is found behind tags, and only where it is', async (t) => {
  const at = (hex: string) => {
    const v = viewOf(fromHex(hex));
    return ecn.ipOf(v, 0, v.byteLength);
  };
  t.equal(at(`${MACS} 0800 ${IPV4}`), 14);
  t.equal(at(`${MACS} 86dd ${IPV6}`), 14);
  t.equal(at(`${MACS} 8100 0064 0800 ${IPV4}`), 18);
  t.equal(at(`${MACS} 88a8 0064 8100 0065 86dd ${IPV6}`), 22);
  t.equal(at(`${MACS} 88a8 0064 8100 0065 8100 0066 0800 ${IPV4}`), NONE, 'three tags');
  t.equal(at(`${MACS} 0806 ${IPV4}`), NONE, 'another EtherType');
  t.equal(at(`${MACS} 0800 ${IPV6}`), NONE, 'another version');
  t.equal(at(`${MACS} 86dd ${IPV4}${IPV4}`), NONE, 'another version');
  t.equal(at(`${MACS} 0800`), NONE, 'nothing');
  t.equal(at(`${MACS} 0800 ${IPV4.slice(2)}`), NONE, '19 of 20 bytes');
  t.equal(at(`${MACS} 86dd ${IPV6.slice(2)}`), NONE, '39 of 40 bytes');
  t.equal(at(`${MACS} 8100 0064`), NONE, 'a tag and nothing behind it');
});

t.test('the field is read and written in both families, checksum included', async (t) => {
  for (const bytes of [IPV4, IPV6]) {
    const v = viewOf(fromHex(`ffff ${bytes}`));
    for (const field of [ECT0, CE, ECT1, NOT_ECT]) {
      ecn.setEcn(v, 2, field);
      t.equal(ecn.tosOf(v, 2), field);
    }
    t.same(v, viewOf(fromHex(`ffff ${bytes}`)), 'nothing else has changed');
  }
  const v = viewOf(fromHex(IPV4));
  t.ok(ipv4.verifyChecksum(v, 0));
  ecn.setEcn(v, 0, CE);
  t.ok(ipv4.verifyChecksum(v, 0), 'the checksum follows');
});
