import t from 'tap';
import { parse } from '../../../codecs/ip.ts';
import { Batch } from '../../../lib/core/batch.ts';
import { UNKNOWN_PEER } from '../../../lib/core/drop.ts';
import { MemoryUnderlay, memoryPair } from '../../../lib/io/memory.ts';
import { testContext, testHost } from '../../gen/context.ts';
import { type Bench, FarPort, portConformance, type Rig } from './conformance.ts';

async function pair(bench: Bench): Promise<Rig> {
  const [port, other] = memoryPair();
  const far = new FarPort(other, bench);
  await far.open();
  return {
    port,
    deliver: far.deliver,
    collect: far.collect,
    close: far.close,
    lost: () => other.stats.dropped,
  };
}

async function datagrams(bench: Bench): Promise<Rig> {
  const underlay = new MemoryUnderlay();
  const port = underlay.port('192.0.2.1');
  const other = underlay.port('192.0.2.2');
  const far = new FarPort(other, bench, other.peers.set({ address: parse('192.0.2.1'), port: 4789 }));
  port.peers.set({ address: parse('192.0.2.2'), port: 4789 });
  await far.open();
  return {
    port,
    deliver: far.deliver,
    collect: far.collect,
    close: far.close,
    lost: () => other.stats.dropped,
  };
}

portConformance(t, 'memory', pair, { copies: false });
portConformance(t, 'memory underlay', datagrams, { copies: false });

t.test('memory underlay: an address is one port only', async (t) => {
  const context = testContext();
  const underlay = new MemoryUnderlay();
  const host = testHost(context);
  const [a, again] = [underlay.port('2001:db8::1'), underlay.port('2001:db8:0::1')];
  await a.open(host);
  await t.rejects(again.open(host), { code: 'ADDRESS_IN_USE', message: /^2001:db8::1 has a port/ });
  await again.close();
  await t.rejects(
    again.open(host),
    { code: 'ADDRESS_IN_USE' },
    'closing one that is not open changes nothing',
  );
  await a.close();
  await again.open(host);
  await again.close();
});

t.test('memory underlay: what strangers send is dropped where it arrives', async (t) => {
  const context = testContext();
  const underlay = new MemoryUnderlay();
  const [a, b] = [underlay.port('192.0.2.1'), underlay.port('192.0.2.2')];
  const peer = a.peers.set({ address: parse('192.0.2.2'), port: 4789 });
  for (const port of [a, b]) await port.open(testHost(context));
  const far = new FarPort(a, context, peer);
  far.deliver([new Uint8Array(60)]);
  t.equal(b.receive(new Batch()), 0);
  t.equal(b.stats.droppedFor(UNKNOWN_PEER), 1);
  b.peers.set({ address: parse('192.0.2.1'), port: 4789 });
  far.deliver([new Uint8Array(60)]);
  t.equal(new FarPort(b, context).collect().length, 1, 'once it is known, it is a stranger no more');
  for (const port of [a, b]) await port.close();
  t.equal(context.pool.used, 0);
});
