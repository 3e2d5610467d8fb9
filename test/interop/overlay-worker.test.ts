/**
 * Real network stacks on an overlay in a worker: TAP devices in network namespaces of their own, with the kernel's ping
 * on both ends.
 */
import { existsSync, readdirSync } from 'node:fs';
import { OverlayWorker, type OverlayWorkerOptions, type WorkerConfig } from 'packetweave';
import t, { type Test } from 'tap';
import type { PortError } from '../../lib/io/port.ts';
import { Namespaces } from '../gen/netns.ts';
import { noNamespaces, skip } from '../gen/skip.ts';

const PORT = 16000 + (process.pid % 1500) * 2;

/** The TAP of a namespace. */
function tap(namespaces: Namespaces, name: string) {
  return { kind: 'tap', name: `tap-${name}`, mtu: 1400, namespace: namespaces.real(name) } as const;
}

/** A network of the TAPs of these namespaces, on host 127.0.0.n. */
function network(
  namespaces: Namespaces,
  names: readonly string[],
  n = 1,
  remotes: readonly string[] = [],
): WorkerConfig {
  return {
    local: { address: `127.0.0.${n}`, port: PORT },
    networks: [{ vni: 42, remotes, ports: names.map((name) => ({ port: tap(namespaces, name) })) }],
  };
}

/** Gives the TAP of a namespace the address 10.0.0.n, and a MAC that it has again when it is made anew: the kernel
 * keeps a neighbor's MAC for a second whatever it hears (`neigh/locktime`). */
function address(namespaces: Namespaces, name: string, n: number): void {
  namespaces.run(name, `ip link set tap-${name} address 02:00:00:00:00:0${n}`);
  namespaces.run(name, `ip addr add 10.0.0.${n}/24 dev tap-${name}`);
}

async function start(
  t: Test,
  config: WorkerConfig,
  options: OverlayWorkerOptions = {},
): Promise<OverlayWorker> {
  const node = await OverlayWorker.start(config, options);
  t.teardown(() => node.stop());
  return node;
}

function two(t: Test): Namespaces {
  const namespaces = new Namespaces(t);
  for (const name of ['a', 'b']) namespaces.add(name);
  return namespaces;
}

/** Bytes of answers that may wait for ping: the daemon stands still for a moment while a device comes or goes. */
const BUFFER = 1 << 20;

/** Pings from a namespace and returns how many were lost. */
async function lost(namespaces: Namespaces, name: string, to: number, count: number): Promise<number> {
  const command = `ping -n -q -c ${count} -i 0.002 -W 2 -S ${BUFFER} 10.0.0.${to}`;
  const { text } = await namespaces.attempt(name, command);
  const [, sent, received] = /(\d+) packets transmitted, (\d+) received/.exec(text) ?? [];
  return sent === undefined ? count : Number(sent) - Number(received);
}

async function until(condition: () => boolean | Promise<boolean>): Promise<boolean> {
  for (let i = 0; i < 3000 && !(await condition()); i++)
    await new Promise((resolve) => setTimeout(resolve, 10));
  return condition();
}

const open = (what: 'fd' | 'task') => readdirSync(`/proc/self/${what}`).length;

const reason = noNamespaces() ?? (existsSync('/dev/net/tun') ? null : 'there is no /dev/net/tun');
if (reason !== null) skip(t, reason);
else {
  for (const options of [{}, { busyPoll: 50 }]) {
    t.test(`two TAP devices reach each other: ${JSON.stringify(options)}`, async (t) => {
      const namespaces = two(t);
      const before = { fd: open('fd'), task: open('task') };
      const node = await start(t, network(namespaces, ['a', 'b']), options);
      address(namespaces, 'a', 1);
      address(namespaces, 'b', 2);
      t.equal(await lost(namespaces, 'a', 2, 1000), 0, '1000 pings lose nothing');
      t.same(node.drops(), {});
      t.ok(node.counters()['42.tap-a']['rx.packets'] >= 1000);
      await node.stop();
      t.notMatch(namespaces.run('a', 'ip link show'), /tap-a/, 'the device is gone');
      t.ok(await until(() => open('fd') <= before.fd), 'no descriptor is left');
      t.ok(await until(() => open('task') <= before.task), 'no thread is left');
    });
  }

  t.test('the description changes while traffic runs', async (t) => {
    const namespaces = two(t);
    namespaces.add('c');
    const node = await start(t, network(namespaces, ['a', 'b']));
    address(namespaces, 'a', 1);
    address(namespaces, 'b', 2);
    const pings = lost(namespaces, 'a', 2, 1000);
    for (let i = 0; i < 5; i++) {
      await node.apply(network(namespaces, ['a', 'b', 'c']));
      address(namespaces, 'c', 3);
      t.equal(await lost(namespaces, 'c', 1, 3), 0, 'a device that came is reached');
      await node.apply(network(namespaces, ['a', 'b']));
      t.notMatch(namespaces.run('c', 'ip link show'), /tap-c/, 'and goes');
    }
    t.equal(await pings, 0, 'nobody else noticed');
    t.same(node.drops(), {});
  });

  t.test('a device that is deleted under traffic is made anew', async (t) => {
    const namespaces = two(t);
    namespaces.add('c');
    const failed: PortError[] = [];
    const back: string[] = [];
    const node = await start(t, network(namespaces, ['a', 'b', 'c']), {
      onPortError: (_name, error) => failed.push(error),
      onPortBack: (name) => back.push(name),
    });
    for (const [i, name] of ['a', 'b', 'c'].entries()) address(namespaces, name, i + 1);
    const others = lost(namespaces, 'a', 3, 1000);
    const flood = lost(namespaces, 'a', 2, 1000);
    t.equal(await lost(namespaces, 'b', 1, 3), 0);
    namespaces.run('b', 'ip link del tap-b');
    t.ok(await until(() => failed.length === 1), 'it is told');
    t.match(failed, [{ name: 'PortError', code: 'NO_SUCH_DEVICE', message: '"tap-b" was deleted' }]);
    await node.apply(network(namespaces, ['a', 'b', 'c']));
    t.ok(await until(() => back.length === 1), 'and that it is back');
    t.same(back, ['42.tap-b']);
    address(namespaces, 'b', 2);
    t.equal(await lost(namespaces, 'b', 1, 10), 0, 'it carries again');
    t.equal(await others, 0, 'the others noticed nothing');
    await flood;
    const { 'rx.packets': received } = node.counters()['42.tap-b'];
    t.ok(received > 10, 'its counters go on');
  });

  t.test('a device that goes down loses what is sent to it, and no more', async (t) => {
    const namespaces = two(t);
    const failed: PortError[] = [];
    const node = await start(t, network(namespaces, ['a', 'b']), {
      onPortError: (_name, error) => failed.push(error),
    });
    address(namespaces, 'a', 1);
    address(namespaces, 'b', 2);
    t.equal(await lost(namespaces, 'a', 2, 3), 0);
    namespaces.run('b', 'ip link set tap-b down');
    t.equal(await lost(namespaces, 'a', 2, 3), 3);
    namespaces.run('b', 'ip link set tap-b up');
    t.equal(await lost(namespaces, 'a', 2, 10), 0);
    t.same(failed, []);
    t.same(Object.keys(node.drops()), ['port-error']);
  });

  for (const encrypted of [false, true]) {
    t.test(`two workers, joined by ${encrypted ? 'ESP' : 'UDP'}`, async (t) => {
      const namespaces = two(t);
      const esp = { secret: 'a secret that is long enough', port: PORT + 1 };
      const host = (n: number, name: string): WorkerConfig => {
        const { networks } = network(namespaces, [name], n, [`127.0.0.${3 - n}`]);
        return {
          local: { address: `127.0.0.${n}`, port: PORT, ...(encrypted && { esp }) },
          networks: [{ ...networks[0], encrypted }],
        };
      };
      const a = await start(t, host(1, 'a'));
      const b = await start(t, host(2, 'b'));
      address(namespaces, 'a', 1);
      address(namespaces, 'b', 2);
      const ready = async (node: OverlayWorker) => (await node.encryptedPeers()).every((peer) => peer.ready);
      t.ok(
        await until(async () => (await ready(a)) && (await ready(b))),
        'there are keys where there must be',
      );
      t.equal(await lost(namespaces, 'a', 2, 500), 0, '500 pings lose nothing');
      await a.stop();
      t.ok((await lost(namespaces, 'b', 1, 3)) > 0, 'nobody answers when the other has stopped');
      await b.stop();
    });
  }
}
