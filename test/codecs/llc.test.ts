import t from 'tap';
import { fromHex, hex, viewOf } from '../../codecs/bytes.ts';
import { OK, SHORT } from '../../codecs/fault.ts';
import * as llc from '../../codecs/llc.ts';
import { known } from '../gen/codec.ts';

// RFC 1042: IPv4 in 802.3.
known(t, llc, {
  bytes: 'aaaa03 000000 0800',
  size: llc.SNAP_SIZE,
  fields: { dsap: 0xaa, ssap: 0xaa, control: 3, oui: 0, protocol: 0x0800 },
  text:
    'LLC, dsap SNAP (0xaa) Individual, ssap SNAP (0xaa) Command, ctrl 0x03: ' +
    'oui Ethernet (0x000000), ethertype IPv4 (0x0800)',
  write: (v, at) => llc.write(v, at, 0x0800),
});

t.test('a spanning tree frame has no SNAP header', async (t) => {
  const v = viewOf(fromHex('424203 0000'));
  t.equal(llc.check(v, 0, 3), OK);
  t.equal(llc.check(v, 0, 2), SHORT);
  t.equal(llc.headerLength(v, 0), 3);
  t.equal(llc.etherType(v, 0), -1);
  const fields = { dsap: 0x42, ssap: 0x42, control: 3 };
  t.same(llc.decode(v, 0), fields);
  t.equal(llc.format(v, 0), 'LLC, dsap STP (0x42) Individual, ssap STP (0x42) Command, ctrl 0x03');
  const w = viewOf(new Uint8Array(5));
  llc.encode(fields, w, 1);
  t.equal(hex(w, 0, 5), '0042420300');
});

t.test('group, response, unknown; an organization of its own', async (t) => {
  t.equal(
    llc.format(viewOf(fromHex('f1f1f1')), 0),
    'LLC, dsap Unknown (0xf0) Group, ssap Unknown (0xf0) Response, ctrl 0xf1',
  );
  const cdp = viewOf(fromHex('aaaa03 00000c 2000'));
  t.equal(llc.oui(cdp, 0), 0x0c);
  t.equal(llc.protocol(cdp, 0), 0x2000);
  t.equal(llc.etherType(cdp, 0), -1);
  t.match(llc.format(cdp, 0), /: oui Unknown \(0x00000c\), pid Unknown \(0x2000\)$/);
});
