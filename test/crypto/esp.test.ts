import t from 'tap';
import { fromHex, hex, viewOf } from '../../codecs/bytes.ts';
import * as header from '../../codecs/esp.ts';
import { type AeadProvider, ALGORITHMS, type Algorithm, SALT } from '../../crypto/aead.ts';
import * as esp from '../../crypto/esp.ts';
import {
  BAD_ICV,
  BAD_TRAILER,
  DUMMY,
  EXHAUSTED,
  MALFORMED,
  NO_KEY,
  NO_ROOM,
  OK,
  REPLAYED,
  RESULTS,
  type Result,
  TOO_OLD,
} from '../../crypto/result.ts';
import { InboundSa, keymatLength, OutboundSa, type SaOptions } from '../../crypto/sa.ts';
import { Random } from '../../lib/core/random.ts';
import { seed } from '../gen/seed.ts';
import { providers, randomBytes } from './gen.ts';

const START = 100;
const SLOT = 2048;
const UDP = 17;
const ALL = Object.keys(ALGORITHMS) as Algorithm[];
const here = providers(t);
const fast = here[here.length - 1];
const r = new Random(seed);
t.comment(`seed ${seed}`);

/** A slot with a payload at START, filled around it so that strays are seen. */
function slotOf(payload: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(SLOT).fill(0xa5);
  bytes.set(payload, START);
  return bytes;
}

/** Options of both ends. */
function options(more: Partial<SaOptions> = {}): SaOptions {
  const algorithm = more.algorithm ?? 'aes-128-gcm';
  const keymat = randomBytes(r, keymatLength(algorithm));
  return { spi: 0xdeadbeef, provider: fast, algorithm, keymat, ...more };
}

/** Seals a payload: the result, and the packet alone. */
function sealed(sa: OutboundSa, payload: Uint8Array, nextHeader = UDP): [Result, Uint8Array] {
  const bytes = slotOf(payload);
  const end = START + payload.length;
  const result = esp.seal(sa, bytes, viewOf(bytes), START, end, nextHeader);
  return [result, bytes.slice(START - esp.HEADER, esp.sealedEnd(sa, START, end))];
}

/** Opens a packet: the result, and where it is OK the payload and next header. */
function opened(sa: InboundSa, packet: Uint8Array): [Result, string, number] {
  const bytes = slotOf(packet);
  const end = START + packet.length;
  const result = esp.open(sa, bytes, viewOf(bytes), START, end);
  if (result !== OK) return [result, '', -1];
  const payload = bytes.subarray(START + esp.HEADER, esp.payloadEnd(sa, bytes, end));
  return [result, digits(payload), esp.nextHeader(sa, bytes, end)];
}

const digits = (bytes: Uint8Array) => hex(viewOf(bytes), 0, bytes.length);

/** A packet whose plaintext, trailer included, is as given: what an odd or malicious peer could seal. */
function crafted(o: SaOptions, plaintext: Uint8Array, hi: number, lo: number): Uint8Array {
  const sa = new OutboundSa(o);
  const packet = new Uint8Array(esp.HEADER + plaintext.length + sa.icv);
  const v = viewOf(packet);
  header.write(v, 0, sa.spi, lo);
  v.setUint32(8, 0x01020304);
  v.setUint32(12, lo);
  packet.set(plaintext, esp.HEADER);
  sa.prepare(hi, lo, 0x01020304, lo);
  sa.key.seal(packet, esp.HEADER, esp.HEADER + plaintext.length, sa.aadLength);
  return packet;
}

t.test('every length, algorithm, ICV and width of number goes through and back', async (t) => {
  let wrong = 0;
  for (const algorithm of ALL) {
    for (const icv of ALGORITHMS[algorithm].tagLengths) {
      for (const esn of [true, false]) {
        const o = options({ algorithm, icv, esn });
        const out = new OutboundSa(o);
        const into = new InboundSa(o);
        for (let length = 0; length <= 70; length++) {
          const payload = randomBytes(r, length);
          const [result, packet] = sealed(out, payload);
          const v = viewOf(packet);
          const head = header.spi(v, 0) === 0xdeadbeef && header.seq(v, 0) === length + 1;
          const [back, text, next] = opened(into, packet);
          const size = esp.HEADER + Math.ceil((length + 2) / 4) * 4 + icv;
          const right = back === OK && text === digits(payload) && next === UDP && packet.length === size;
          if (result !== OK || !head || !right) wrong++;
        }
      }
    }
  }
  t.equal(wrong, 0);
});

t.test('sealing writes header, padding and ICV, and nothing beside them', async (t) => {
  const sa = new OutboundSa(options());
  for (const length of [0, 1, 2, 3, 4, 1400]) {
    const bytes = slotOf(randomBytes(r, length));
    t.equal(esp.seal(sa, bytes, viewOf(bytes), START, START + length, UDP), OK);
    const end = esp.sealedEnd(sa, START, START + length);
    t.ok(bytes.subarray(0, START - esp.HEADER).every((b) => b === 0xa5));
    t.ok(bytes.subarray(end).every((b) => b === 0xa5));
  }
});

t.test('the most payload that fits a packet', async (t) => {
  for (const icv of [8, 12, 16]) {
    for (let length = 40; length < 120; length++) {
      const most = esp.maxPayload({ icv }, length);
      const bytes = (n: number) => esp.HEADER + esp.sealedEnd({ icv }, 0, n);
      if (bytes(most) > length || bytes(most + 1) <= length) t.fail(`${length} bytes`, { icv, most });
    }
  }
  t.equal(esp.maxPayload({ icv: 16 }, 1472), 1438);
});

t.test('every single bit flip is refused, by every provider', async (t) => {
  for (const provider of here) {
    for (const esn of [true, false]) {
      const o = options({ provider, esn, icv: 8 });
      const [, packet] = sealed(new OutboundSa(o), randomBytes(r, 50));
      const into = new InboundSa(o);
      const results = new Map<string, number>();
      for (let bit = 0; bit < packet.length * 8; bit++) {
        const copy = packet.slice();
        copy[bit >> 3] ^= 1 << (bit & 7);
        const { name } = RESULTS[opened(into, copy)[0]];
        results.set(name, (results.get(name) ?? 0) + 1);
      }
      // Number 1 with its last bit flipped is number 0, which is never sent.
      t.same([...results].sort(), [
        ['esp-bad-icv', packet.length * 8 - 1],
        ['esp-replayed', 1],
      ]);
      t.equal(into.window!.topLo, 0, 'and the window stands still');
      t.equal(opened(into, packet)[0], OK);
    }
  }
});

t.test('truncated, extended, and with an ICV of another length', async (t) => {
  for (const provider of here) {
    const o = options({ provider });
    const out = new OutboundSa(o);
    const into = new InboundSa(o);
    const [, packet] = sealed(out, randomBytes(r, 61));
    const counts = [0, 0, 0];
    for (let n = 0; n < packet.length; n++) {
      const [result] = opened(into, packet.slice(0, n));
      if (result === MALFORMED) counts[0]++;
      else if (result === BAD_ICV) counts[1]++;
      else counts[2]++;
    }
    // 16 + 64 + 16 bytes: of those cut short only 36, 40, ... 92 could be packets at all.
    t.same(counts, [96 - 15, 15, 0]);
    for (let n = 1; n <= 64; n++) {
      const longer = new Uint8Array(packet.length + n);
      longer.set(packet);
      t.equal(opened(into, longer)[0], n % 4 === 0 ? BAD_ICV : MALFORMED);
    }
    for (const icv of [8, 12]) {
      t.equal(opened(new InboundSa({ ...o, icv }), packet)[0], BAD_ICV);
      const [, short] = sealed(new OutboundSa({ ...o, icv }), randomBytes(r, 61));
      t.equal(opened(into, short)[0], BAD_ICV);
    }
    t.equal(opened(new InboundSa({ ...o, spi: 0xdeadbeee }), packet)[0], BAD_ICV, 'another SPI');
    t.equal(opened(new InboundSa({ ...o, esn: false }), packet)[0], BAD_ICV, 'numbers of another width');
    const salt = o.keymat.slice();
    salt[salt.length - 1] ^= 1;
    t.equal(opened(new InboundSa({ ...o, keymat: salt }), packet)[0], BAD_ICV, 'another salt');
    t.equal(opened(into, packet)[0], OK);
  }
});

t.test('padding that lies', async (t) => {
  const o = options();
  const into = new InboundSa(o);
  let lo = 0;
  const open = (text: string) => opened(into, crafted(o, fromHex(text), 0, ++lo));
  t.same(open('aabb 01 02 03 04 04 11'), [OK, 'aabb', UDP], 'more than the least');
  t.same(open('0102 02 11'), [OK, '', UDP], 'padding alone');
  t.same(open('aabb 00 11'), [OK, 'aabb', UDP]);
  t.same(open('010202 11'), [OK, '', UDP]);
  t.equal(open('0102 03 11')[0], BAD_TRAILER, 'one longer than the packet');
  t.equal(open('0102 ff 11')[0], BAD_TRAILER);
  t.equal(open('aa 02 01 11')[0], BAD_TRAILER, 'begins with 2');
  t.equal(open('0000 02 11')[0], BAD_TRAILER, 'zeros');
  t.equal(open('aabbccdd 01 03 02 11')[0], BAD_TRAILER);
  t.equal(into.window!.topLo, lo, 'they were the peer’s, so their numbers are used');
  const longest = Uint8Array.from({ length: 260 }, (_, i) => (i < 3 ? 0xee : i - 2));
  longest.set([255, UDP], 258);
  t.same(opened(into, crafted(o, longest, 0, ++lo)), [OK, 'eeeeee', UDP], '255 bytes');
});

t.test('dummies and TFC padding', async (t) => {
  const o = options();
  const out = new OutboundSa(o);
  const into = new InboundSa(o);
  t.equal(opened(into, sealed(out, randomBytes(r, 33), esp.NO_NEXT_HEADER)[1])[0], DUMMY);
  t.equal(opened(into, crafted(o, fromHex('ffff ff 3b'), 0, 2))[0], DUMMY, 'one that is not well formed');
  t.equal(opened(into, crafted(o, fromHex('ffff ff 3b'), 0, 2))[0], REPLAYED, 'and is not replayed either');
  const payload = new Uint8Array(300);
  payload.set([1, 2, 3]);
  out.advance(0);
  t.same(opened(into, sealed(out, payload)[1]), [OK, digits(payload), UDP], 'belongs to the payload');
});

t.test('replayed and too old', async (t) => {
  for (const esn of [true, false]) {
    const o = options({ esn });
    const out = new OutboundSa(o);
    const into = new InboundSa({ ...o, window: 64 });
    const packets = Array.from({ length: 200 }, () => sealed(out, randomBytes(r, 20))[1]);
    t.equal(opened(into, packets[0])[0], OK);
    t.equal(opened(into, packets[0])[0], REPLAYED);
    const forged = packets[199].slice();
    forged[20] ^= 1;
    t.equal(opened(into, forged)[0], BAD_ICV, 'far ahead, but forged');
    t.equal(opened(into, packets[1])[0], OK, 'the window did not move');
    t.equal(opened(into, packets[199])[0], OK);
    t.equal(opened(into, packets[136])[0], OK, 'the last of the window');
    t.equal(opened(into, packets[136])[0], REPLAYED);
    // With ESN a number left of the window is taken for one of the next 2^32, for which the ICV is wrong.
    t.equal(opened(into, packets[135])[0], esn ? BAD_ICV : TOO_OLD);
  }
});

t.test('without a window every packet opens again', async (t) => {
  const o = options({ esn: false });
  const into = new InboundSa({ ...o, window: 0 });
  const [, packet] = sealed(new OutboundSa(o), randomBytes(r, 20));
  for (let i = 0; i < 3; i++) t.equal(opened(into, packet)[0], OK);
  t.throws(() => new InboundSa({ ...o, esn: true, window: 0 }), { name: 'RangeError', message: /"window"/ });
});

t.test('extended numbers pass 2^32', async (t) => {
  const o = options();
  const out = new OutboundSa({ ...o, sequence: { hi: 0, lo: 0xfffffffd } });
  const into = new InboundSa(o);
  into.window!.mark(0, 0xfffffff0);
  const numbers: string[] = [];
  for (let i = 0; i < 5; i++) {
    const [, packet] = sealed(out, randomBytes(r, 10));
    t.equal(opened(into, packet)[0], OK);
    numbers.push(`${out.hi}:${out.lo}`);
  }
  t.same(numbers, ['0:4294967294', '0:4294967295', '1:0', '1:1', '1:2']);
  t.equal(into.window!.topHi, 1);
});

t.test('a hard stop before a number repeats', async (t) => {
  for (const esn of [true, false]) {
    const sa = new OutboundSa({
      ...options({ esn }),
      sequence: { hi: esn ? 0xffffffff : 0, lo: 0xfffffffe },
    });
    t.equal(sealed(sa, randomBytes(r, 10))[0], OK);
    t.equal(sa.lo, 0xffffffff);
    t.ok(sa.rekey);
    for (let i = 0; i < 3; i++) t.equal(sealed(sa, randomBytes(r, 10))[0], EXHAUSTED);
    t.equal(sa.lo, 0xffffffff);
  }
  const few = new OutboundSa({ ...options(), softPackets: 2, hardPackets: 3 });
  const seen = Array.from({ length: 5 }, () => [sealed(few, randomBytes(r, 10))[0], few.rekey]);
  t.same(seen, [
    [OK, false],
    [OK, true],
    [OK, true],
    [EXHAUSTED, true],
    [EXHAUSTED, true],
  ]);
  const bytes = new OutboundSa({ ...options(), softBytes: 60, hardBytes: 100 });
  const lives = Array.from({ length: 4 }, () => [sealed(bytes, randomBytes(r, 2))[0], bytes.rekey]);
  t.same(lives, [
    [OK, false],
    [OK, true],
    [EXHAUSTED, true],
    [EXHAUSTED, true],
  ]);
  t.equal(bytes.bytes, 72);
});

t.test('a slot without room', async (t) => {
  const sa = new OutboundSa(options());
  const bytes = new Uint8Array(64);
  const v = viewOf(bytes);
  t.equal(esp.seal(sa, bytes, v, 15, 20, UDP), NO_ROOM, 'in front');
  t.equal(esp.seal(sa, bytes, v, 16, 47, UDP), NO_ROOM, 'behind');
  t.equal(sa.lo, 0, 'no number is used up');
  t.equal(esp.seal(sa, bytes, v, 16, 46, UDP), OK);
});

t.test('a closed association', async (t) => {
  for (const provider of here) {
    const o = options({ provider });
    const out = new OutboundSa(o);
    const into = new InboundSa(o);
    const [, packet] = sealed(out, randomBytes(r, 10));
    out.close();
    into.close();
    t.equal(sealed(out, randomBytes(r, 10))[0], NO_KEY);
    t.equal(opened(into, packet)[0], BAD_ICV);
  }
});

t.test('bad options', async (t) => {
  const o = options();
  const bad = (more: object, message: RegExp) =>
    t.throws(() => new OutboundSa({ ...o, ...more }), { name: 'RangeError', message });
  bad({ spi: 0 }, /"spi" expected an integer 256..4294967295, got 0/);
  bad({ spi: 255 }, /"spi"/);
  bad({ spi: 2 ** 32 }, /"spi"/);
  bad({ peer: -1 }, /"peer"/);
  bad({ keymat: new Uint8Array(16) }, /"keymat" expected 20 bytes for aes-128-gcm, got 16/);
  bad({ keymat: new Uint8Array(36) }, /"keymat"/);
  bad({ icv: 4 }, /"icv" expected one of 16, 12, 8 for aes-128-gcm, got 4/);
  bad({ softPackets: 0 }, /"softPackets" expected a number of at least 1, got 0/);
  bad({ hardBytes: Number.NaN }, /"hardBytes"/);
  bad({ esn: false, sequence: { hi: 1, lo: 0 } }, /"sequence.hi"/);
});

t.test('the salt is the last of the key material', async (t) => {
  const o = options();
  const sa = new InboundSa(o);
  t.equal(hex(sa.key.nonce, 0, SALT), digits(o.keymat.subarray(16)));
  t.equal(keymatLength('aes-128-gcm'), 20);
  t.equal(keymatLength('chacha20-poly1305'), 36);
});

t.test('all providers make one packet', async (t) => {
  const make = (provider: AeadProvider, o: SaOptions, payload: Uint8Array) =>
    digits(sealed(new OutboundSa({ ...o, provider }), payload)[1]);
  for (const algorithm of ALL) {
    const o = options({ algorithm });
    const payload = randomBytes(r, 100);
    t.equal(new Set(here.map((provider) => make(provider, o, payload))).size, 1, algorithm);
  }
});
