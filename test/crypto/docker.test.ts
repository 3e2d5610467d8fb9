import t from 'tap';
import { fromHex, hex } from '../../codecs/bytes.ts';
import * as ip from '../../codecs/ip.ts';
import { DockerKeys, dockerSpi } from '../../crypto/docker.ts';
import * as esp from '../../crypto/esp.ts';
import { node } from '../../crypto/providers/node.ts';
import { BAD_ICV, OK } from '../../crypto/result.ts';
import { Sad } from '../../crypto/sad.ts';

const spi = (from: string, to: string, tag: number) =>
  dockerSpi(ip.parse(from), ip.parse(to), tag).toString(16).padStart(8, '0');

t.test('SPIs', async (t) => {
  // Of moby's own test, IPv4 and IPv6 mixed.
  t.equal(spi('1.2.3.4', '5.6.7.8', 1234), '5de62c5b');
  t.equal(spi('5.6.7.8', '1.2.3.4', 1234), 'fbe6142b');
  t.equal(spi('10.0.0.1', '2001:db8::1', 5678), '8c1ea943');
  t.equal(spi('2002:db8::42', '2002:db8::69', 9999), '342a609e');
  // Of real machines: fedora-coreos-tracker 1111, moby 26523 and 45635.
  t.equal(spi('192.168.14.147', '192.168.14.145', 13986), '1f279ba7');
  t.equal(spi('192.168.14.145', '192.168.14.147', 13986), '755dee5b');
  t.equal(spi('10.129.23.9', '10.129.15.191', 14719), '363d7b7f');
  t.equal(spi('10.129.23.9', '10.129.15.191', 14721), 'b25024f9');
  t.equal(spi('10.129.23.9', '10.129.15.191', 14723), 'c37b0533');
  t.equal(spi('10.129.15.191', '10.129.23.9', 14721), '0fbdc9a5');
  t.equal(spi('10.1.11.45', '10.1.11.29', 56398), 'f4faae1b');
  t.equal(spi('10.1.11.45', '10.1.11.29', 56396), 'a8e5da89');
});

const A = ip.parse('192.168.14.147');
const B = ip.parse('192.168.14.145');
const key = (tag: number) => ({ tag, key: new Uint8Array(16).fill(tag) });

function pair() {
  const one = new Sad();
  const two = new Sad();
  const a = new DockerKeys({ provider: node, sad: one, local: A });
  const b = new DockerKeys({ provider: node, sad: two, local: B });
  return { a, b, one, two };
}

function seal(sad: Sad): Uint8Array {
  const bytes = new Uint8Array(128);
  const sa = sad.outbound(0)!;
  esp.seal(sa, bytes, new DataView(bytes.buffer), 32, 72, 17);
  return bytes.slice(16, esp.sealedEnd(sa, 32, 72));
}

function open(sad: Sad, packet: Uint8Array): number {
  const copy = packet.slice();
  const v = new DataView(copy.buffer);
  const sa = sad.lookup(0, v.getUint32(0));
  return sa === null ? -1 : esp.open(sa, copy, v, 0, copy.length);
}

t.test('a ring of three: the primary seals, all are opened', async (t) => {
  const { a, b, one, two } = pair();
  a.set([key(1), key(2), key(3)], 2);
  b.set([key(1), key(2), key(3)], 2);
  a.add(0, B);
  b.add(0, A);
  t.equal(one.count, 3);
  const out = one.outbound(0)!;
  t.equal(out.spi, dockerSpi(A, B, 2));
  t.equal(hex(out.key.nonce, 0, 4), out.spi.toString(16).padStart(8, '0'), 'the salt is the SPI');
  t.equal(out.icv, 8);
  t.notOk(out.esn);
  const packet = seal(one);
  t.equal(packet.length, 16 + 44 + 8);
  t.equal(open(two, packet), OK);
  t.equal(open(two, packet), OK, 'no window: numbers begin again when the sender does');
  packet[20] ^= 1;
  t.equal(open(two, packet), BAD_ICV);
  a.close();
  b.close();
  t.equal(one.count, 0);
  t.equal(one.outbound(0), null);
});

t.test('rotation in Docker’s order, a node before the other', async (t) => {
  const { a, b, one, two } = pair();
  for (const keys of [a, b]) keys.set([key(1), key(2), key(3)], 2);
  a.add(0, B);
  b.add(0, A);
  const both = () => [open(two, seal(one)), open(one, seal(two))];
  const before = one.lookup(0, dockerSpi(B, A, 2));
  const late = seal(two);
  a.set([key(2), key(3), key(4)], 3);
  t.same(both(), [OK, OK], 'one is ahead');
  t.equal(one.lookup(0, dockerSpi(B, A, 2)), before, 'what stays goes on');
  t.equal(one.lookup(0, dockerSpi(B, A, 1)), null, 'the oldest is gone');
  b.set([key(2), key(3), key(4)], 3);
  t.same(both(), [OK, OK]);
  t.equal(open(one, late), OK, 'the former primary is still opened');
  t.equal(one.outbound(0)!.spi, dockerSpi(A, B, 3));
  const same = one.outbound(0);
  a.set([key(2), key(3), key(4)], 3);
  t.equal(one.outbound(0), same, 'nothing changes where nothing has changed');
  a.set([key(2), { tag: 3, key: new Uint8Array(16) }, key(4)], 3);
  t.not(one.outbound(0), same, 'another key with a known tag');
  t.equal(open(two, seal(one)), BAD_ICV);
  a.remove(0);
  t.equal(one.count, 0);
});

t.test('two lives of a node do not use the same nonces', async (t) => {
  const ivs = new Set<string>();
  for (let life = 0; life < 20; life++) {
    const { a, one } = pair();
    a.set([key(1)], 1);
    a.add(0, B);
    for (let i = 1; i <= 5; i++) {
      const packet = seal(one);
      const v = new DataView(packet.buffer);
      t.equal(v.getUint32(4), i, 'numbers begin with 1');
      ivs.add(hex(v, 8, 8));
    }
    a.close();
  }
  t.equal(ivs.size, 100);
});

t.test('what is refused', async (t) => {
  const { a } = pair();
  t.throws(() => a.set([{ tag: 1, key: fromHex('00') }], 1), { message: '"key" expected 16 bytes, got 1' });
  t.throws(() => a.set([key(1)], 2), { message: /"primary" expected the tag of one of the keys, got 2/ });
  t.throws(() => a.set([key(1), key(1)], 1), { message: /"tag" expected one key for each, got two for 1/ });
  t.throws(() => a.set([{ ...key(1), tag: 2 ** 32 }], 1), { message: /"tag" expected an integer/ });
});
