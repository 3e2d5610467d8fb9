import t from 'tap';
import { Batch } from '../../../lib/core/batch.ts';
import { CLOSED } from '../../../lib/core/drop.ts';
import { type Context, Element } from '../../../lib/core/element.ts';
import { Engine, settle, simulate } from '../../../lib/core/engine.ts';
import { type GraphConfig, node } from '../../../lib/core/graph.ts';
import { memoryPair } from '../../../lib/io/memory.ts';
import type { Port } from '../../../lib/io/port.ts';
import { testContext, testHost } from '../../gen/context.ts';

/** Adds a byte to the front of each packet. */
class Mark extends Element {
  static made = 0;
  readonly #out = this.output('out');
  readonly #mark: number;
  ticks = 0;

  constructor(context: Context, name: string, options: { mark: number; list?: number[] }) {
    super(context, name, ['marked']);
    if (options.mark > 255) throw new RangeError(`"mark" expected at most 255, got ${options.mark}`);
    this.#mark = options.mark;
    Mark.made++;
  }

  push(batch: Batch): void {
    for (let i = 0; i < batch.length; i++)
      batch.packets[i].view.setUint8(--batch.packets[i].start, this.#mark);
    this.count(0, batch.length);
    this.#out.next.push(batch);
  }

  override tick(): void {
    this.ticks++;
  }
}

/** Holds packets until it is asked, and takes over a changed limit without being replaced. */
class Hold extends Element {
  readonly #out = this.output('out');
  readonly #held = new Batch();
  #limit: number;

  constructor(context: Context, name: string, options: { limit: number }) {
    super(context, name);
    this.#limit = options.limit;
  }

  push(batch: Batch): void {
    for (let i = 0; i < batch.length; i++) this.#held.add(batch.packets[i]);
    batch.clear();
  }

  override exhale(): number {
    const n = this.#held.length;
    if (n < this.#limit) return 0;
    this.#out.next.push(this.#held);
    return n;
  }

  override configure(options: { limit: number }): boolean {
    this.#limit = options.limit;
    return true;
  }

  override close(): void {
    for (let i = 0; i < this.#held.length; i++) this.drop(this.#held.packets[i], CLOSED);
    super.close();
  }
}

async function bench() {
  const context = testContext();
  const engine = new Engine(context);
  const [a, farA] = memoryPair({ name: 'a' });
  const [b, farB] = memoryPair({ name: 'b' });
  const host = testHost({ pool: context.pool, clock: context.clock });
  await farA.open(host);
  await farB.open(host);
  const batch = new Batch();
  return {
    context,
    engine,
    a,
    b,
    send(...bytes: number[]) {
      batch.add(context.pool.take()!.set(Uint8Array.from(bytes)));
      farA.send(batch);
    },
    received(): number[][] {
      const out: number[][] = [];
      while (farB.receive(batch) > 0) {
        for (let i = 0; i < batch.length; i++) out.push([...batch.packets[i].frame()]);
        batch.release();
      }
      return out;
    },
  };
}

const line = (a: Port, b: Port, mark: number): GraphConfig => ({
  a: { port: a, place: 0, to: { out: 'mark' } },
  mark: node(Mark, { mark }, { out: 'b' }),
  b: { port: b, place: 1 },
});

t.test('packets follow the links', async (t) => {
  const { engine, a, b, send, received, context } = await bench();
  await engine.apply(line(a, b, 7));
  send(1, 2, 3);
  send(4);
  t.equal(engine.step(), 2);
  t.same(received(), [
    [7, 1, 2, 3],
    [7, 4],
  ]);
  t.equal(engine.step(), 0);
  t.equal(context.counters.get('mark', 'marked'), 2);
  t.same(context.counters.read('a'), { 'rx.packets': 2, 'rx.bytes': 4 });
  await engine.close();
  t.equal(context.pool.used, 0);
});

t.test('apply changes only the difference', async (t) => {
  const { engine, a, b, send, received, context } = await bench();
  Mark.made = 0;
  await engine.apply(line(a, b, 7));
  const mark = engine.graph.element('mark');
  await engine.apply(line(a, b, 7));
  t.equal(engine.graph.element('mark'), mark, 'the same options, the same element');
  t.equal(Mark.made, 1);

  send(1);
  await engine.apply(line(a, b, 8));
  t.not(engine.graph.element('mark'), mark, 'other options, another element');
  engine.step();
  t.same(received(), [[8, 1]], 'what waited in the port went through the new graph');
  t.equal(context.counters.get('mark', 'marked'), 1, 'counting goes on under the same name');

  const longer: GraphConfig = {
    a: { port: a, place: 0, to: { out: 'first' } },
    first: node(Mark, { mark: 1 }, { out: 'mark' }),
    mark: node(Mark, { mark: 8 }, { out: 'b' }),
    b: { port: b, place: 1 },
  };
  const kept = engine.graph.element('mark');
  await engine.apply(longer);
  t.equal(engine.graph.element('mark'), kept, 'an unchanged element stays where one is added beside it');
  send(2);
  engine.step();
  t.same(received(), [[8, 1, 2]]);

  await engine.apply({ a: { port: a, place: 0 } });
  send(3);
  engine.step();
  t.equal(context.pool.used, 0, 'a port that leads nowhere gives packets back');
  await engine.close();
});

t.test(
  'options are compared in depth, and configure takes changed ones over with what is held',
  async (t) => {
    const { engine, a, b, send, received, context } = await bench();
    const config = (limit: number): GraphConfig => ({
      a: { port: a, place: 0, to: { out: 'hold' } },
      hold: node(Hold, { limit }, { out: 'mark' }),
      mark: node(Mark, { mark: 9, list: [1, 2, 3] }, { out: 'b' }),
      b: { port: b, place: 1 },
    });
    await engine.apply(config(3));
    const before = [engine.graph.element('hold'), engine.graph.element('mark')];
    send(1);
    engine.step();
    t.same(received(), []);
    await engine.apply(config(1));
    t.same([engine.graph.element('hold'), engine.graph.element('mark')], before);
    engine.step();
    t.same(received(), [[9, 1]], 'the packet that was held came through');

    await engine.apply(config(3));
    send(2);
    engine.step();
    await engine.close();
    t.equal(context.pool.used, 0, 'closing drops what is held');
  },
);

t.test('what cannot be done changes nothing', async (t) => {
  const { engine, a, b, send, received, context } = await bench();
  await engine.apply(line(a, b, 7));
  const works = async () => {
    send(5);
    settle([engine]);
    return received();
  };
  const wrong: [GraphConfig, RegExp][] = [
    [{ a: { port: a, to: { out: 'c' } } }, /output "out" of "a" leads to "c", which does not exist/],
    [{ ...line(a, b, 7), c: { port: b } }, /"c" and "b" are the same port/],
    [line(a, b, 256), /"mark" expected at most 255, got 256/],
    [
      { ...line(a, b, 7), mark: node(Mark, { mark: 7 }, { out: 'b', in: 'b' }) },
      /"mark" has no output "in"; it has: out/,
    ],
    [
      { ...line(a, b, 1), a: { port: a, place: 0, to: { err: 'b' } } },
      /"a" has no output "err"; it has: out/,
    ],
    [{ ...line(a, b, 7), c: { port: memoryPairWithOpenEnd(context) } }, /open already/],
  ];
  for (const [config, message] of wrong) {
    await t.rejects(engine.apply(config), { message });
    t.same(await works(), [[7, 5]], 'the graph runs as before');
  }
  await engine.close();
  t.equal(context.pool.used, 0);
});

function memoryPairWithOpenEnd(context: Context): Port {
  const [port] = memoryPair();
  void port.open(testHost({ pool: context.pool, clock: context.clock }));
  return port;
}

t.test('a port that failed is opened anew by the next apply', async (t) => {
  const { engine, a, b, context } = await bench();
  const errors: string[] = [];
  engine.graph.onPortError = (name, error) => errors.push(`${name}: ${error.code}`);
  await engine.apply(line(a, b, 7));
  const { PortError } = await import('../../../lib/io/port.ts');
  await a.close();
  a.onError!(new PortError('IO', 'the cable was pulled'));
  t.same(errors, ['a: IO']);
  await engine.apply(line(a, b, 7));
  await engine.close();
  t.equal(context.pool.used, 0);
});

t.test('ticks follow the clock', async (t) => {
  const { engine, a, b, context } = await bench();
  await engine.apply(line(a, b, 7));
  simulate([engine], context.clock, 100);
  t.equal((engine.graph.element('mark') as Mark).ticks, 11);
  await engine.close();
});

t.test('on the event loop it sleeps, wakes and stops', async (t) => {
  const { engine, a, b, send, received, context } = await bench();
  await engine.apply(line(a, b, 7));
  engine.start();
  for (let round = 0; round < 3; round++) {
    await new Promise((resolve) => setTimeout(resolve, 15));
    send(round);
    let got: number[][] = [];
    while (got.length === 0) {
      await new Promise((resolve) => setImmediate(resolve));
      got = received();
    }
    t.same(got, [[7, round]]);
  }
  await engine.close();
  t.equal(context.pool.used, 0);
});
