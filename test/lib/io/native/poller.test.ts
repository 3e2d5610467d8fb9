/** Waiting for descriptors: eventfds, which the test makes readable when it wants. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import t, { type Test } from 'tap';
import * as c from '../../../../lib/io/native/constants.ts';
import { libc } from '../../../../lib/io/native/libc.ts';
import { Poller } from '../../../../lib/io/native/poller.ts';
import { Slab } from '../../../../lib/io/native/slab.ts';
import { openDescriptors } from '../../../gen/descriptors.ts';
import { turn } from '../../../gen/far-socket.ts';
import { noNative, skip } from '../../../gen/skip.ts';

/** A descriptor that can be made readable. */
class Bell {
  readonly fd = libc().eventfd(0, c.EFD_NONBLOCK | c.EFD_CLOEXEC);
  readonly #slab = new Slab(128);
  rung = 0;
  readonly wake = () => void this.rung++;

  ring(): void {
    this.#slab.view.setBigUint64(0, 1n, true);
    libc().write(this.fd, this.#slab.address(0), 8);
  }

  still(): void {
    libc().read(this.fd, this.#slab.address(0), 8);
  }

  close(): void {
    libc().close(this.fd);
  }
}

/** A poller that watches `count` bells. */
function watched(t: Test, count: number): { poller: Poller; bells: Bell[] } {
  const poller = new Poller();
  const bells = Array.from({ length: count }, () => new Bell());
  for (const bell of bells) poller.add(bell.fd, bell.wake);
  t.teardown(() => {
    for (const bell of bells) {
      poller.remove(bell.fd);
      bell.close();
    }
  });
  return { poller, bells };
}

/** Waits for a condition that another thread brings about, for some seconds at most. */
async function eventually(done: () => boolean): Promise<boolean> {
  for (let i = 0; i < 1000 && !done(); i++) await new Promise((resolve) => setTimeout(resolve, 5));
  return done();
}

function waits(): void {
  t.test('wakes those that can be read, as long as they can', async (t) => {
    const { poller, bells } = watched(t, 3);
    t.equal(poller.wait(0), false);
    bells[0].ring();
    bells[2].ring();
    t.equal(poller.wait(1000), false, 'not an interruption');
    t.same(
      bells.map(({ rung }) => rung),
      [1, 0, 1],
    );
    poller.wait(0);
    t.same(
      bells.map(({ rung }) => rung),
      [2, 0, 2],
    );
    bells[0].still();
    poller.remove(bells[2].fd);
    poller.wait(0);
    t.same(
      bells.map(({ rung }) => rung),
      [2, 0, 2],
      'neither what is still nor what was removed',
    );
    poller.remove(bells[2].fd);
  });

  t.test('2000 descriptors', async (t) => {
    const { poller, bells } = watched(t, 2000);
    for (let i = 0; i < 200; i++) {
      const bell = bells[(i * 37) % 2000];
      bell.ring();
      poller.wait(1000);
      if (bell.rung !== 1) t.fail(`descriptor ${bell.fd} was not told of`);
      bell.still();
    }
    for (const bell of bells) bell.ring();
    // Each wait tells of some, and no descriptor starves: the kernel goes round.
    for (let i = 0; i < 100; i++) poller.wait(0);
    t.ok(
      bells.every(({ rung }) => rung > 0),
      'all are told of when all can be read',
    );
  });

  t.test('an interruption ends a wait, now or the next', async (t) => {
    const { poller } = watched(t, 1);
    poller.interrupt();
    poller.interrupt();
    t.equal(poller.wait(10_000), true);
    t.equal(poller.wait(0), false, 'once');
  });

  t.test('another thread interrupts a wait', async (t) => {
    const { poller, bells } = watched(t, 1);
    const worker = new Worker(new URL('./interrupter.ts', import.meta.url));
    t.teardown(() => worker.terminate());
    await once(worker, 'message');
    for (let i = 0; i < 20; i++) {
      worker.postMessage(poller.interrupter);
      t.equal(poller.wait(10_000), true);
    }
    t.equal(bells[0].rung, 0);
  });

  t.test('signals end no wait with an error', async (t) => {
    const { poller, bells } = watched(t, 1);
    const nothing = () => {};
    process.on('SIGUSR2', nothing);
    t.teardown(() => process.off('SIGUSR2', nothing));
    const script = 'for i in 1 2 3 4 5 6 7 8 9 10; do kill -USR2 $PPID; sleep 0.01; done';
    const child = spawn('sh', ['-c', script]);
    const ended = once(child, 'exit');
    for (let i = 0; i < 10; i++) t.equal(poller.wait(20), false);
    await ended;
    bells[0].ring();
    poller.wait(1000);
    t.equal(bells[0].rung, 1);
  });

  t.test('nothing to wait for', async (t) => {
    const poller = new Poller();
    t.equal(poller.interrupter, -1);
    t.equal(poller.wait(10_000), false, 'returns at once');
    poller.arm();
    poller.interrupt();
    poller.remove(99);
    t.throws(() => poller.add(-1, () => {}), { name: 'PortError', message: /cannot be watched/ });
    poller.remove(-1);
  });
}

function arms(): void {
  t.test('waiting beside the event loop', async (t) => {
    const { poller, bells } = watched(t, 2);
    poller.arm();
    poller.arm();
    await turn();
    t.equal(bells[0].rung, 0);
    bells[0].ring();
    t.ok(await eventually(() => bells[0].rung > 0), 'is woken on the event loop');
    await new Promise((resolve) => setTimeout(resolve, 150));
    t.equal(bells[0].rung, 1, 'once');
    bells[0].still();
    poller.arm();
    bells[1].ring();
    t.ok(await eventually(() => bells[1].rung > 0), 'and again when it is armed again');
  });

  t.test('a descriptor that is added while it waits, and one that is removed', async (t) => {
    const { poller, bells } = watched(t, 1);
    poller.arm();
    const late = new Bell();
    poller.add(late.fd, late.wake);
    late.ring();
    t.ok(await eventually(() => late.rung > 0));
    late.still();
    poller.arm();
    poller.remove(late.fd);
    late.close();
    bells[0].ring();
    t.ok(await eventually(() => bells[0].rung > 0));
  });

  t.test('leaves no descriptor, also where it still waits when the last goes', async (t) => {
    const before = openDescriptors();
    for (let i = 0; i < 20; i++) {
      const poller = new Poller();
      const bell = new Bell();
      poller.add(bell.fd, bell.wake);
      if (i % 2 === 0) poller.arm();
      poller.remove(bell.fd);
      bell.close();
    }
    t.ok(await eventually(() => openDescriptors() === before));
    t.equal(openDescriptors(), before);
  });

  t.test('is used again after the last descriptor went', async (t) => {
    const poller = new Poller();
    for (let i = 0; i < 5; i++) {
      const bell = new Bell();
      poller.add(bell.fd, bell.wake);
      poller.arm();
      bell.ring();
      t.ok(await eventually(() => bell.rung > 0), `round ${i}`);
      poller.remove(bell.fd);
      bell.close();
    }
  });
}

const reason = noNative();
if (reason !== null) skip(t, reason);
else {
  waits();
  arms();
}
