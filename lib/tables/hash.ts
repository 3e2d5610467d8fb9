/**
 * Hashes for tables: 32-bit words in, 32 mixed bits out (signed). The finalizer is that of MurmurHash3
 * (public domain): every input bit changes every output bit with a probability of about one half.
 */

/** Mixes one word. */
export function mix(word: number): number {
  let h = word;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return h ^ (h >>> 16);
}

/**
 * Mixes two words with a secret odd number, for tables whose keys strangers choose. A seed that is merely
 * added in lets differences in the top bits through unchanged whatever it is, so that keys can be made which
 * lie close together under every seed; a secret multiplier does not.
 */
export function keyed2(a: number, b: number, key: number): number {
  let h = Math.imul(a, 0x9e3779b1);
  h ^= (h >>> 15) ^ b;
  h = Math.imul(h ^ (h >>> 16), key);
  h = Math.imul(h ^ (h >>> 15), 0xc2b2ae35);
  return h ^ (h >>> 16);
}
