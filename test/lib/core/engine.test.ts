/** The engine on a thread: how it sleeps, on the event loop and blocked in a poll, with descriptors of this machine. */
import t, { type Test } from 'tap';
import { BATCH, Batch } from '../../../lib/core/batch.ts';
import { VirtualClock } from '../../../lib/core/clock.ts';
import { createContext } from '../../../lib/core/context.ts';
import { CLOSED } from '../../../lib/core/drop.ts';
import { Engine, type RunOptions } from '../../../lib/core/engine.ts';
import { node } from '../../../lib/core/graph.ts';
import type { Packet } from '../../../lib/core/packet.ts';
import { DebugPool, JUMBO_SLOT } from '../../../lib/core/pool.ts';
import { Queue } from '../../../lib/elements/queue.ts';
import { memoryPair } from '../../../lib/io/memory.ts';
import { libc } from '../../../lib/io/native/libc.ts';
import { interrupt, makeInterrupter, Poller } from '../../../lib/io/native/poller.ts';
import { addresses, Slab } from '../../../lib/io/native/slab.ts';
import { ETHERNET, type Port, type PortError, type PortHost, PortStats } from '../../../lib/io/port.ts';
import { testHost } from '../../gen/context.ts';
import { skip } from '../../gen/skip.ts';

/** A port that receives as many packets as an eventfd counts, and sends by adding to another's. */
class EventPort implements Port {
  readonly medium = ETHERNET;
  readonly mtu = 1514;
  readonly offloads = 0;
  readonly stats = new PortStats();
  readonly name: string;
  readonly fd = makeInterrupter();
  drained = false;
  receives = 0;
  onError: Port['onError'] = null;
  readonly #slab = new Slab(128);
  readonly #at = addresses(this.#slab.address(0), this.#slab.address(8));
  #to: EventPort | null = null;
  #waiting = 0;
  #host: PortHost | null = null;

  constructor(name: string) {
    this.name = name;
  }

  async open(host: PortHost): Promise<void> {
    this.#host = host;
    host.poll(() => new Poller()).add(this.fd, host.wake);
  }

  sendsTo(port: EventPort): void {
    this.#to = port;
  }

  /** Makes packets arrive. */
  arrive(n: number): void {
    this.#slab.view.setBigUint64(8, BigInt(n), true);
    libc().write(this.fd, this.#at[1], 8);
  }

  receive(batch: Batch): number {
    this.receives++;
    if (libc().read(this.fd, this.#at[0], 8) === 8) this.#waiting += this.#slab.view.getUint32(0, true);
    for (; this.#waiting > 0 && batch.length < BATCH; this.#waiting--) {
      const p = this.#host!.pool.take() as Packet;
      batch.add(p.set(new Uint8Array(60)));
    }
    this.drained = this.#waiting === 0;
    this.stats.received(60 * batch.length, batch.length);
    return batch.length;
  }

  send(batch: Batch): void {
    this.stats.sent(60 * batch.length, batch.length);
    this.#to?.arrive(batch.length);
    batch.release();
  }

  async close(): Promise<void> {
    this.#host?.poll(() => new Poller()).remove(this.fd);
    libc().close(this.fd);
  }
}

/** Two ports that hand everything to each other's far side: what arrives at `a` leaves by `b`. */
async function rig(t: Test, options: RunOptions) {
  const context = createContext({
    pool: new DebugPool({ count: 1024 }),
    jumbo: new DebugPool({ count: 8, slot: JUMBO_SLOT }),
  });
  const engine = new Engine(context);
  const a = new EventPort('a');
  const b = new EventPort('b');
  t.teardown(() => engine.close());
  await engine.apply({
    a: { port: a, to: { out: 'b' } },
    b: { port: b, to: { out: 'a' } },
  });
  engine.start(options);
  return { context, engine, a, b };
}

/** Waits for a condition, so many turns of the event loop and 100 ticks at the most. */
async function until(condition: () => boolean): Promise<boolean> {
  for (let i = 0; i < 100 && !condition(); i++) await new Promise((resolve) => setTimeout(resolve, 10));
  return condition();
}

const native = ((): string | null => {
  try {
    libc();
    return null;
  } catch (error) {
    return (error as PortError).message;
  }
})();

if (native !== null) skip(t, native);
else {
  for (const [name, options] of [
    ['on the event loop', {}],
    ['blocking', { blocking: true }],
    ['blocking, asking busily first', { blocking: true, busyPoll: 200 }],
  ] as const) {
    t.test(`packets flow ${name}`, async (t) => {
      const { context, a, b } = await rig(t, options);
      for (const n of [1, 3, 64, 1000]) {
        const before = b.stats.txPackets;
        a.arrive(n);
        t.ok(await until(() => b.stats.txPackets === before + n), `${n} arrive while it sleeps`);
      }
      t.equal(context.pool.used, 0);
    });

    t.test(`timers, promises and ticks go on under load ${name}`, async (t) => {
      const { engine, a, b } = await rig(t, options);
      // Two packets that go round for ever: the engine always has something to do.
      a.sendsTo(b);
      b.sendsTo(a);
      let ticks = 0;
      engine.graph.ticking[0].tick = () => void ticks++;
      a.arrive(1);
      b.arrive(1);
      let turns = 0;
      const timer = setInterval(() => turns++, 1);
      t.teardown(() => clearInterval(timer));
      t.ok(await until(() => ticks >= 10 && turns >= 10), 'both run');
      const moved = a.stats.rxPackets;
      t.ok(await until(() => a.stats.rxPackets > moved + 100), 'and packets move');
    });
  }

  t.test('it asks busily only while packets come at short intervals', async (t) => {
    const { context, a, b } = await rig(t, { blocking: true, busyPoll: 300_000 });
    const poll = context.poll as Poller;
    let asked = 0;
    poll.giveWay = () => void asked++;
    const quiet = () => new Promise((resolve) => setTimeout(resolve, 1000));
    await quiet();
    t.equal(asked, 0, 'not before there are any');
    a.arrive(1);
    await until(() => b.stats.txPackets === 1);
    await quiet();
    t.equal(asked, 0, 'nor for the first after a long time');
    for (let i = 2; i <= 4; i++) {
      a.arrive(1);
      await until(() => b.stats.txPackets === i);
    }
    t.ok(asked > 0, 'several within 300 ms: yes');
    await quiet();
    const before = asked;
    await quiet();
    t.equal(asked, before, 'not for longer than that');
  });

  t.test('a port that is drained is not asked again', async (t) => {
    const { a, b } = await rig(t, { blocking: true });
    await until(() => a.drained);
    const before = a.receives;
    for (let i = 1; i <= 10; i++) {
      a.arrive(1);
      await until(() => b.stats.txPackets === i);
    }
    t.equal(a.receives - before, 10, 'once a packet');
  });

  t.test('an interruption gives the event loop its turn, and loses none before the wait', async (t) => {
    const eventfd = makeInterrupter();
    t.teardown(() => libc().close(eventfd));
    const poller = new Poller(eventfd);
    t.teardown(() => poller.close());
    t.equal(poller.active, true, 'it can be waited for with no other descriptor');
    t.equal(poller.interrupter, eventfd);
    interrupt(eventfd);
    t.equal(poller.wait(1000), true, 'interrupted before');
    t.equal(poller.wait(0), false, 'once');
    const port = new EventPort('port');
    let woken = 0;
    poller.add(port.fd, () => woken++);
    port.arrive(1);
    t.equal(poller.wait(1000), false);
    t.equal(woken, 1);
    poller.remove(port.fd);
    libc().close(port.fd);
    t.equal(poller.active, true, 'a lent eventfd keeps it open');
    poller.close();
    t.equal(poller.active, false);
  });

  t.test('with a port that no descriptor wakes it stays on the event loop', async (t) => {
    const { context, engine, a, b } = await rig(t, { blocking: true });
    const [near, far] = memoryPair();
    await far.open(testHost({ pool: context.pool, clock: context.clock }));
    await engine.apply({
      a: { port: a, to: { out: 'b' } },
      b: { port: b },
      near: { port: near, to: { out: 'b' } },
    });
    t.equal(engine.graph.watched, false);
    const batch = new Batch();
    for (let i = 1; i <= 5; i++) {
      batch.add(context.pool.take()!.set(new Uint8Array(60)));
      far.send(batch);
      t.ok(await until(() => b.stats.txPackets === 2 * i - 1));
      a.arrive(1);
      t.ok(await until(() => b.stats.txPackets === 2 * i));
    }
    await engine.apply({ a: { port: a, to: { out: 'b' } }, b: { port: b } });
    t.equal(engine.graph.watched, true, 'and blocks again without');
    a.arrive(1);
    t.ok(await until(() => b.stats.txPackets === 11));
    await engine.close();
    t.equal(context.pool.used, 0);
  });

  t.test('an engine that was stopped can be started again', async (t) => {
    const { engine, a, b } = await rig(t, { blocking: true });
    engine.stop();
    a.arrive(1);
    engine.start();
    t.ok(await until(() => b.stats.txPackets === 1));
    engine.stop();
    engine.start({ blocking: true });
    a.arrive(1);
    t.ok(await until(() => b.stats.txPackets === 2));
  });
}

/** A port at which so many packets wait, and that sends to nowhere. */
class FullPort implements Port {
  readonly name = 'full';
  readonly medium = ETHERNET;
  readonly mtu = 1514;
  readonly offloads = 0;
  readonly stats = new PortStats();
  onError: Port['onError'] = null;
  waiting: number;
  #host: PortHost | null = null;

  constructor(waiting: number) {
    this.waiting = waiting;
  }

  async open(host: PortHost): Promise<void> {
    this.#host = host;
    host.wake();
  }

  /** Has so many wait. */
  fill(waiting: number): void {
    this.waiting = waiting;
    this.#host!.wake();
  }

  receive(batch: Batch): number {
    for (; this.waiting > 0 && batch.length < BATCH; this.waiting--) {
      batch.add(this.#host!.pool.take()!.set(new Uint8Array(60)));
    }
    this.stats.received(60 * batch.length, batch.length);
    return batch.length;
  }

  send(batch: Batch): void {
    this.stats.sent(60 * batch.length, batch.length);
    batch.release();
  }

  async close(): Promise<void> {}
}

/** A clock that is a millisecond later whenever it is asked. */
class SteadyClock extends VirtualClock {
  override update(): void {
    this.advance(1);
  }
}

t.test('what an engine leaves behind when it is drained is counted', async (t) => {
  for (const [waiting, what] of [
    [1000, 'a little'],
    [200_000, 'more than can be carried in time'],
    [Number.POSITIVE_INFINITY, 'without end'],
  ] as const) {
    const pool = new DebugPool({ count: 1024 });
    const engine = new Engine(createContext({ pool, clock: new SteadyClock() }));
    const [port, out] = [new FullPort(waiting), new FullPort(0)];
    await engine.apply({
      port: { port, to: { out: 'queue' } },
      queue: node(Queue, { capacity: 256 }, { out: 'out' }),
      out: { port: out },
    });
    engine.drain();
    const dropped = port.stats.droppedFor(CLOSED);
    t.equal(out.stats.txPackets + dropped, port.stats.rxPackets, `${what}: all is carried or counted`);
    t.ok(out.stats.txPackets >= 1000);
    t.equal(dropped > 0, waiting > 1000, 'what there is no time for is dropped');
    if (waiting < Number.POSITIVE_INFINITY) t.equal(port.waiting, 0, 'nothing waits any more');
    t.equal(pool.used, 0);

    const before = out.stats.txPackets;
    port.fill(1);
    while (engine.step() > 0);
    t.equal(out.stats.txPackets, before + 1, 'an engine that goes on carries again');
    await engine.close();
  }
});

t.test('options that make no sense are refused', async (t) => {
  const engine = new Engine(createContext({ pool: new DebugPool({ count: 8 }) }));
  for (const busyPoll of [-1, 1.5, 1_000_001, Number.NaN]) {
    t.throws(() => engine.start({ busyPoll }), {
      name: 'RangeError',
      message: `"busyPoll" expected an integer 0..1000000, got ${busyPoll}`,
    });
  }
});
