import t from 'tap';
import { DockerKeys, dockerSpi } from '../../../crypto/docker.ts';
import { noble } from '../../../crypto/providers/noble.ts';
import { InboundSa, OutboundSa } from '../../../crypto/sa.ts';
import { Sad } from '../../../crypto/sad.ts';
import * as drops from '../../../lib/core/drop.ts';
import { GSO_UDP_L4, NONE, type Packet } from '../../../lib/core/packet.ts';
import { EspOpen } from '../../../lib/elements/esp-open.ts';
import { type Carrier, EspSeal } from '../../../lib/elements/esp-seal.ts';
import { DATAGRAM, ETHERNET, IP, type Medium } from '../../../lib/io/port.ts';
import { VtepTable } from '../../../lib/tables/vtep.ts';
import { Collector, testContext } from '../../gen/context.ts';
import { FAMILIES, type Family, packetOf, pushAll, vtep, vtepsOf } from './tunnel.ts';

const ALGORITHM = 'aes-128-gcm' as const;
const keymat = (n: number) => new Uint8Array(20).fill(n);

/** Two hosts, 1 and 2; each knows the other as peer 0. */
function setup(medium: Medium = DATAGRAM, carrier: Carrier = 'udp', family: Family = 4, options = {}) {
  const context = testContext({ count: 64 });
  const lines: string[] = [];
  const log = { ...context.log, warn: (line: string) => void lines.push(line) };
  const shared = { ...context, log };
  const [sadA, sadB] = [new Sad(16), new Sad(16)];
  const spi = 0x1234;
  const common = { spi, peer: 0, provider: noble, algorithm: ALGORITHM };
  sadA.setOutbound(new OutboundSa({ ...common, keymat: keymat(7), ...options }));
  sadB.set(new InboundSa({ ...common, keymat: keymat(7), ...options }));
  const rekeys: number[] = [];
  const side = (n: number, other: number, sad: Sad) => ({
    sad,
    vteps: vtepsOf([other], family),
    medium,
    local: vtep(n, family),
    carrier,
    onRekey: (peer: number) => void rekeys.push(peer),
  });
  const seal = new EspSeal(shared, 'seal', side(1, 2, sadA));
  const open = new EspOpen(shared, 'open', side(2, 1, sadB));
  const [sealed, opened, control] = [new Collector(), new Collector(), new Collector()];
  seal.connect('out', sealed);
  open.connect('out', opened);
  open.connect('control', control);
  const payload = (length: number) => Uint8Array.from({ length }, (_, i) => (i * 7) & 0xff);
  return {
    context,
    lines,
    sadA,
    sadB,
    rekeys,
    seal,
    open,
    sealed,
    opened,
    control,
    payload,
    /** Seals one payload and returns what leaves. */
    sealOne(length = 100, change?: (p: Packet) => void): Packet | undefined {
      const p = packetOf(context.pool, payload(length));
      p.peer = 0;
      change?.(p);
      pushAll(seal, [p]);
      return sealed.packets.pop();
    },
    /** What an opened copy of a packet becomes; the packet itself stays the caller's. */
    openCopy(p: Packet, change: (copy: Packet) => void = () => {}): Packet | undefined {
      const copy = context.pool.clone(p)!;
      if (medium === DATAGRAM) copy.peer = 0;
      change(copy);
      pushAll(open, [copy]);
      return opened.packets.pop();
    },
    done(p?: Packet): number {
      if (p !== undefined) context.pool.give(p);
      for (const c of [sealed, opened, control]) c.release();
      return context.pool.used;
    },
  };
}

t.test('what is sealed is opened, on every medium, carrier and family', async (t) => {
  for (const family of FAMILIES) {
    for (const [medium, carrier] of [
      [DATAGRAM, 'udp'],
      [IP, 'udp'],
      [IP, 'ip'],
      [ETHERNET, 'udp'],
      [ETHERNET, 'ip'],
    ] as const) {
      const s = setup(medium, carrier, family);
      let same = 0;
      for (let length = 22; length < 122; length++) {
        const p = s.sealOne(length)!;
        const wire = Buffer.from(p.frame()).toString('hex');
        if (wire.includes(Buffer.from(s.payload(length)).toString('hex').slice(0, 32))) t.fail('clear text');
        s.context.pool.give(p);
        const again = packetOf(s.context.pool, Buffer.from(wire, 'hex'));
        again.peer = medium === DATAGRAM ? 0 : -1;
        pushAll(s.open, [again]);
        const opened = s.opened.packets.pop();
        if (opened && Buffer.compare(opened.frame(), s.payload(length)) === 0 && opened.peer === 0) same++;
        if (opened) s.context.pool.give(opened);
      }
      t.equal(same, 100, `IPv${family}, medium ${medium}, ${carrier}`);
      t.equal(s.done(), 0);
    }
  }
});

t.test('nothing leaves in clear', async (t) => {
  const s = setup();
  t.equal(
    s.sealOne(100, (p) => void (p.peer = 1)),
    undefined,
  );
  t.equal(s.seal.dropped(drops.NO_SA), 1, 'no key');
  t.equal(
    s.sealOne(100, (p) => {
      p.gsoType = GSO_UDP_L4;
    }),
    undefined,
  );
  t.equal(s.seal.dropped(drops.MALFORMED), 1, 'a train, which nobody seals');
  t.equal(s.sealOne(2048 - 192 - 10), undefined);
  t.equal(s.seal.dropped(drops.TOO_BIG), 1, 'no room');
  s.sadA.outbound(0)!.close();
  t.equal(s.sealOne(), undefined);
  t.equal(s.seal.dropped(drops.NO_SA), 2, 'a key that was closed');
  t.equal(s.done(), 0);

  const short = setup(DATAGRAM, 'udp', 4, { softPackets: 2, hardPackets: 3 });
  const results = [1, 2, 3, 4, 5].map(() => short.sealOne());
  t.same(
    results.map((p) => p !== undefined),
    [true, true, true, false, false],
  );
  t.same(short.rekeys, [0], 'a new key is asked for once');
  t.equal(short.seal.dropped(drops.SEQUENCE_EXHAUSTED), 2);
  for (const p of results) if (p) short.context.pool.give(p);
  t.equal(short.done(), 0);
});

t.test('each refusal has its counter', async (t) => {
  const s = setup();
  const p = s.sealOne()!;
  const refused = (reason: drops.Drop, change: (copy: Packet) => void): boolean => {
    const before = s.open.dropped(reason);
    const opened = s.openCopy(p, change);
    if (opened) s.context.pool.give(opened);
    return opened === undefined && s.open.dropped(reason) === before + 1;
  };
  t.ok(refused(drops.UNKNOWN_PEER, (c) => void (c.peer = -1)));
  t.ok(
    refused(drops.UNKNOWN_SPI, (c) => void (c.peer = 1)),
    'the SPI of another peer',
  );
  t.ok(refused(drops.UNKNOWN_SPI, (c) => c.view.setUint32(c.start, 0x4321)));
  t.ok(refused(drops.MALFORMED, (c) => c.end--));
  t.ok(refused(drops.MALFORMED, (c) => void (c.end = c.start + 3)));
  t.ok(refused(drops.MALFORMED, (c) => void (c.end = c.start + 7)));
  let flipped = 0;
  for (let bit = 64; bit < p.length * 8; bit++) {
    const flip = (c: Packet) => void (c.bytes[c.start + (bit >> 3)] ^= 0x80 >> (bit & 7));
    if (refused(drops.BAD_ICV, flip)) flipped++;
  }
  t.equal(flipped, p.length * 8 - 64, 'every bit behind SPI and sequence number');
  const right = s.openCopy(p)!;
  t.equal(Buffer.compare(right.frame(), s.payload(100)), 0, 'the packet itself is good, once');
  s.context.pool.give(right);
  t.ok(refused(drops.REPLAYED, () => {}));
  t.ok(s.lines.length >= 4 && s.lines.length < 10, 'the log hears of each kind, not of each packet');
  t.match(s.lines[0], /dropped a packet from/);
  t.equal(s.done(p), 0);
});

t.test('what is left of the window', async (t) => {
  // An extended number says nothing about age: what is left of the window is taken for a number 2^32 later,
  // and its ICV cannot be right (RFC 4303 appendix A2.2).
  for (const [esn, reason] of [
    [true, drops.BAD_ICV],
    [false, drops.TOO_OLD],
  ] as const) {
    const s = setup(DATAGRAM, 'udp', 4, { esn, window: 64 });
    const old = s.sealOne()!;
    for (let i = 0; i < 64; i++) {
      const later = s.sealOne()!;
      const opened = s.openCopy(later)!;
      s.context.pool.give(later);
      s.context.pool.give(opened);
    }
    t.equal(s.openCopy(old), undefined);
    t.equal(s.open.dropped(reason), 1, esn ? 'with extended numbers' : 'without');
    t.equal(s.done(old), 0);
  }
});

t.test('what shares the port with ESP', async (t) => {
  const s = setup();
  const push = (...bytes: number[]) => {
    const p = packetOf(s.context.pool, Uint8Array.from(bytes));
    p.peer = 0;
    pushAll(s.open, [p]);
  };
  push(0xff);
  t.equal(s.context.counters.get('open', 'keepalives'), 1);
  push(0, 0, 0, 0, 1, 2, 3);
  t.same(s.control.frames(), ['010203']);
  push(0, 0);
  push();
  t.equal(s.open.dropped(drops.MALFORMED), 2);
  t.equal(s.done(), 0);
});

t.test("Docker's keys: IP protocol 50, an ICV of 8 bytes, SPIs that both ends compute", async (t) => {
  for (const family of FAMILIES) {
    const context = testContext({ count: 16 });
    const side = (n: number, other: number) => {
      const local = vtep(n, family);
      const sad = new Sad(16);
      const keys = new DockerKeys({ provider: noble, sad, local: local.address });
      keys.set(
        [1, 2, 3].map((tag) => ({ tag, key: new Uint8Array(16).fill(tag) })),
        2,
      );
      keys.add(0, vtep(other, family).address);
      return { sad, vteps: vtepsOf([other], family), medium: IP as Medium, local, carrier: 'ip' as const };
    };
    const seal = new EspSeal(context, 'seal', side(1, 2));
    const open = new EspOpen(context, 'open', side(2, 1));
    const [sealed, opened] = [new Collector(), new Collector()];
    seal.connect('out', sealed);
    open.connect('out', opened);
    const p = packetOf(
      context.pool,
      Uint8Array.from({ length: 100 }, (_, i) => i),
    );
    p.peer = 0;
    pushAll(seal, [p]);
    const [q] = sealed.packets;
    const at = q.start + (family === 4 ? 20 : 40);
    t.equal(q.view.getUint8(q.start + (family === 4 ? 9 : 6)), 50);
    t.equal(q.view.getUint32(at), dockerSpi(vtep(1, family).address, vtep(2, family).address, 2));
    // Header and IV, UDP, the payload, padding to a multiple of four with its length and what it is, ICV.
    t.equal(q.end - at, 16 + 8 + 100 + 4 + 8);
    q.peer = NONE;
    pushAll(open, sealed.packets.splice(0));
    t.same(
      [...opened.packets[0].frame()],
      Array.from({ length: 100 }, (_, i) => i),
    );
    opened.release();
    t.equal(context.pool.used, 0);
  }
});

t.test('a quiet peer gets a keepalive, over UDP', async (t) => {
  for (const [medium, carrier, wanted] of [
    [DATAGRAM, 'udp', 3],
    [IP, 'udp', 3],
    [ETHERNET, 'udp', 3],
    [IP, 'ip', 0],
  ] as const) {
    const s = setup(medium, carrier);
    const { clock, pool, counters } = s.context;
    const pass = (ms: number) => {
      for (let i = 0; i < ms; i += 10) {
        clock.advance(10);
        s.seal.tick(clock.now);
      }
    };
    pass(19_990);
    pool.give(s.sealOne()!);
    pass(19_990);
    t.equal(s.sealed.packets.length, 0, 'not while something is sent');
    pass(60_000);
    t.equal(s.sealed.packets.length, wanted, `one every 20 s by ${carrier}`);
    for (const k of s.sealed.packets) t.equal(s.openCopy(k), undefined);
    t.equal(counters.get('open', 'keepalives'), wanted, 'which the other side swallows');
    t.equal(counters.get('seal', 'keepalives'), wanted);
    t.equal(s.open.dropped(drops.MALFORMED), 0);
    s.sadA.removeOutbound(0);
    pass(60_000);
    t.equal(s.sealed.packets.length, wanted, 'none without a key');
    t.equal(s.done(), 0);
  }
});

t.test('keepalives wait for the pool, and take turns', async (t) => {
  const peers = 200;
  const context = testContext({ count: 2 });
  const sad = new Sad(1);
  const vteps = new VtepTable(peers);
  const common = { provider: noble, algorithm: ALGORITHM, keymat: keymat(1), spi: 256 };
  for (let i = 0; i < peers; i++) {
    const peer = vteps.set(vtep(i + 2, 4));
    sad.setOutbound(new OutboundSa({ ...common, peer }));
  }
  const seal = new EspSeal(context, 'seal', { sad, vteps, medium: DATAGRAM, local: vtep(1, 4) });
  const out = new Collector();
  seal.connect('out', out);
  const seen = new Set<number>();
  let most = 0;
  for (let now = 20_000; now < 25_000; now += 10) {
    seal.tick(now);
    most = Math.max(most, out.packets.length);
    for (const { peer } of out.packets) seen.add(peer);
    out.release();
  }
  t.equal(most, context.pool.count, 'no more than there are packets');
  t.equal(seen.size, peers);
  t.equal(context.counters.get('seal', 'keepalives'), peers, 'one each');
  t.equal(context.pool.used, 0);
});

t.test('wrong options', async (t) => {
  t.throws(() => setup(DATAGRAM, 'ip'), {
    message: /"carrier" expected "udp" on a port that carries UDP payloads/,
  });
});
