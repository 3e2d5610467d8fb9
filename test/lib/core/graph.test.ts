import t from 'tap';
import { Batch } from '../../../lib/core/batch.ts';
import type { VirtualClock } from '../../../lib/core/clock.ts';
import { CLOSED } from '../../../lib/core/drop.ts';
import { type Context, Element } from '../../../lib/core/element.ts';
import { Engine, settle, simulate } from '../../../lib/core/engine.ts';
import { type GraphConfig, node } from '../../../lib/core/graph.ts';
import { type Log, silent } from '../../../lib/core/log.ts';
import { memoryPair } from '../../../lib/io/memory.ts';
import { type Port, PortError } from '../../../lib/io/port.ts';
import { type TestContext, testContext, testHost } from '../../gen/context.ts';

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

async function bench(log: Log = silent) {
  const context = { ...testContext(), log };
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

/** A memory port that opens when it is allowed to, and fails when it is told to. */
async function fragile(context: TestContext) {
  const [port, far] = memoryPair({ name: 'fragile' });
  await far.open(testHost({ pool: context.pool, clock: context.clock }));
  const log = { attempts: 0, open: 0, most: 0, allowed: true };
  const open = port.open.bind(port);
  port.open = async (host) => {
    log.attempts++;
    log.most = Math.max(log.most, ++log.open);
    await new Promise((resolve) => setImmediate(resolve));
    log.open--;
    if (!log.allowed) throw new PortError('NO_SUCH_DEVICE', 'the cable is not there');
    await open(host);
  };
  return {
    port,
    far,
    log,
    async fail() {
      await port.close();
      port.onError!(new PortError('IO', 'the cable was pulled'));
    },
  };
}

/** Lets a second and a half of the engine's time pass, and the promises of this thread go on. */
async function pass(engine: Engine, clock: VirtualClock, ms = 1500): Promise<void> {
  for (let i = 0; i < ms; i += 50) {
    simulate([engine], clock, 50);
    for (let k = 0; k < 4; k++) await new Promise((resolve) => setImmediate(resolve));
  }
}

t.test('a port that failed stays, and is opened again when it can be', async (t) => {
  const lines: string[] = [];
  const say = (line: string) => void lines.push(line);
  const { engine, a, send, context } = await bench({ debug: say, info: say, warn: say, error: say });
  const { port, far, log, fail } = await fragile(context);
  const told: string[] = [];
  engine.graph.onPortError = (name, error) => told.push(`${name}: ${error.code}`);
  engine.graph.onPortBack = (name) => told.push(`${name}: back`);
  const config = (mark: number): GraphConfig => ({
    in: { port: a, place: 0, to: { out: 'mark' } },
    mark: node(Mark, { mark }, { out: 'port' }),
    port: { port, place: 1 },
  });
  await engine.apply(config(7));
  log.allowed = false;
  await fail();
  t.same(told, ['port: IO']);

  await engine.apply(config(8));
  t.equal(log.attempts, 1, 'another description neither is refused for its sake nor opens it');
  await pass(engine, context.clock, 5000);
  t.ok(log.attempts >= 4 && log.attempts <= 6, `tried about once a second: ${log.attempts - 1} times in 5 s`);
  t.equal(log.most, 1, 'never twice at once');
  send(1);
  settle([engine]);
  t.equal(port.stats.droppedFor(CLOSED), 1, 'what is sent to it meanwhile is dropped');
  t.equal(context.pool.used, 0);

  log.allowed = true;
  await pass(engine, context.clock);
  t.same(told, ['port: IO', 'port: back']);
  const got = new Batch();
  send(2);
  settle([engine]);
  t.equal(far.receive(got), 1, 'it carries again');
  got.release();
  t.equal(context.counters.get('port', 'tx.packets'), 1);
  t.equal(context.counters.get('port', 'drop.closed'), 1, 'counters go on');

  await fail();
  await pass(engine, context.clock);
  t.same(told.slice(2), ['port: IO', 'port: back'], 'a second failure is like the first');
  t.same(
    lines,
    [0, 1].flatMap(() => ['port "port": the cable was pulled', 'port "port" is open again']),
    'the log has one line for each',
  );
  await engine.close();
  t.equal(context.pool.used, 0);
});

t.test('a failed port that leaves the graph is left alone', async (t) => {
  const { engine, a, b, context } = await bench();
  const { port, log, fail } = await fragile(context);
  const errors: string[] = [];
  port.onError = ({ code }) => errors.push(code);
  await engine.apply({ ...line(a, b, 7), c: { port } });
  await fail();
  await engine.apply(line(a, b, 7));
  await pass(engine, context.clock, 3000);
  t.equal(log.attempts, 1);
  await engine.apply({ ...line(a, b, 7), c: { port } });
  t.equal(log.attempts, 2, 'described again it is opened at once');
  log.allowed = false;
  await fail();
  t.same(errors, ['IO', 'IO'], 'who listened before is told once a failure');
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
