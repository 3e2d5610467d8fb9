import t from 'tap';
import { noble } from '../../crypto/providers/noble.ts';
import { InboundSa, OutboundSa } from '../../crypto/sa.ts';
import { Sad } from '../../crypto/sad.ts';
import { Random } from '../../lib/core/random.ts';
import { seed } from '../gen/seed.ts';

const common = { provider: noble, algorithm: 'aes-128-gcm', keymat: new Uint8Array(20) } as const;
const inbound = (peer: number, spi: number) => new InboundSa({ ...common, peer, spi, window: 64 });

t.test(`beside a Map, seed ${seed}`, async (t) => {
  const r = new Random(seed);
  const sad = new Sad(100);
  const twin = new Map<string, InboundSa>();
  let wrong = 0;
  for (let i = 0; i < 20_000; i++) {
    // Few peers and SPIs, so that all meet often; SPIs that differ in one end or the other.
    const peer = r.below(8);
    const spi = (r.chance(0.5) ? 256 + r.below(12) : 256 + r.below(12) * 0x1000_0000) >>> 0;
    const key = `${peer} ${spi}`;
    const kind = r.below(5);
    if (kind < 2 && twin.size < 100) {
      const sa = inbound(peer, spi);
      if (sad.set(sa) !== (twin.get(key) ?? null)) wrong++;
      twin.set(key, sa);
    } else if (kind < 4) {
      if (sad.remove(peer, spi) !== (twin.get(key) ?? null)) wrong++;
      twin.delete(key);
    }
    if (sad.lookup(peer, spi) !== (twin.get(key) ?? null)) wrong++;
    if (i % 100 === 0) {
      for (const sa of twin.values()) if (sad.lookup(sa.peer, sa.spi) !== sa) wrong++;
      if ([...sad.entries()].length !== twin.size) wrong++;
    }
    if (sad.count !== twin.size) wrong++;
  }
  t.equal(wrong, 0);
});

t.test('a full table refuses another, and still replaces', async (t) => {
  const sad = new Sad(2);
  const first = inbound(1, 256);
  sad.set(first);
  sad.set(inbound(1, 257));
  t.throws(() => sad.set(inbound(1, 258)), {
    name: 'RangeError',
    message: 'no room for a security association: 2 are known',
  });
  t.equal(sad.set(inbound(1, 256)), first);
  t.equal(sad.lookup(1, 258), null);
  t.equal(sad.lookup(2, 256), null, 'the SPI of another source');
  for (const capacity of [0, 1.5, 2 ** 25]) {
    t.throws(() => new Sad(capacity), {
      message: `"capacity" expected an integer 1..16777216, got ${capacity}`,
    });
  }
});

t.test('outbound', async (t) => {
  const sad = new Sad();
  t.equal(sad.outbound(3), null);
  t.equal(sad.outbound(-1), null, 'no peer');
  const one = new OutboundSa({ ...common, peer: 3, spi: 256 });
  const two = new OutboundSa({ ...common, peer: 3, spi: 257 });
  t.equal(sad.setOutbound(one), null);
  t.equal(sad.outbound(3), one);
  t.equal(sad.outbound(0), null);
  t.equal(sad.setOutbound(two), one);
  t.equal(sad.removeOutbound(3), two);
  t.equal(sad.removeOutbound(3), null);
  t.equal(sad.outbound(3), null);
});
