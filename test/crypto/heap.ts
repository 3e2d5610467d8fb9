/**
 * That a provider allocates nothing a packet. Each has a test file of its own: how V8 compiles a function depends on all
 * that it was called with before, and a process that encrypts has one provider.
 */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { Test } from 'tap';
import { viewOf } from '../../codecs/bytes.ts';
import { type AeadProvider, ALGORITHMS, type Algorithm } from '../../crypto/aead.ts';
import * as esp from '../../crypto/esp.ts';
import { OK } from '../../crypto/result.ts';
import { InboundSa, keymatLength, OutboundSa } from '../../crypto/sa.ts';
import { skip } from '../gen/skip.ts';

const START = 100;
const SLOT = 2048;
const UDP = 17;
const ROUNDS = 40;

/** Seals and opens packets by each algorithm; the test is told where the provider does not work here. */
export async function allocatesNothing(t: Test, make: () => AeadProvider): Promise<void> {
  let provider: AeadProvider;
  try {
    provider = make();
  } catch (error) {
    return skip(t, (error as Error).message);
  }
  // The garbage collector, without a flag on the command line.
  setFlagsFromString('--expose-gc');
  const collect: () => void = runInNewContext('gc');
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
    // The least of several rounds: the runtime allocates for itself now and then, and compiles later on a busy machine.
    let perPacket = Infinity;
    for (let round = 0; round < ROUNDS && perPacket >= 0.5; round++) {
      collect();
      const before = process.memoryUsage().heapUsed;
      run(10_000);
      perPacket = Math.min(perPacket, (process.memoryUsage().heapUsed - before) / 20_000);
    }
    t.ok(perPacket < 0.5, `${algorithm}: ${perPacket.toFixed(3)} bytes of heap a packet`);
    t.equal(lost, 0);
  }
}
