/**
 * Chooses the fastest AEAD provider that works here. Those that need Node are loaded only when asked for, so
 * that a browser gets `noble` and nothing breaks.
 */
import { type AeadProvider, ALGORITHMS, type Algorithm, TAG } from './aead.ts';
import { noble } from './providers/noble.ts';

/** Fastest first; bench/crypto.ts measures it. */
export const PROVIDERS = ['ipsec-mb', 'openssl', 'node', 'noble'] as const;

export type ProviderName = (typeof PROVIDERS)[number];

/** What was chosen, and why nothing faster was. */
export interface Choice {
  readonly provider: AeadProvider;
  /** The faster providers that do not work here, with a sentence each. */
  readonly refused: readonly { readonly name: ProviderName; readonly reason: string }[];
}

/**
 * Finds the fastest provider that works and seals as another one does. `force` allows only the one named:
 * then an Error is thrown where it does not work. Throws a TypeError for an unknown name.
 */
export async function chooseProvider(options: { force?: ProviderName } = {}): Promise<Choice> {
  const { force } = options;
  if (force !== undefined && !PROVIDERS.includes(force)) {
    throw new TypeError(`"force" expected one of ${PROVIDERS.join(', ')}, got ${String(force)}`);
  }
  const refused: { name: ProviderName; reason: string }[] = [];
  for (const name of force === undefined ? PROVIDERS : [force]) {
    try {
      const provider = await load(name);
      if (provider !== noble) checkAgainst(provider, await reference(name));
      return { provider, refused };
    } catch (error) {
      refused.push({ name, reason: error instanceof Error ? error.message : String(error) });
    }
  }
  throw new Error(`the ${refused[0].name} provider does not work here: ${refused[0].reason}`);
}

async function load(name: ProviderName): Promise<AeadProvider> {
  if (name === 'openssl') return (await import('./providers/openssl.ts')).openssl();
  if (name === 'ipsec-mb') return (await import('./providers/ipsec-mb.ts')).ipsecMb(await nextTo());
  if (name === 'node') return (await import('./providers/node.ts')).node;
  return noble;
}

/** What helps out `ipsec-mb` with ChaCha20-Poly1305, for which OpenSSL has one way alone: none needs to be tried. */
async function nextTo(): Promise<AeadProvider> {
  try {
    return (await import('./providers/openssl.ts')).openssl('evp');
  } catch {
    return load('node');
  }
}

/** What a provider is compared with: native code with Node's own use of the same library, that with noble. */
async function reference(name: ProviderName): Promise<AeadProvider> {
  return name === 'node' ? noble : load('node');
}

/** Throws an Error unless both seal a known packet to the same bytes, and `provider` opens only the right one. */
export function checkAgainst(provider: AeadProvider, other: AeadProvider): void {
  for (const algorithm of Object.keys(ALGORITHMS) as Algorithm[]) {
    const packet = sealKnown(provider, algorithm);
    if (!equal(packet, sealKnown(other, algorithm))) {
      throw new Error(`${provider.name} and ${other.name} do not agree on ${algorithm}`);
    }
    const opened = packet.slice();
    if (!openKnown(provider, algorithm, opened) || !opened.every((byte, i) => i >= KNOWN || byte === i)) {
      throw new Error(`${provider.name} does not open its own ${algorithm}`);
    }
    packet[0] ^= 1;
    if (openKnown(provider, algorithm, packet)) throw new Error(`${provider.name} opens forged ${algorithm}`);
  }
}

const KNOWN = 100;

function knownKey(provider: AeadProvider, algorithm: Algorithm) {
  const key = provider.key(algorithm, new Uint8Array(ALGORITHMS[algorithm].keyLength).fill(0x42));
  for (let i = 0; i < key.nonce.byteLength; i++) key.nonce.setUint8(i, i);
  for (let i = 0; i < key.aad.byteLength; i++) key.aad.setUint8(i, 0xf0 + i);
  return key;
}

function sealKnown(provider: AeadProvider, algorithm: Algorithm): Uint8Array {
  const packet = Uint8Array.from({ length: KNOWN + TAG }, (_, i) => i);
  const key = knownKey(provider, algorithm);
  key.seal(packet, 0, KNOWN, key.aad.byteLength);
  key.close();
  return packet;
}

function openKnown(provider: AeadProvider, algorithm: Algorithm, packet: Uint8Array): boolean {
  const key = knownKey(provider, algorithm);
  const right = key.open(packet, 0, KNOWN, key.aad.byteLength);
  key.close();
  return right;
}

function equal(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}
