import { isIP } from 'node:net';
import * as fc from 'fast-check';
import t from 'tap';
import { viewOf } from '../../codecs/bytes.ts';
import * as ip from '../../codecs/ip.ts';
import { seed } from '../gen/seed.ts';

t.test('IPv4', async (t) => {
  t.same(ip.parse('10.1.2.255'), { family: 4, words: [0, 0, 0xffff, 0x0a0102ff] });
  t.equal(ip.parse('255.255.255.255').words[3], 0xffffffff, 'unsigned');
  t.equal(ip.format4(0xfffefdfc), '255.254.253.252');
  t.equal(ip.format4(-1), '255.255.255.255', 'signed will do');
  t.equal(ip.format(ip.parse('0.0.0.0')), '0.0.0.0');
});

t.test('IPv6 in the canonical form of RFC 5952', async (t) => {
  for (const [text, canonical] of [
    ['::', '::'],
    ['::1', '::1'],
    ['1::', '1::'],
    ['2001:0DB8::0001', '2001:db8::1'],
    ['2001:db8:0:0:0:0:2:1', '2001:db8::2:1'],
    ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'], // section 4.2.2: not a single group
    ['2001:0:0:1:0:0:0:1', '2001:0:0:1::1'], // section 4.2.3: the longest run
    ['2001:db8:0:0:1:0:0:1', '2001:db8::1:0:0:1'], // the first of two
    ['1:2:3:4:5:6:7::', '1:2:3:4:5:6:7:0'],
    ['::2:3:4:5:6:7:8', '0:2:3:4:5:6:7:8'],
    ['::ffff:10.0.0.1', '::ffff:10.0.0.1'],
    ['::ffff:0a00:0001', '::ffff:10.0.0.1'],
    ['64:ff9b::192.0.2.33', '64:ff9b::c000:221'],
    ['1:2:3:4:5:6:1.2.3.4', '1:2:3:4:5:6:102:304'],
  ]) {
    t.equal(ip.format(ip.parse(text)), canonical);
  }
});

t.test('what is no address', async (t) => {
  const bad =
    ' |1|1.2.3|1.2.3.4.5|256.1.1.1|01.2.3.4|1.2.3.4 |::1%eth0|:|:::|1::2::3|1:2:3:4:5:6:7|1:2:3:4:5:6:7:8:9|' +
    '1:2:3:4:5:6:7:8::|12345::|g::|:1::|1::2:|1.2.3.4::|::1.2.3.4:5|1:2:3:4:5:6:7:1.2.3.4|::256.1.1.1|[::1]|::/0';
  for (const text of ['', ...bad.split('|')]) {
    t.throws(() => ip.parse(text), {
      name: 'TypeError',
      message: `expected an IPv4 or IPv6 address, got "${text}"`,
    });
  }
});

t.test(`the same are addresses as for Node, seed ${seed}`, async () => {
  const piece = fc.constantFrom(
    ':',
    '::',
    '.',
    '0',
    '1',
    'ff',
    '255',
    '256',
    'abcd',
    '1.2.3.4',
    '0:0',
    'fe80:',
    'g',
  );
  const text = fc.array(piece, { maxLength: 12 }).map((parts) => parts.join(''));
  const family = (text: string) => {
    try {
      return ip.parse(text).family;
    } catch {
      return 0;
    }
  };
  fc.assert(
    fc.property(fc.oneof(text, fc.ipV4(), fc.ipV6()), (text) => family(text) === isIP(text)),
    { numRuns: 5000, seed },
  );
});

t.test(`what is printed is read as the same, seed ${seed}`, async () => {
  const word = fc.oneof(fc.constantFrom(0, 1, 0xffff, 0x10000, 0xffffffff), fc.nat(0xffffffff));
  const words = fc.tuple(word, word, word, word);
  const same = (words: [number, number, number, number]) => {
    const text = ip.format6(...words);
    return (
      ip.parse(text).words.join() === words.join() && isIP(text) === 6 && new URL(`http://[${text}]`) !== null
    );
  };
  fc.assert(fc.property(words, same), { numRuns: 5000, seed });
  fc.assert(
    fc.property(fc.nat(0xffffffff), (address) => ip.parse(ip.format4(address)).words[3] === address),
    { numRuns: 2000, seed },
  );
});

t.test('an address in a packet', async (t) => {
  const v = viewOf(new Uint8Array(20));
  v.setUint32(4, 0xfe800000);
  v.setUint32(16, 0xfffffffe);
  t.same(ip.read6(v, 4), { family: 6, words: [0xfe800000, 0, 0, 0xfffffffe] });
});
