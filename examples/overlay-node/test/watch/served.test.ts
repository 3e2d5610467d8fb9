/** Streams over the control socket, as the command line reads them; and a dataplane with real devices. */
import { join } from 'node:path';
import { silent } from 'packetweave';
import { readCapture } from 'packetweave/codecs/capture-reader';
import t, { type Test } from 'tap';
import { freePort } from '../../../../test/gen/free-port.ts';
import { Namespaces } from '../../../../test/gen/netns.ts';
import { has, noNamespaces, noNative, skip } from '../../../../test/gen/skip.ts';
import type { TraceLine } from '../../api/api.ts';
import { type Daemon, serveControl } from '../../api/server.ts';
import { toText } from '../../cli/capture.ts';
import { Client } from '../../cli/client.ts';
import { eachLine } from '../../cli/trace.ts';
import type { NetworkView } from '../../control/control.ts';
import type { Network } from '../../control/model.ts';
import type { Dataplane } from '../../daemon/dataplane.ts';
import { WorkerDataplane } from '../../daemon/worker-dataplane.ts';
import { capture } from '../../watch/capture.ts';
import type { Views } from '../../watch/names.ts';
import { stats } from '../../watch/stats.ts';
import { trace } from '../../watch/trace.ts';
import { folder, rig, until } from './rig.ts';

/** Serves captures and traces of a dataplane. `watching` says how many run. */
async function serve(t: Test, dataplane: Dataplane, views: () => Views, node: string) {
  let watching = 0;
  const counted: Pick<Dataplane, 'capture' | 'trace'> = {
    capture: async (request, onBytes) => {
      const running = await dataplane.capture(request, onBytes);
      watching++;
      void running.ended.then(() => watching--);
      return running;
    },
    trace: async (onDrops, options) => {
      const running = await dataplane.trace(onDrops, options);
      watching++;
      return { stop: () => running.stop().then(() => void watching--) };
    },
  };
  const daemon: Pick<Daemon, 'capture' | 'trace'> = {
    capture: (query, signal) =>
      capture({ dataplane: counted, views: views(), node, log: silent }, query, signal),
    trace: (query, signal) => trace({ dataplane: counted, views, node, now: () => 7 }, query, signal),
  };
  const socket = join(folder(t), 'control.sock');
  const server = await serveControl(daemon as Daemon, socket);
  t.teardown(() => server.close());
  return { client: new Client(socket), watching: () => watching };
}

t.test('as the command line asks, until it goes away', async (t) => {
  const { nodes, network } = await rig(t, 2);
  const [a] = nodes;
  await network({ name: 'app' });
  const { client, watching } = await serve(t, a.dataplane, () => a.control.views, a.control.node.id);

  const end = new AbortController();
  const lines: string[] = [];
  const stream = await client.stream(['capture'], { what: 'web0' }, end.signal);
  const reading = toText(stream, (line) => lines.push(line), end.signal);
  await a.ping('web0', 'web1');
  await until(() => lines.some((line) => /ICMP echo reply/.test(line)));
  t.equal(watching(), 1);
  end.abort();
  await reading;
  await until(() => watching() === 0);

  const three: string[] = [];
  const some = await client.stream(['capture'], { what: 'app', count: 3 });
  const counting = toText(some, (line) => three.push(line), new AbortController().signal);
  while (three.length < 3) await a.ping('web0', 'web1');
  await counting;
  t.equal(three.length, 3);
  t.equal(watching(), 0);
  await t.rejects(client.stream(['capture'], { what: 'nope' }), { code: 'NOT_FOUND' });

  const over = new AbortController();
  const told: TraceLine[] = [];
  // Nothing is dropped yet: who asks is not kept waiting for that.
  const drops = await client.stream(['trace'], {}, over.signal);
  const tracing = eachLine(drops, over.signal, (line) => void told.push(JSON.parse(line) as TraceLine));
  a.host('web0').sendFrame(
    Buffer.from(`ffffffffffff020000000099080600010800060400010200000000990a000063${'00'.repeat(10)}`, 'hex'),
  );
  await until(() => told.length === 1);
  t.match(told, [{ where: 'app.guard', reason: 'spoofed-mac' }]);
  over.abort();
  await tracing;
  await until(() => watching() === 0);
});

t.test('a worker with devices', async (t) => {
  const reason = noNamespaces() ?? noNative() ?? (has('ping') ? null : 'ping is not installed');
  if (reason !== null) return skip(t, reason);
  const namespaces = new Namespaces(t);
  const places = ['one', 'two'].map((name) => namespaces.addQuiet(name));
  const local = { address: '127.0.0.1', dataPort: await freePort(), mtu: 1500, esp: null };
  const events = { log: silent, onPortBack: () => {}, onError: (error: Error) => t.fail(error.message) };
  const dataplane = await WorkerDataplane.start(local, events);
  t.teardown(() => dataplane.stop());
  const ids = ['a', 'b'].map((digit) => digit.repeat(64));
  const ports = places.map((namespace, n) => ({
    ...{ device: 'eth0', namespace, id: ids[n], mac: `02:42:0a:00:00:0${n + 2}` },
    ...{ addresses: [`10.0.0.${n + 2}`], ports: [], router: false },
  }));
  const carried = {
    vni: 77,
    mtu: null,
    encrypted: false,
    remotes: [],
    endpoints: [],
    ports,
    learning: false,
  };
  await dataplane.apply([carried]);
  for (const [n, name] of ['one', 'two'].entries()) {
    namespaces.run(name, `ip addr add 10.0.0.${n + 2}/24 dev eth0`);
    namespaces.run(name, 'ip link set eth0 up');
  }
  const endpoints = new Map(
    ids.map((id, n) => [id, { id, node: 'here', container: id, name: `web${n}` }] as const),
  );
  const network = { id: 'c'.repeat(64), name: 'app', vni: 77, subnets: [] as unknown } as Network;
  const views = new Map([['c', { network, endpoints, peers: [] } as unknown as NetworkView]]);
  const end = new AbortController();
  const parts = { dataplane, views, node: 'here', log: silent };
  const stream = await capture(parts, { what: 'web1' }, end.signal);
  t.match(namespaces.run('one', 'ping -c 2 -i 0.2 10.0.0.3'), / 0% packet loss/);
  end.abort();
  const bytes: Uint8Array[] = [];
  for await (const part of stream) bytes.push(part);
  const { packets, interfaces } = readCapture(Buffer.concat(bytes));
  t.same(
    interfaces.map(({ name }) => name),
    ['web1'],
  );
  t.ok(packets.length >= 4);
  const seen = stats({
    ports: await dataplane.ports(),
    drops: dataplane.drops(),
    views,
    node: 'here',
    at: 0,
  });
  t.match(seen.ports, [
    { name: 'underlay', network: null },
    { name: 'web0', network: 'app' },
    { name: 'web1', network: 'app' },
  ]);
});
