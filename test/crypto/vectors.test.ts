/**
 * ESP packets that others published: draft-mcgrew-gcm-test-01 section 4, RFC 7634 appendix A, and packets
 * that Linux made. Two are written out here; all of them lie beside the project.
 */
import t, { type Test } from 'tap';
import { fromHex, hex, viewOf } from '../../codecs/bytes.ts';
import type { AeadProvider } from '../../crypto/aead.ts';
import * as esp from '../../crypto/esp.ts';
import { OK } from '../../crypto/result.ts';
import { InboundSa, MIN_SPI } from '../../crypto/sa.ts';
import { skip } from '../gen/skip.ts';
import { type EspVector, espVectors, prepare, providers, VECTOR_ALGORITHMS } from './gen.ts';

const here = providers(t);
const digits = (bytes: Uint8Array) => hex(viewOf(bytes), 0, bytes.length);

const OWN: EspVector[] = [
  {
    id: 'draft-mcgrew-gcm-test-01, the second',
    alg: 'AES-128-GCM-16',
    keyWithSalt: 'feffe9928665731c6d6a8f9467308308cafebabe',
    spi: '0000a5f8',
    seqLo: '0000000a',
    seqHi: null,
    plaintextWithTrailer:
      '4500003e698f000080114dccc0a80102c0a801010a980035002a2343b2d001000001000000000000037369700963796265726369747902646b00000100010001',
    espPacket:
      '0000a5f80000000afacedbaddecaf888deb22cd9b07c72c16e3a65beeb8df304a5a5897d33ae530f1ba76d5d114d2a5c3de81827c10e9a4f51330d0eec416642cfbb85a5b47e48a4ec3b9ba95d918bd183b70d3aa8bc6ee4c309e9d85a41ad4a',
  },
  {
    id: 'draft-mcgrew-gcm-test-01, the twelfth: the last number, an empty payload',
    alg: 'AES-128-GCM-16',
    keyWithSalt: '7d773d00c144c525ac619d18c84a3f47d9664267',
    spi: '335467ae',
    seqLo: 'ffffffff',
    seqHi: null,
    plaintextWithTrailer: '01020201',
    espPacket: '335467aeffffffff43457e9182443bc6437f866bcb3f699fe9b0822bac961c4504bef270',
  },
];

/** Key and salt, IV, additional data, ciphertext and ICV of a vector. */
function parts(vector: EspVector) {
  const packet = fromHex(vector.espPacket);
  const keymat = fromHex(vector.keyWithSalt ?? `${vector.key}${vector.salt}`);
  const end = packet.length - 16;
  return {
    packet,
    end,
    keymat,
    key: keymat.subarray(0, -4),
    nonce: Uint8Array.of(...keymat.subarray(-4), ...packet.subarray(8, 16)),
    aad: fromHex(`${vector.spi}${vector.seqHi ?? ''}${vector.seqLo}`),
    plain: fromHex(vector.plaintextWithTrailer),
  };
}

/** By the AEAD alone, both ways, and with the shorter ICVs that AES-GCM has. */
function byAead(provider: AeadProvider, vector: EspVector): boolean {
  const { packet, end, key, nonce, aad, plain } = parts(vector);
  const algorithm = VECTOR_ALGORITHMS[vector.alg];
  for (const icv of algorithm === 'chacha20-poly1305' ? [16] : [16, 12, 8]) {
    const aead = provider.key(algorithm, key, icv);
    prepare(aead, nonce, aad);
    const sealed = packet.slice(0, end + icv);
    sealed.set(plain, esp.HEADER);
    sealed.fill(0, end);
    // Linux's packet with ESN is its packet without, but for the ICV, so it seals like any other.
    if (!aead.seal(sealed, esp.HEADER, end, aad.length)) return false;
    if (digits(sealed) !== vector.espPacket.slice(0, (end + icv) * 2)) return false;
    if (!aead.open(sealed, esp.HEADER, end, aad.length)) return false;
    if (digits(sealed.subarray(esp.HEADER, end)) !== vector.plaintextWithTrailer) return false;
    aead.close();
  }
  return true;
}

/** By the whole of ESP: a receiver that has seen the number before this one. */
function byEsp(provider: AeadProvider, vector: EspVector): boolean {
  const { packet, end, keymat, plain } = parts(vector);
  const lo = Number.parseInt(vector.seqLo, 16);
  const hi = Number.parseInt(vector.seqHi ?? '0', 16);
  const sa = new InboundSa({
    spi: Number.parseInt(vector.spi, 16),
    provider,
    algorithm: VECTOR_ALGORITHMS[vector.alg],
    keymat,
    esn: vector.seqHi !== null,
  });
  if (lo > 0) sa.window!.mark(hi, lo - 1);
  else sa.window!.mark(hi - 1, 0xffffffff);
  if (esp.open(sa, packet, viewOf(packet), 0, packet.length) !== OK) return false;
  if (sa.window!.topHi !== hi || sa.window!.topLo !== lo) return false;
  const payload = packet.subarray(esp.HEADER, esp.payloadEnd(sa, packet, packet.length));
  const pad = plain[plain.length - 2];
  return (
    digits(payload) === digits(plain.subarray(0, plain.length - 2 - pad)) &&
    esp.nextHeader(sa, packet, packet.length) === plain[plain.length - 1] &&
    packet.length === end + 16
  );
}

function run(t: Test, vectors: readonly EspVector[]): void {
  for (const provider of here) {
    for (const vector of vectors) {
      t.ok(byAead(provider, vector), `${vector.id}: ${provider.name}`);
      // SPI 0 never goes on the wire, so no association can have it: that vector is for the AEAD alone.
      if (Number.parseInt(vector.spi, 16) >= MIN_SPI) {
        t.ok(byEsp(provider, vector), `${vector.id}: ${provider.name}, as an ESP packet`);
      }
    }
  }
}

t.test('published packets', async (t) => run(t, OWN));

t.test('all published packets', async (t) => {
  const all = espVectors();
  if (all === null) return skip(t, 'the captures are not beside the project');
  const known = all.filter((vector) => vector.alg in VECTOR_ALGORITHMS);
  t.equal(known.filter((vector) => vector.id.startsWith('mcgrew')).length, 14);
  t.equal(known.filter((vector) => vector.id.startsWith('linux-aes-gcm')).length, 2);
  t.equal(known.filter((vector) => vector.id.startsWith('rfc7634')).length, 1);
  run(t, known);
});
