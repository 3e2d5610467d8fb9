import t from 'tap';
import { fromHex, hex, viewOf } from '../../codecs/bytes.ts';
import { type AeadProvider, ALGORITHMS, type Algorithm, TAG } from '../../crypto/aead.ts';
import { Random } from '../../lib/core/random.ts';
import { seed } from '../gen/seed.ts';
import { prepare, providers, randomBytes } from './gen.ts';

const ALL = Object.keys(ALGORITHMS) as Algorithm[];
const here = providers(t);
const r = new Random(seed);
t.comment(`seed ${seed}`);

/** A packet of plaintext with room for a tag, and what seals it. */
interface Case {
  algorithm: Algorithm;
  tagLength: number;
  key: Uint8Array;
  nonce: Uint8Array;
  aad: Uint8Array;
  plain: Uint8Array;
}

function sealWith(provider: AeadProvider, c: Case): Uint8Array {
  const key = provider.key(c.algorithm, c.key, c.tagLength);
  const packet = new Uint8Array(c.plain.length + c.tagLength);
  packet.set(c.plain);
  prepare(key, c.nonce, c.aad);
  if (!key.seal(packet, 0, c.plain.length, c.aad.length)) throw new Error('not sealed');
  key.close();
  return packet;
}

/** The plaintext, or null where the packet is refused. */
function openWith(provider: AeadProvider, c: Case, sealed: Uint8Array): Uint8Array | null {
  const key = provider.key(c.algorithm, c.key, c.tagLength);
  const packet = sealed.slice();
  prepare(key, c.nonce, c.aad);
  const end = packet.length - c.tagLength;
  const right = key.open(packet, 0, end, c.aad.length);
  key.close();
  return right ? packet.subarray(0, end) : null;
}

const digits = (bytes: Uint8Array) => hex(viewOf(bytes), 0, bytes.length);

function randomCase(algorithm: Algorithm, length: number): Case {
  const { keyLength, tagLengths } = ALGORITHMS[algorithm];
  return {
    algorithm,
    tagLength: tagLengths[r.below(tagLengths.length)],
    key: randomBytes(r, keyLength),
    nonce: randomBytes(r, 12),
    aad: randomBytes(r, [0, 8, 12][r.below(3)]),
    plain: randomBytes(r, length),
  };
}

// Test cases 1, 2, 13 and 14 of the GCM specification, and RFC 8439 section 2.8.2.
const KNOWN: [Algorithm, string, string, string, string, string][] = [
  ['aes-128-gcm', '00'.repeat(16), '00'.repeat(12), '', '', '58e2fccefa7e3061367f1d57a4e7455a'],
  [
    'aes-128-gcm',
    '00'.repeat(16),
    '00'.repeat(12),
    '',
    '00'.repeat(16),
    '0388dace60b6a392f328c2b971b2fe78ab6e47d42cec13bdf53a67b21257bddf',
  ],
  ['aes-256-gcm', '00'.repeat(32), '00'.repeat(12), '', '', '530f8afbc74536b9a963b4f1c4cb738b'],
  [
    'aes-256-gcm',
    '00'.repeat(32),
    '00'.repeat(12),
    '',
    '00'.repeat(16),
    'cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919',
  ],
  [
    'chacha20-poly1305',
    '808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f',
    '070000004041424344454647',
    '50515253c0c1c2c3c4c5c6c7',
    '4c616469657320616e642047656e746c656d656e206f662074686520636c617373206f66202739393a20' +
      '4966204920636f756c64206f6666657220796f75206f6e6c79206f6e652074697020666f722074686520' +
      '6675747572652c2073756e73637265656e20776f756c642062652069742e',
    'd31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d63dbea45e8ca9671282fafb69da92728b' +
      '1a71de0a9e060b2905d6a5b67ecd3b3692ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc' +
      '3ff4def08e4b7a9de576d26586cec64b61161ae10b594f09e26a7e902ecbd0600691',
  ],
];

for (const provider of here) {
  t.test(`${provider.name}: known answers`, async (t) => {
    for (const [algorithm, key, nonce, aad, plain, sealed] of KNOWN) {
      const c: Case = {
        algorithm,
        tagLength: TAG,
        key: fromHex(key),
        nonce: fromHex(nonce),
        aad: fromHex(aad),
        plain: fromHex(plain),
      };
      t.equal(digits(sealWith(provider, c)), sealed, algorithm);
      t.equal(digits(openWith(provider, c, fromHex(sealed))!), plain, algorithm);
    }
  });

  t.test(`${provider.name}: every wrong tag, nonce, and byte of additional data is refused`, async (t) => {
    let opened = 0;
    let tried = 0;
    for (const algorithm of ALL) {
      for (const tagLength of ALGORITHMS[algorithm].tagLengths) {
        const c = { ...randomCase(algorithm, 40), tagLength, aad: randomBytes(r, 12) };
        const sealed = sealWith(provider, c);
        const end = sealed.length - tagLength;
        const attempt = (change: (copy: Uint8Array) => void, other = c) => {
          const copy = sealed.slice();
          change(copy);
          tried++;
          if (openWith(provider, other, copy) !== null) opened++;
        };
        for (let bit = 0; bit < sealed.length * 8; bit++) {
          attempt((copy) => {
            copy[bit >> 3] ^= 1 << (bit & 7);
          });
        }
        attempt((copy) => copy.fill(0, end));
        attempt((copy) => copy.fill(0xff, end));
        attempt((copy) => {
          for (let i = end; i < copy.length; i++) copy[i] ^= 0xff;
        });
        attempt((copy) => copy.copyWithin(end, end + 1));
        const flip = (bytes: Uint8Array, i: number) => bytes.map((b, j) => (i === j ? b ^ 0x80 : b));
        for (let i = 0; i < 12; i++) {
          attempt(() => {}, { ...c, nonce: flip(c.nonce, i) });
          attempt(() => {}, { ...c, aad: flip(c.aad, i) });
        }
        attempt(() => {}, { ...c, aad: c.aad.subarray(0, 8) });
        attempt(() => {}, { ...c, key: flip(c.key, 0) });
        if (openWith(provider, c, sealed) === null)
          t.fail('the right one is refused', { algorithm, tagLength });
      }
    }
    t.equal(opened, 0, `none of ${tried} opened`);
  });

  t.test(`${provider.name}: a shorter tag is the first bytes of the whole one`, async (t) => {
    for (const algorithm of ['aes-128-gcm', 'aes-256-gcm'] as const) {
      const c = { ...randomCase(algorithm, 77), tagLength: 16 };
      const whole = sealWith(provider, c);
      for (const tagLength of [8, 12]) {
        const short = { ...c, tagLength };
        t.equal(digits(sealWith(provider, short)), digits(whole.subarray(0, 77 + tagLength)));
        t.equal(openWith(provider, short, whole), null, 'a longer tag moves the end of the ciphertext');
        t.equal(digits(openWith(provider, short, whole.subarray(0, 77 + tagLength))!), digits(c.plain));
      }
    }
  });

  t.test(`${provider.name}: in place at any offset, nothing beside it, in shared memory too`, async (t) => {
    for (const memory of [new ArrayBuffer(512), new SharedArrayBuffer(512)]) {
      const all = new Uint8Array(memory);
      const slot = new Uint8Array(memory, 128, 256);
      for (const at of [0, 1, 7, 64]) {
        all.fill(0xa5);
        const c = { ...randomCase('aes-128-gcm', 50), tagLength: 16 };
        slot.set(c.plain, at);
        const key = provider.key(c.algorithm, c.key);
        prepare(key, c.nonce, c.aad);
        t.ok(key.seal(slot, at, at + 50, c.aad.length));
        t.equal(digits(slot.slice(at, at + 66)), digits(sealWith(provider, c)));
        const outside = [...all.slice(0, 128 + at), ...all.slice(128 + at + 66)];
        t.ok(outside.every((byte) => byte === 0xa5));
        t.ok(key.open(slot, at, at + 50, c.aad.length), 'one key seals and opens in turn');
        t.equal(digits(slot.slice(at, at + 50)), digits(c.plain));
        key.close();
      }
    }
  });

  t.test(`${provider.name}: what is no key or no range throws, what is closed answers false`, async (t) => {
    const key16 = new Uint8Array(16);
    const make = (algorithm: string, key: Uint8Array, tagLength?: number) => () =>
      provider.key(algorithm as Algorithm, key, tagLength);
    t.throws(make('des', key16), { name: 'TypeError', message: /"algorithm" expected one of .*, got des/ });
    t.throws(make('toString', key16), { name: 'TypeError' });
    t.throws(make('aes-256-gcm', key16), {
      name: 'RangeError',
      message: '"key" expected 32 bytes for aes-256-gcm, got 16',
    });
    for (const length of [0, 4, 13, 15, 17]) {
      t.throws(make('aes-128-gcm', key16, length), { message: /"tagLength" expected one of 16, 12, 8 for/ });
    }
    t.throws(make('chacha20-poly1305', new Uint8Array(32), 12), { message: /one of 16 for chacha20/ });

    const key = provider.key('aes-128-gcm', key16);
    const bytes = new Uint8Array(64);
    for (const [at, end, aad] of [
      [-1, 10, 8],
      [11, 10, 8],
      [0, 49, 8],
      [65, 65, 8],
      [0, 10, 13],
      [0, 10, -1],
      [Number.NaN, 10, 8],
      [0, Number.NaN, 8],
    ]) {
      t.throws(() => key.seal(bytes, at, end, aad), { name: 'RangeError' }, `seal ${at}..${end}, ${aad}`);
      t.throws(() => key.open(bytes, at, end, aad), { name: 'RangeError' }, `open ${at}..${end}, ${aad}`);
    }
    t.ok(key.seal(bytes, 0, 48, 8), 'up to the very end');
    key.close();
    key.close();
    const before = digits(bytes);
    t.notOk(key.seal(bytes, 0, 48, 8));
    t.notOk(key.open(bytes, 0, 48, 8));
    t.equal(digits(bytes), before, 'untouched');
  });
}

t.test('all providers agree at the edges', async (t) => {
  const lengths = [0, 1, 2, 15, 16, 17, 31, 32, 33, 47, 48, 49, 63, 64, 65, 95, 96, 127, 128, 129, 191, 192];
  lengths.push(255, 256, 257, 511, 512, 513, 767, 768, 769, 1023, 1024, 1400, 4095, 4096, 4097, 65535);
  const nonces = ['00'.repeat(12), 'ff'.repeat(12), `${'00'.repeat(8)}ffffffff`, `ffffffff${'00'.repeat(8)}`];
  let different = 0;
  for (const algorithm of ALL) {
    for (const [i, length] of lengths.entries()) {
      const c = randomCase(algorithm, length);
      c.nonce = fromHex(nonces[i % nonces.length]);
      if (i % 3 === 0) c.key.fill(i % 2 === 0 ? 0 : 0xff);
      if (i % 5 === 0) c.plain.fill(i % 2 === 0 ? 0 : 0xff);
      if (!agree(c)) different++;
    }
  }
  t.equal(different, 0);
});

t.test(`all providers agree on 10,000 random packets, seed ${seed}`, async (t) => {
  let different = 0;
  for (let i = 0; i < 10_000; i++) {
    const length = i % 200 === 0 ? r.below(9000) : r.below(160);
    if (!agree(randomCase(ALL[i % ALL.length], length))) different++;
  }
  t.equal(different, 0);
});

/** Whether all seal to the same bytes, and each opens what the next one sealed. */
function agree(c: Case): boolean {
  const sealed = here.map((provider) => sealWith(provider, c));
  const same = sealed.every((packet) => Buffer.compare(packet, sealed[0]) === 0);
  return same && here.every((provider) => Buffer.compare(openWith(provider, c, sealed[0])!, c.plain) === 0);
}

t.test('one key, many packets: nothing of the one before is left', async (t) => {
  const many = here.map((provider) => provider.key('aes-128-gcm', new Uint8Array(16).fill(7)));
  const chacha = here.map((provider) => provider.key('chacha20-poly1305', new Uint8Array(32).fill(7)));
  let different = 0;
  for (let i = 0; i < 600; i++) {
    const keys = i % 2 === 0 ? many : chacha;
    const plain = randomBytes(r, r.below(200));
    const nonce = randomBytes(r, 12);
    const aad = randomBytes(r, i % 7 === 0 ? 0 : 12);
    const sealed = keys.map((key) => {
      prepare(key, nonce, aad);
      const packet = new Uint8Array(plain.length + TAG);
      packet.set(plain);
      if (i % 3 === 0) key.open(packet, 0, plain.length, aad.length); // refused, and leaves no trace
      packet.set(plain);
      key.seal(packet, 0, plain.length, aad.length);
      return digits(packet);
    });
    if (new Set(sealed).size !== 1) different++;
  }
  t.equal(different, 0);
  for (const key of [...many, ...chacha]) key.close();
});
