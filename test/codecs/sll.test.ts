import t from 'tap';
import { fromHex, hex, viewOf } from '../../codecs/bytes.ts';
import { OK, SHORT } from '../../codecs/fault.ts';
import * as linktype from '../../codecs/linktype.ts';
import * as sll from '../../codecs/sll.ts';

t.test('version 1', async (t) => {
  const bytes = '0004 0001 0006 001122334455 0000 0800'.replaceAll(' ', '');
  const v = viewOf(fromHex(bytes));
  const fields = {
    packetType: 4,
    hardware: 1,
    addressLength: 6,
    address: [0x00112233, 0x44550000],
    protocol: 0x0800,
  };
  t.equal(sll.check(v, 0, 16), OK);
  t.equal(sll.check(v, 0, 15), SHORT);
  t.equal(sll.protocol(v, 0), 0x0800);
  t.same(sll.decode(v, 0), fields);
  t.equal(sll.format(v, 0), 'Out');
  const w = viewOf(new Uint8Array(16).fill(0xa5));
  sll.encode(fields, w, 0);
  t.equal(hex(w, 0, 16), bytes);
  w.setUint16(0, 9);
  t.equal(sll.format(w, 0), '?');
});

t.test('version 2', async (t) => {
  const bytes = '86dd 0000 00000003 0001 02 06 0011223344550000'.replaceAll(' ', '');
  const v = viewOf(fromHex(bytes));
  const fields = {
    protocol: 0x86dd,
    reserved: 0,
    interface: 3,
    hardware: 1,
    packetType: 2,
    addressLength: 6,
    address: [0x00112233, 0x44550000],
  };
  t.equal(sll.check2(v, 0, 20), OK);
  t.equal(sll.check2(v, 0, 19), SHORT);
  t.equal(sll.protocol2(v, 0), 0x86dd);
  t.same(sll.decode2(v, 0), fields);
  t.equal(sll.format2(v, 0), 'M');
  const w = viewOf(new Uint8Array(20).fill(0xa5));
  sll.encode2(fields, w, 0);
  t.equal(hex(w, 0, 20), bytes);
});

t.test('link types have names', async (t) => {
  t.equal(linktype.format(linktype.LINUX_SLL), 'Linux cooked v1');
  t.equal(linktype.format(147), 'link type 147');
});
