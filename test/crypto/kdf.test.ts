import t from 'tap';
import { fromHex } from '../../codecs/bytes.ts';
import { announce, decodeRecord, encodeRecord } from '../../crypto/announcement.ts';
import * as kdf from '../../crypto/kdf.ts';

const digits = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');

t.test('X25519: the example of RFC 7748 section 6.1', async (t) => {
  const secret = fromHex('5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb');
  const bob = kdf.keyPair(() => secret);
  t.equal(digits(bob.publicKey), 'de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f');
  const alice = fromHex('8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a');
  const shared = '4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742';
  t.equal(digits(kdf.agree(bob.privateKey, alice)!), shared);
  t.equal(kdf.agree(bob.privateKey, new Uint8Array(32)), null, 'zero');
  t.equal(kdf.agree(bob.privateKey, alice.subarray(1)), null, 'too short');
  t.equal(kdf.agree(bob.privateKey, new Uint8Array(33)), null, 'too long');
  kdf.wipe(bob.privateKey);
  t.equal(digits(bob.privateKey), '00'.repeat(32));
});

t.test('HKDF: test case 1 of RFC 5869', async (t) => {
  const okm = kdf.derive(
    new Uint8Array(22).fill(0x0b),
    fromHex('000102030405060708090a0b0c'),
    fromHex('f0f1f2f3f4f5f6f7f8f9'),
    42,
  );
  const wanted = '3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865';
  t.equal(digits(okm), wanted);
});

t.test('HMAC: test case 2 of RFC 4231, its first half', async (t) => {
  const code = kdf.mac(kdf.text('Jefe'), kdf.text('what do ya want for nothing?'));
  t.equal(digits(code), '5bdcc146bf60754e6a042426089575c7');
});

t.test('keys for different purposes are different', async (t) => {
  const secret = new Uint8Array(16).fill(1);
  const keys = ['esp', 'announcement', 'in band'].map((purpose) => digits(kdf.purposeKey(secret, purpose)));
  t.equal(new Set(keys).size, 3);
});

t.test('a record is read as it was written', async (t) => {
  const key = new Uint8Array(32).fill(9);
  const boot = Uint8Array.from({ length: 16 }, (_, i) => i);
  const made = [1, 0xffffffff].map((n) => announce('nöde', boot, n, new Uint8Array(32).fill(n)));
  const record = encodeRecord(made, key);
  t.same(decodeRecord(record, key), made);
  t.equal(decodeRecord(new Uint8Array(0), key), 'malformed', 'an empty one tells nothing');
  t.equal(decodeRecord(record, new Uint8Array(32)), 'forged');
  t.throws(() => announce('x'.repeat(256), boot, 1, new Uint8Array(32)), { name: 'RangeError' });
});
