/**
 * AEAD by the OpenSSL that the Node executable itself contains and exports, called through `koffi`. One
 * context a key, made once: a packet costs its IV and its bytes, at the speed of `openssl speed` or above it.
 *
 * There are two ways to it: `evp` has all algorithms, on every machine; `modes` is what EVP's AES-GCM is built on, and
 * does without what EVP does around it. It is the faster one, except where OpenSSL has code that EVP alone can reach, as
 * it has since 3.1 for processors with VAES: both are tried.
 *
 * Native code is given addresses, as plain numbers, because that is what calls are fastest with. Two things
 * follow. The memory must neither move nor be collected: small buffers are cut from an ArrayBuffer of the
 * key's own, and packets lie in the pool's, which its packets hold. What lies outside must never be reached:
 * every range is checked against `bytes` first.
 */
import { type AeadProvider, checkKey, isGcm, TAG } from '../aead.ts';
import { Addresses } from './native/addresses.ts';
import { ownLibrary } from './native/library.ts';
import { Evp } from './openssl/evp.ts';
import { Modes } from './openssl/modes.ts';

/** How AES-GCM is called. */
export type OpensslWay = 'evp' | 'modes';

/** Makes the provider; `way` allows only that one. Throws an Error that says in one sentence what is missing. */
export function openssl(way?: OpensslWay): AeadProvider {
  const library = ownLibrary();
  const addresses = new Addresses(library.addressOf);
  const evp = new Evp(library, addresses);
  const modes = way === 'evp' ? null : Modes.of(library, addresses);
  if (way === 'modes' && modes === null) {
    throw new Error(
      'there are no functions of OpenSSL below EVP that could be called: that needs OpenSSL 3 on x86-64',
    );
  }
  const direct = modes !== null && (way === 'modes' || isFaster(modes, evp)) ? modes : null;
  return {
    name: 'openssl',
    key(algorithm, key, tagLength = TAG) {
      checkKey(algorithm, key, tagLength);
      if (direct !== null && isGcm(algorithm)) return direct.key(key, tagLength);
      return evp.key(algorithm, key, tagLength);
    },
  };
}

/** Bytes of the trial: that many that the calls themselves do not matter. Packets gain by fewer calls in addition. */
const TRIAL = 32768;
const ROUNDS = 16;

/** Whether the code that `modes` reaches is about as fast as EVP's, in some 0.3 ms. */
function isFaster(modes: Modes, evp: Evp): boolean {
  const material = new Uint8Array(16);
  const keys = [modes.key(material, TAG), evp.key('aes-128-gcm', material, TAG)];
  const bytes = new Uint8Array(TRIAL + TAG);
  const best = [Infinity, Infinity];
  for (let round = 0; round < 2 * ROUNDS; round++) {
    const which = round & 1;
    const began = performance.now();
    keys[which].seal(bytes, 0, TRIAL, 0);
    best[which] = Math.min(best[which], performance.now() - began);
  }
  for (const key of keys) key.close();
  return best[0] < 1.3 * best[1];
}
