/**
 * Sealing and opening, each provider and algorithm: the bare AEAD, and the way through ESP with the look-up of
 * the security association, header, padding and ICV. Beside it, what `openssl speed -evp` reports.
 */
import { spawnSync } from 'node:child_process';
import { viewOf } from '../codecs/bytes.ts';
import { type AeadProvider, ALGORITHMS, type Algorithm, TAG } from '../crypto/aead.ts';
import { chooseProvider, PROVIDERS, type ProviderName } from '../crypto/choose.ts';
import * as esp from '../crypto/esp.ts';
import { OK } from '../crypto/result.ts';
import { keymatLength, OutboundSa } from '../crypto/sa.ts';
import { Sad } from '../crypto/sad.ts';
import { type Bench, Missing } from './bench.ts';

const SLOTS = 32;
const START = 192;
const PEERS = 64;
const ALGORITHM_NAMES: readonly Algorithm[] = ['aes-128-gcm', 'aes-256-gcm', 'chacha20-poly1305'];
const SIZES = [64, 512, 1400, 9000];

/** Packets of so many bytes in one memory, as a pool has them. */
function slots(bytes: number): Uint8Array[] {
  const slot = (START + bytes + 64 + 7) & -8;
  const memory = new ArrayBuffer(SLOTS * slot);
  return Array.from({ length: SLOTS }, (_, i) => new Uint8Array(memory, i * slot, slot));
}

async function load(force: ProviderName): Promise<AeadProvider> {
  try {
    return (await chooseProvider({ force })).provider;
  } catch (error) {
    throw new Missing((error as Error).message);
  }
}

/** A call should take long enough to be timed: noble is slow, so fewer packets do. */
function opsOf(name: ProviderName): number {
  return name === 'noble' ? SLOTS : 8 * SLOTS;
}

function seal(algorithm: Algorithm, name: ProviderName, bytes: number): Bench {
  const ops = opsOf(name);
  return {
    name: `seal.${algorithm}.${name}.${bytes}`,
    ops,
    async prepare() {
      const provider = await load(name);
      const key = provider.key(algorithm, new Uint8Array(ALGORITHMS[algorithm].keyLength));
      const packets = slots(bytes);
      let next = 0;
      return () => {
        let sealed = 0;
        for (let i = 0; i < ops; i++) {
          key.nonce.setUint32(8, next++);
          if (key.seal(packets[i % SLOTS], START, START + bytes, 12)) sealed++;
        }
        return sealed;
      };
    },
  };
}

/**
 * Opening changes the packet, so to open it again it would have to be sealed again. Instead it goes back and
 * forth: with one nonce, decrypting the plaintext gives the ciphertext, and each has its own tag.
 */
function open(algorithm: Algorithm, name: ProviderName, bytes: number): Bench {
  const ops = opsOf(name);
  return {
    name: `open.${algorithm}.${name}.${bytes}`,
    ops,
    async prepare() {
      const provider = await load(name);
      const key = provider.key(algorithm, new Uint8Array(ALGORITHMS[algorithm].keyLength));
      const packets = slots(bytes);
      const end = START + bytes;
      const tags = [0, 1].map(() => {
        key.seal(packets[0], START, end, 12);
        return packets[0].slice(end, end + TAG);
      });
      let turn = 1;
      return () => {
        let opened = 0;
        for (let n = 0; n < ops; n += SLOTS, turn ^= 1) {
          const tag = tags[turn];
          for (const packet of packets) {
            for (let j = 0; j < TAG; j++) packet[end + j] = tag[j];
            if (key.open(packet, START, end, 12)) opened++;
          }
        }
        if (opened !== ops) throw new Error(`${opened} of ${ops} opened`);
        return opened;
      };
    },
  };
}

function espSeal(algorithm: Algorithm, name: ProviderName, bytes: number): Bench {
  const ops = opsOf(name);
  return {
    name: `esp-seal.${algorithm}.${name}.${bytes}`,
    ops,
    async prepare() {
      const provider = await load(name);
      const sad = new Sad();
      const keymat = new Uint8Array(keymatLength(algorithm));
      for (let peer = 0; peer < PEERS; peer++) {
        sad.setOutbound(new OutboundSa({ spi: 256 + peer, peer, provider, algorithm, keymat }));
      }
      const packets = slots(bytes);
      const views = packets.map(viewOf);
      return () => {
        let sealed = 0;
        for (let i = 0; i < ops; i++) {
          const sa = sad.outbound(i % PEERS)!;
          const slot = i % SLOTS;
          if (esp.seal(sa, packets[slot], views[slot], START, START + bytes, 17) === OK) sealed++;
        }
        return sealed;
      };
    },
  };
}

/** What `openssl speed` says of the same length: encryption alone, without IV, additional data or tag. */
function opensslSpeed(algorithm: Algorithm, bytes: number): Bench {
  return {
    name: `openssl-speed.${algorithm}.${bytes}`,
    ops: 1,
    prepare() {
      const args = ['speed', '-mr', '-seconds', '1', '-bytes', String(bytes), '-evp', algorithm];
      const { stdout, error } = spawnSync('openssl', args, { encoding: 'utf8' });
      if (error !== undefined) throw new Missing('openssl is not installed');
      const bytesPerSecond = Number(/^\+F:.*:([\d.]+)$/m.exec(stdout)?.[1]);
      if (!(bytesPerSecond > 0)) throw new Missing(`openssl speed said: ${stdout}`);
      return (bytes / bytesPerSecond) * 1e9;
    },
  };
}

export const benches: readonly Bench[] = ALGORITHM_NAMES.flatMap((algorithm) =>
  SIZES.flatMap((bytes) => [
    opensslSpeed(algorithm, bytes),
    ...PROVIDERS.flatMap((name) => [
      seal(algorithm, name, bytes),
      open(algorithm, name, bytes),
      espSeal(algorithm, name, bytes),
    ]),
  ]),
);
