/**
 * Keys for those who look into captures: Wireshark's and tshark's table of ESP security associations
 * (`esp_sa`, a file of the profile, or `-o 'uat:esp_sa:LINE'`), with `esp.enable_encryption_decode` on.
 * Whoever has such a line reads all that was sealed with the key.
 */
import { hex, viewOf } from '../codecs/bytes.ts';
import type { Algorithm } from './aead.ts';
import type { LoggedKey } from './epoch.ts';

/** A line of the table; the identities of both ends have to be their underlay addresses. */
export function tsharkLine({ from, to, spi, algorithm, keymat, icv }: LoggedKey): string {
  const family = from.includes(':') ? 'IPv6' : 'IPv4';
  const cells = [family, from, to, `0x${spi.toString(16).padStart(8, '0')}`, nameOf(algorithm, icv)];
  cells.push(`0x${hex(viewOf(keymat), 0, keymat.length)}`, 'NULL', '');
  return cells.map((cell) => `"${cell}"`).join(',');
}

/** As Wireshark's list has it. The check of the ICV stays off: it knows no extended sequence numbers. */
function nameOf(algorithm: Algorithm, icv: number): string {
  if (algorithm === 'chacha20-poly1305') return 'ChaCha20 with Poly1305 [RFC7634]';
  return `AES-GCM with ${icv} octet ICV [RFC4106]`;
}
