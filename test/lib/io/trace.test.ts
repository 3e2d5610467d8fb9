import t from 'tap';
import { fromHex } from '../../../codecs/bytes.ts';
import { parse } from '../../../codecs/ip.ts';
import { MemoryUnderlay, memoryPair } from '../../../lib/io/memory.ts';
import { IP, type Port } from '../../../lib/io/port.ts';
import { PortTrace } from '../../../lib/io/wrap/trace.ts';
import { testContext } from '../../gen/context.ts';
import { type Bench, FarPort, portConformance, type Rig } from './conformance.ts';

async function traced(bench: Bench): Promise<Rig> {
  const [inner, other] = memoryPair();
  const far = new FarPort(other, bench);
  await far.open();
  const port = new PortTrace(inner, { write() {}, limit: Number.POSITIVE_INFINITY });
  return {
    port,
    deliver: far.deliver,
    collect: far.collect,
    close: far.close,
    lost: () => other.stats.dropped,
  };
}

portConformance(t, 'trace', traced, { copies: false });

/** An IPv4 packet: UDP from 10.0.0.1 port 12345 to 10.0.0.2 port 9, without payload. */
const PACKET = fromHex('4500001c00010000401166ce0a0000010a000002 3039000900080000');
/** The same in Ethernet. */
const FRAME = fromHex(`020000000002 020000000001 0800 ${Buffer.from(PACKET).toString('hex')}`);

/** Sends a frame each way through a traced port and returns the lines. */
async function lines(inner: Port, other: Port, frame: Uint8Array, limit = 100): Promise<string[]> {
  const context = testContext();
  const out: string[] = [];
  const port = new PortTrace(inner, { write: (line) => out.push(line), limit });
  const [here, far] = [new FarPort(port, context), new FarPort(other, context)];
  await here.open();
  await far.open();
  context.clock.advance(12345);
  here.deliver([frame]);
  far.collect();
  context.clock.advance(5);
  far.deliver([frame]);
  here.collect();
  await port.close();
  here.deliver([frame]);
  await far.close();
  t.equal(context.pool.used, 0);
  return out;
}

t.test('one line a packet, in both directions', async (t) => {
  const text = 'IP 10.0.0.1.12345 > 10.0.0.2.9: UDP, length 0';
  const wanted = (name: string, out = text, into = text) => [
    `12.345000 ${name} out ${out}`,
    `12.350000 ${name} in ${into}`,
  ];
  t.same(await lines(...memoryPair({ name: 'eth' }), FRAME), wanted('eth.a'));
  t.same(await lines(...memoryPair({ name: 'tun', medium: IP }), PACKET), wanted('tun.a'));

  const underlay = new MemoryUnderlay();
  const [a, b] = [underlay.port('192.0.2.1'), underlay.port('192.0.2.2')];
  a.peers.set({ address: parse('192.0.2.2'), port: 4789 });
  b.peers.set({ address: parse('192.0.2.1'), port: 4789 });
  const datagram = fromHex(`08000000 00006400 ${Buffer.from(FRAME).toString('hex')}`);
  const vxlan = `192.0.2.2: VXLAN, flags [I] (0x08), vni 100: ${text}`;
  t.same(await lines(a, b, datagram), wanted('192.0.2.1', vxlan, vxlan));
  const other = '192.0.2.2: UDP, length 34';
  t.same(await lines(a, b, datagram.slice(0, 34).fill(0)), wanted('192.0.2.1', other, other));
});

t.test('it falls silent after its limit, and looks at what it is told to', async (t) => {
  t.equal((await lines(...memoryPair(), FRAME, 1)).length, 1);
  t.equal((await lines(...memoryPair(), FRAME, 0)).length, 0);
  const [inner, other] = memoryPair();
  const context = testContext();
  const out: string[] = [];
  const port = new PortTrace(inner, { write: (line) => out.push(line), filter: (p) => p.length === 60 });
  const [here, far] = [new FarPort(port, context), new FarPort(other, context)];
  await here.open();
  await far.open();
  here.deliver([new Uint8Array(60), new Uint8Array(61)]);
  t.equal(far.collect().length, 2, 'all are sent');
  t.equal(out.length, 1);
  await port.close();
  await far.close();
  t.throws(() => new PortTrace(inner, { write() {}, limit: -1 }), {
    message: '"limit" expected an integer of at least 0, got -1',
  });
});

t.test('wrappers stack, and the wrapped port shines through', async (t) => {
  const [inner, other] = memoryPair({ name: 'x', mtu: 900 });
  let failed = '';
  inner.onError = (error) => (failed = error.message);
  const port = new PortTrace(new PortTrace(inner, { write() {} }), { write() {} });
  t.same([port.name, port.mtu, port.medium, port.offloads], [inner.name, 900, inner.medium, 0]);
  t.equal(port.stats, inner.stats);
  t.notOk('peers' in port);
  inner.onError(Object.assign(new Error('gone'), { code: 'IO' as const, name: 'PortError' as const }));
  t.equal(failed, 'gone', 'who listened before still hears');
  await other.close();
});
