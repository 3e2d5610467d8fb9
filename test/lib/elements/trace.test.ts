import t from 'tap';
import { fromHex } from '../../../codecs/bytes.ts';
import * as linktype from '../../../codecs/linktype.ts';
import { Batch } from '../../../lib/core/batch.ts';
import { ALL_REMOTES, NONE, remote } from '../../../lib/core/packet.ts';
import { Trace, type TraceOptions } from '../../../lib/elements/trace.ts';
import { Collector, testContext } from '../../gen/context.ts';

const ARP = 'ffffffffffff 020000000001 0806 0001 0800 06 04 0001 020000000001 0a000001 000000000000 0a000002';

function setup(options: Partial<TraceOptions> = {}) {
  const context = testContext();
  const lines: string[] = [];
  const write = (line: string) => lines.push(line);
  const trace = new Trace(context, 'trace', { write, ...options });
  const out = new Collector();
  trace.connect('out', out);
  const push = (places: readonly (readonly [number, number])[], bytes = ARP) => {
    const batch = new Batch();
    for (const [port, to] of places) {
      const p = context.pool.take()!.set(fromHex(bytes));
      p.port = port;
      p.out = to;
      batch.add(p);
    }
    trace.push(batch);
    const n = out.packets.length;
    out.release();
    return n;
  };
  return { context, lines, write, trace, push };
}

t.test('one line a packet, and the packet goes on', async (t) => {
  const { context, lines, push } = setup();
  context.clock.advance(12345);
  const places = [
    [3, NONE],
    [remote(5), 4],
    [NONE, remote(6)],
    [3, ALL_REMOTES],
  ] as const;
  t.equal(push(places), 4);
  const arp = 'ARP, Request who-has 10.0.0.2 tell 10.0.0.1, length 28';
  t.same(lines, [
    `12.345000 trace [3 > -] ${arp}`,
    `12.345000 trace [remote 5 > 4] ${arp}`,
    `12.345000 trace [- > remote 6] ${arp}`,
    `12.345000 trace [3 > all remotes] ${arp}`,
  ]);
  t.equal(context.pool.used, 0);
});

t.test('after its limit it is silent, until it is told anew', async (t) => {
  const { context, lines, write, trace, push } = setup({ limit: 2, filter: (p) => p.port > 1 });
  t.equal(push([1, 2, 1, 3, 4, 5].map((port) => [port, NONE])), 6);
  t.equal(lines.length, 2, 'what the filter leaves out does not count');
  t.ok(trace.configure({ write, limit: 1 }));
  t.equal(push([1, 2].map((port) => [port, NONE])), 2);
  t.equal(lines.length, 3);
  t.match(lines[2], /\[1 > -]/);
  t.throws(() => trace.configure({ write, limit: -1 }), {
    message: '"limit" expected an integer of at least 0, got -1',
  });
  t.equal(context.pool.used, 0);
});

t.test('packets of another kind, and any bytes', async (t) => {
  const { context, lines, push } = setup({ format: { linkType: linktype.RAW } });
  t.equal(push([[1, NONE]], '45000014 0001 0000 40fd 0000 0a000001 0a000002'), 1);
  t.match(lines[0], /IP 10\.0\.0\.1 > 10\.0\.0\.2/);
  t.equal(push([[1, NONE]], 'ff'), 1);
  t.equal(push([[1, NONE]], ''), 1);
  t.equal(lines.length, 3);
  t.equal(context.pool.used, 0);
});
