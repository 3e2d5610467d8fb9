import t from 'tap';
import { parse } from '../../../codecs/ip.ts';
import type { Received } from '../../../crypto/in-band.ts';
import { Batch } from '../../../lib/core/batch.ts';
import { KeyExchange } from '../../../lib/elements/key-exchange.ts';
import { DATAGRAM, ETHERNET, IP } from '../../../lib/io/port.ts';
import { VtepTable } from '../../../lib/tables/vtep.ts';
import { Collector, testContext } from '../../gen/context.ts';

const local = { address: parse('192.0.2.1'), port: 4500 };

/** Keys that want to send a message for each that comes. */
function setup(outcome: Received | null, more: object = {}) {
  const context = testContext();
  const vteps = new VtepTable();
  const peer = vteps.set({ address: parse('192.0.2.2'), port: 4501 });
  const heard: string[] = [];
  let mail: { peer: number; message: Uint8Array }[] = [];
  const keys = {
    tick: (now: number) => void heard.push(`tick ${now}`),
    receive(from: number, message: Uint8Array): Received | null {
      heard.push(`${from}: ${Buffer.from(message).toString('hex')}`);
      mail.push({ peer: from, message: Uint8Array.of(1, 2, 3) });
      return outcome;
    },
    collect() {
      const all = mail;
      mail = [];
      return all;
    },
  };
  const element = new KeyExchange(context, 'keys', { keys, vteps, medium: DATAGRAM, local, ...more });
  const out = new Collector();
  element.connect('out', out);
  const push = (...messages: Uint8Array[]) => {
    const batch = new Batch();
    for (const message of messages) {
      const p = context.pool.take()!.set(message);
      p.peer = peer;
      batch.add(p);
    }
    element.push(batch);
  };
  return { context, element, out, push, heard, keys, peer, mail: () => mail };
}

t.test('messages go in, and others out behind the marker', (t) => {
  const { context, element, out, push, heard, peer } = setup('learned');
  push(Uint8Array.of(7, 8), Uint8Array.of(9));
  element.tick(5);
  t.same(heard, [`${peer}: 0708`, `${peer}: 09`, 'tick 5']);
  t.same(out.frames(), ['00000000010203', '00000000010203']);
  t.same(
    out.packets.map((p) => p.peer),
    [peer, peer],
  );
  t.same(context.counters.snapshot(), { keys: { sent: 2, learned: 2 } });
  out.release();
  t.equal(context.pool.used, 0);
  t.end();
});

t.test('outer headers, where the port shows them', (t) => {
  const { context, out, push } = setup('answered', { medium: IP });
  push(Uint8Array.of(7));
  const [frame] = out.frames();
  t.equal(frame.length / 2, 20 + 8 + 4 + 3);
  t.equal(frame.slice(24, 40), 'c0000201c0000202', 'addresses');
  t.equal(frame.slice(44, 52), '1195000f', 'the far port 4501, and the length');
  out.release();
  t.equal(context.pool.used, 0);
  t.throws(() => setup('learned', { medium: ETHERNET }), { message: /"local.mac" expected the MAC address/ });
  t.end();
});

t.test('what is refused has a name', (t) => {
  const reasons: [Received | null, string][] = [
    ['malformed', 'drop.malformed'],
    ['forged', 'drop.forged'],
    ['ignored', 'ignored'],
    [null, 'drop.not-for-us'],
  ];
  for (const [outcome, name] of reasons) {
    const { context, out, push } = setup(outcome);
    push(Uint8Array.of(7));
    t.equal(context.counters.snapshot().keys[name], 1, name);
    out.release();
    t.equal(context.pool.used, 0);
  }
  t.end();
});

t.test('no packet is free, no peer is there, no room is in a packet', (t) => {
  const { context, element, out, keys } = setup('learned', { medium: IP });
  const send = (peer: number, bytes: number) => {
    const collect = keys.collect;
    keys.collect = () => [{ peer, message: new Uint8Array(bytes) }];
    element.tick(0);
    keys.collect = collect;
  };
  send(99, 10);
  send(0, 5000);
  const taken = Array.from({ length: 256 }, () => context.pool.take()!);
  send(0, 10);
  for (const p of taken) context.pool.give(p);
  t.same(context.counters.snapshot().keys, { 'drop.unknown-peer': 1, 'drop.too-big': 1, 'drop.pool-dry': 1 });
  t.equal(out.packets.length, 0);
  t.equal(context.pool.used, 0);
  t.end();
});

t.test('changed options are taken over, other keys are not', (t) => {
  const { element, keys } = setup('learned');
  const options = { keys, vteps: new VtepTable(), medium: DATAGRAM, local } as const;
  t.ok(element.configure(options));
  t.notOk(element.configure({ ...options, keys: { ...keys } }));
  t.end();
});
