import t from 'tap';
import { BATCH, Batch } from '../../../lib/core/batch.ts';
import { DROPS, MALFORMED, NOT_CONNECTED, POOL_DRY, TOO_BIG } from '../../../lib/core/drop.ts';
import { type Context, Element, type Output, type Sink } from '../../../lib/core/element.ts';
import { Collector, type TestContext, testContext } from '../../gen/context.ts';

/** Sends packets with an even number in `vni` to `even`, others to `odd`, and drops those above 99. */
class Sort extends Element {
  readonly #even = this.output('even');
  readonly #odd = this.output('odd');

  constructor(context: Context, name: string) {
    super(context, name, ['seen', 'bytes']);
  }

  push(batch: Batch): void {
    for (let i = 0; i < batch.length; i++) {
      const p = batch.packets[i];
      this.count(0);
      this.count(1, p.length);
      if (p.vni > 99) this.drop(p, TOO_BIG);
      else (p.vni % 2 === 0 ? this.#even : this.#odd).add(p);
    }
    batch.clear();
    this.#even.flush();
    this.#odd.flush();
  }

  lose(n: number): void {
    this.lost(POOL_DRY, n);
  }

  /** Keeps a packet in an output, as an element does that is closed in the middle of a batch. */
  keep(batch: Batch): void {
    this.#even.add(batch.packets[0]);
    batch.clear();
  }
}

/** Numbered outputs, made when asked for. */
class Numbered extends Element {
  readonly made: string[] = [];

  push(batch: Batch): void {
    batch.release();
  }

  protected override addOutput(name: string): Output | null {
    if (!/^\d+$/.test(name)) return null;
    this.made.push(name);
    return this.output(name);
  }
}

function fill(context: TestContext, vnis: readonly number[], bytes = 10): Batch {
  const batch = new Batch();
  for (const vni of vnis) {
    const p = context.pool.take()!.set(new Uint8Array(bytes));
    p.vni = vni;
    batch.add(p);
  }
  return batch;
}

t.test('packets leave by their outputs, in order, in batches', async (t) => {
  const context = testContext();
  const sort = new Sort(context, 'sort');
  const even = new Collector();
  const odd = new Collector();
  sort.connect('even', even);
  sort.connect('odd', odd);
  const batch = fill(context, [1, 2, 3, 4, 100]);
  sort.push(batch);
  t.equal(batch.length, 0);
  t.same(
    [even, odd].map(({ packets }) => packets.map(({ vni }) => vni)),
    [
      [2, 4],
      [1, 3],
    ],
  );
  t.equal(sort.dropped(TOO_BIG), 1);
  sort.lose(3);
  t.same(context.counters.read('sort'), { seen: 5, bytes: 50, 'drop.too-big': 1, 'drop.pool-dry': 3 });
  even.release();
  odd.release();
  t.equal(context.pool.used, 0);
});

t.test('an output that leads nowhere drops and counts', async (t) => {
  const context = testContext();
  const seen: [number, string][] = [];
  context.onDrop = (p, reason, where) => seen.push([p.vni, `${where} ${DROPS[reason].name}`]);
  const sort = new Sort(context, 'sort');
  const even = new Collector();
  sort.connect('even', even);
  sort.push(fill(context, [1, 2]));
  t.equal(sort.dropped(NOT_CONNECTED), 1);
  sort.connect('even', null);
  sort.push(fill(context, [4]));
  t.equal(sort.dropped(NOT_CONNECTED), 2);
  t.same(seen, [
    [1, 'sort not-connected'],
    [4, 'sort not-connected'],
  ]);
  even.release();
  t.equal(context.pool.used, 0);
});

t.test('an output that nobody declared', async (t) => {
  const context = testContext();
  const sort = new Sort(context, 'sort');
  t.throws(() => sort.connect('third', new Collector()), {
    name: 'RangeError',
    message: '"sort" has no output "third"; it has: even, odd',
  });
  sort.connect('third', null);

  const numbered = new Numbered(context, 'numbered');
  numbered.connect('17', new Collector());
  numbered.connect('17', null);
  t.same(numbered.made, ['17']);
  t.throws(() => numbered.connect('out', new Collector()), { message: /no output "out"; it has: 17/ });
});

t.test('an output passes a full batch on before it takes another packet', async (t) => {
  const context = testContext();
  const sizes: number[] = [];
  const sink: Sink = {
    push: (batch) => {
      sizes.push(batch.length);
      batch.release();
    },
  };
  const sort = new Sort(context, 'sort');
  sort.connect('even', sink);
  const length = 2 * BATCH + 6;
  const long = { packets: [...Array(length)].map(() => context.pool.take()!), length, clear() {} };
  for (const p of long.packets) p.vni = 0;
  sort.push(long as unknown as Batch);
  t.same(sizes, [BATCH, BATCH, 6]);
  t.equal(context.pool.used, 0);
});

t.test('a closed element gives back what it holds, and its counters', async (t) => {
  const context = testContext();
  const drops: string[] = [];
  context.onDrop = (_p, reason) => drops.push(DROPS[reason].name);
  const sort = new Sort(context, 'sort');
  sort.keep(fill(context, [2]));
  t.equal(context.pool.used, 1);
  sort.close();
  t.equal(context.pool.used, 0);
  t.same(drops, ['not-connected']);
  t.same(context.counters.directory(), []);
});

t.test('reasons to drop have names and sentences of their own', async (t) => {
  t.equal(new Set(DROPS.map(({ name }) => name)).size, DROPS.length);
  t.same(
    DROPS.filter(({ name, text }) => !/^[a-z0-9]+(-[a-z0-9]+)*$/.test(name) || text.length < 10),
    [],
  );
  t.equal(DROPS[MALFORMED].name, 'malformed');
});
