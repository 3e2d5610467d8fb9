import t from 'tap';
import { viewOf } from '../../../codecs/bytes.ts';
import * as tcp from '../../../codecs/tcp.ts';
import * as udp from '../../../codecs/udp.ts';
import { NONE } from '../../../lib/core/packet.ts';
import { completeChecksum } from '../../../lib/core/partial-checksum.ts';
import { DebugPool, JUMBO_SLOT } from '../../../lib/core/pool.ts';
import { Random } from '../../../lib/core/random.ts';
import { seed } from '../../gen/seed.ts';
import { flowOf, putSuper, randomBytes, segmentsOf, transportOf } from '../../gen/super-frames.ts';

const pool = new DebugPool({ count: 2, slot: JUMBO_SLOT });

t.test(`the checksum is that which the codecs make, seed ${seed}`, async (t) => {
  const r = new Random(seed);
  let wrong = 0;
  for (let i = 0; i < 500; i++) {
    const flow = flowOf(r, { size: 1400, payload: randomBytes(r, r.below(1401)) });
    const p = putSuper(pool.take()!, flow);
    const done = completeChecksum(p);
    if (!done || p.csumStart !== NONE || p.csumOffset !== 0) wrong++;
    if (Buffer.compare(p.frame(), segmentsOf(flow)[0]) !== 0) wrong++;
    pool.give(p);
  }
  t.equal(wrong, 0);
});

t.test('0 is sent as 0xffff over UDP, and as 0 elsewhere', async (t) => {
  for (const protocol of [udp.PROTOCOL, tcp.PROTOCOL] as const) {
    const flow = flowOf(new Random(1), { protocol, size: 100, payload: new Uint8Array(20) });
    const l4 = transportOf(flow);
    const v = viewOf(segmentsOf(flow)[0]);
    const check = protocol === udp.PROTOCOL ? udp.checksum(v, l4) : tcp.checksum(v, l4);
    flow.payload.set([check >>> 8, check & 0xff]);
    const p = putSuper(pool.take()!, flow);
    const at = p.csumStart + p.csumOffset;
    t.ok(completeChecksum(p));
    t.equal(p.view.getUint16(at), protocol === udp.PROTOCOL ? 0xffff : 0);
    pool.give(p);
  }
});

t.test('a field that does not lie in the frame is refused', async (t) => {
  const p = pool.take()!.set(new Uint8Array(60));
  const says = (start: number, offset: number, done: boolean) => {
    p.csumStart = start;
    p.csumOffset = offset;
    t.equal(completeChecksum(p), done, `${start - p.start} + ${offset} of 60`);
  };
  says(p.start - 1, 16, false);
  says(p.start, -1, false);
  says(p.end, 0, false);
  says(p.end - 7, 6, false);
  says(p.end - 8, 6, true);
  says(p.end + 100, 6, false);
  says(p.start, 58, true);
  says(p.start, 59, false);
  pool.give(p);
  t.same(pool.leaked, []);
});
