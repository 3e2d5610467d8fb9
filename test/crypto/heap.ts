/**
 * That a provider allocates nothing a packet. Each has a test file of its own: how V8 compiles a function depends on all
 * that it was called with before, and a process that encrypts has one provider.
 */
import type { Test } from 'tap';
import { viewOf } from '../../codecs/bytes.ts';
import { type AeadProvider, ALGORITHMS, type Algorithm } from '../../crypto/aead.ts';
import * as esp from '../../crypto/esp.ts';
import { OK } from '../../crypto/result.ts';
import { InboundSa, keymatLength, OutboundSa } from '../../crypto/sa.ts';
import { bytesPerPacket, MOST } from '../gen/heap.ts';
import { skip } from '../gen/skip.ts';

const START = 100;
const SLOT = 2048;
const UDP = 17;

/** Seals and opens packets by each algorithm; the test is told where the provider does not work here. */
export async function allocatesNothing(t: Test, make: () => AeadProvider): Promise<void> {
  let provider: AeadProvider;
  try {
    provider = make();
  } catch (error) {
    return skip(t, (error as Error).message);
  }
  for (const algorithm of Object.keys(ALGORITHMS) as Algorithm[]) {
    const keymat = new Uint8Array(keymatLength(algorithm));
    const options = { spi: 0xdeadbeef, provider, algorithm, keymat };
    const out = new OutboundSa(options);
    const into = new InboundSa(options);
    const memory = new Uint8Array(64 * SLOT);
    const slots = Array.from({ length: 64 }, (_, i) => memory.subarray(i * SLOT, (i + 1) * SLOT));
    const views = slots.map(viewOf);
    let lost = 0;
    const run = (n: number) => {
      for (let i = 0; i < n; i++) {
        const bytes = slots[i % 64];
        const v = views[i % 64];
        if (esp.seal(out, bytes, v, START, START + 200, UDP) !== OK) lost++;
        const end = esp.sealedEnd(out, START, START + 200);
        if (esp.open(into, bytes, v, START - esp.HEADER, end) !== OK) lost++;
      }
    };
    // Each is sealed and opened.
    const used = bytesPerPacket(run) / 2;
    t.ok(used < MOST, `${algorithm}: ${used.toFixed(3)} bytes of heap a packet`);
    t.equal(lost, 0);
  }
}
