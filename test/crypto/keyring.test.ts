import t from 'tap';
import type { AeadKey, AeadProvider } from '../../crypto/aead.ts';
import { announce, encodeRecord } from '../../crypto/announcement.ts';
import * as esp from '../../crypto/esp.ts';
import { entropy, keyPair, purposeKey } from '../../crypto/kdf.ts';
import { INBOUND_PER_PEER, type KeyRingOptions } from '../../crypto/keyring.ts';
import { node } from '../../crypto/providers/node.ts';
import { OK, type Result } from '../../crypto/result.ts';
import { Sad } from '../../crypto/sad.ts';
import { Random } from '../../lib/core/random.ts';
import { SteadyRing } from '../gen/ring.ts';
import { seed } from '../gen/seed.ts';

const SECRET = new Uint8Array(32).fill(0x5e);
const PERIOD = 2000;
const GRACE = 500;
const START = 64;
t.comment(`seed ${seed}`);

/** A node: a ring, its database, and what it has announced. */
class Node {
  readonly sad = new Sad();
  readonly ring: SteadyRing;
  record = new Uint8Array(0);
  /** Epochs announced and not yet published. */
  readonly waiting: number[] = [];

  constructor(name: string, more: Partial<KeyRingOptions> = {}) {
    this.ring = new SteadyRing({
      node: name,
      secret: SECRET,
      provider: node,
      sad: this.sad,
      period: PERIOD,
      grace: GRACE,
      onAnnounce: (record, epoch) => {
        this.record = record.slice();
        this.waiting.push(epoch);
      },
      ...more,
    });
  }

  /** Announces and publishes at once. */
  start(now: number): this {
    this.ring.tick(now);
    this.publish(now);
    return this;
  }

  publish(now: number): void {
    for (const epoch of this.waiting.splice(0)) this.ring.published(epoch, now);
  }
}

/** Both learn of each other; each is number 0 of the other. */
function meet(a: Node, b: Node, now: number): void {
  a.ring.learn(0, b.ring.record(), now);
  b.ring.learn(0, a.ring.record(), now);
}

/** Sends one packet: the result of opening it, `none` where there is no key to seal, `unknown` for the SPI. */
function send(from: Node, to: Node): Result | 'none' | 'unknown' {
  const packet = seal(from);
  return packet === null ? 'none' : open(to, packet);
}

function seal(from: Node, peer = 0): Uint8Array | null {
  const sa = from.sad.outbound(peer);
  if (sa === null) return null;
  const bytes = new Uint8Array(256);
  const result = esp.seal(sa, bytes, new DataView(bytes.buffer), START, START + 40, 17);
  if (result !== OK) throw new Error(`not sealed: ${result}`);
  return bytes.slice(START - esp.HEADER, esp.sealedEnd(sa, START, START + 40));
}

function open(to: Node, packet: Uint8Array, peer = 0): Result | 'unknown' {
  const v = new DataView(packet.buffer);
  const sa = to.sad.lookup(peer, v.getUint32(0));
  return sa === null ? 'unknown' : esp.open(sa, packet, v, 0, packet.length);
}

t.test('two nodes: nothing before both know each other, then both ways', async (t) => {
  const a = new Node('a').start(0);
  const b = new Node('b').start(0);
  t.equal(send(a, b), 'none');
  a.ring.learn(0, b.ring.record(), 10);
  t.equal(
    send(a, b),
    'unknown',
    'at once: b has not read it yet, and waiting would have brought nothing through',
  );
  meet(a, b, 20);
  t.equal(send(a, b), OK, 'then it has');
  t.equal(send(b, a), OK);
  t.not(a.sad.outbound(0)!.spi, b.sad.outbound(0)!.spi, 'each direction has its own');
  t.equal(a.sad.count, 1);
  a.ring.close();
  t.equal(a.sad.count, 0);
  t.equal(a.sad.outbound(0), null);
  b.ring.close();
});

t.test('rotation: make before break', async (t) => {
  const a = new Node('a').start(0);
  const b = new Node('b').start(0);
  meet(a, b, 0);
  for (const ring of [a.ring, b.ring]) ring.tick(GRACE);
  t.equal(send(a, b), OK);
  const first = a.sad.outbound(0)!.spi;
  const late = seal(a)!;

  t.notOk(new Node('c').ring.rotate(), 'nothing is published yet');
  t.ok(a.ring.rotate());
  a.ring.tick(GRACE + 10);
  t.equal(a.sad.count, 2, 'receives on both');
  t.notOk(a.ring.rotate(), 'one at a time');
  t.equal(a.sad.outbound(0)!.spi, first);
  a.publish(GRACE + 20);
  a.ring.tick(GRACE + 30);
  t.equal(a.sad.outbound(0)!.spi, first, 'b may not know');
  t.equal(send(b, a), OK, 'and sends to the old one');
  b.ring.learn(0, a.ring.record(), GRACE + 40);
  b.ring.tick(GRACE + 100);
  const packet = seal(b)!;
  t.equal(open(a, packet), OK, 'b sends to the new one at once');
  a.ring.tick(GRACE + 200);
  t.not(a.sad.outbound(0)!.spi, first, 'and a with the new one, since b knows');
  t.equal(send(a, b), OK);
  t.equal(open(b, late), OK, 'what was on its way arrives');
  a.ring.close();
  b.ring.close();
});

t.test('a third epoch ends the first, and its keys are gone', async (t) => {
  const keys: AeadKey[] = [];
  const provider: AeadProvider = {
    name: 'spy',
    key: (...args) => {
      const key = node.key(...args);
      keys.push(key);
      return key;
    },
  };
  const a = new Node('a', { provider }).start(0);
  const b = new Node('b').start(0);
  meet(a, b, 0);
  a.ring.tick(GRACE);
  const old = seal(a)!;
  const [outbound] = keys;
  let now = GRACE;
  for (let i = 0; i < 2; i++) {
    t.ok(a.ring.rotate());
    a.ring.tick(now);
    a.publish(now);
    now += GRACE;
    a.ring.tick(now);
    b.ring.learn(0, a.ring.record(), now);
  }
  t.equal(keys.length, 6);
  t.notOk(outbound.seal(new Uint8Array(64), 0, 16, 8), 'closed');
  t.equal(open(b, old), 'unknown');
  t.equal(a.sad.count, 2);
  t.equal(b.sad.count, 2);
  t.equal(send(a, b), OK);
  a.ring.close();
  b.ring.close();
});

t.test('while nothing can be published nothing is replaced, and traffic goes on', async (t) => {
  const a = new Node('a').start(0);
  const b = new Node('b').start(0);
  meet(a, b, 0);
  let now = GRACE;
  let lost = 0;
  for (; now < 20 * PERIOD; now += 100) {
    for (const ring of [a.ring, b.ring]) ring.tick(now);
    if (send(a, b) !== OK || send(b, a) !== OK) lost++;
  }
  t.equal(lost, 0);
  t.equal(a.waiting.length, 1, 'one epoch waits');
  t.equal(a.ring.epoch, 1);
  a.publish(now);
  t.equal(a.ring.epoch, 2);
  a.ring.close();
  b.ring.close();
});

t.test('a restarted node is heard at once, and its former life never again', async (t) => {
  const a = new Node('a').start(0);
  const b = new Node('b').start(0);
  meet(a, b, 0);
  for (const ring of [a.ring, b.ring]) ring.tick(GRACE);
  t.equal(send(b, a), OK);
  const former = a.ring.record();
  const again = new Node('a').start(GRACE);
  again.ring.learn(0, b.ring.record(), GRACE);
  t.equal(b.ring.learn(0, again.ring.record(), GRACE), 'new');
  t.equal(send(b, again), OK, 'its first announcement comes after it has learned of others');
  again.ring.tick(GRACE + 100);
  t.equal(send(again, b), OK);
  t.equal(b.ring.learn(0, former, GRACE + 100), 'known', 'still receivable, but not the newest');
  for (const now of [GRACE * 2 + 100, GRACE * 2 + 200]) {
    again.ring.tick(now);
    again.ring.rotate();
    again.ring.tick(now);
    again.publish(now);
  }
  b.ring.learn(0, again.ring.record(), GRACE * 3);
  t.equal(b.ring.learn(0, former, GRACE * 3), 'stale', 'a recorded announcement does not bring it back');
  t.equal(send(b, again), OK);
  for (const { ring } of [a, b, again]) ring.close();
});

t.test('a peer that leaves and comes back goes on where it was', async (t) => {
  const a = new Node('a').start(0);
  const b = new Node('b').start(0);
  meet(a, b, 0);
  a.ring.tick(GRACE);
  const first = seal(a)!;
  t.equal(open(b, first.slice()), OK);
  a.ring.forget(0);
  t.equal(a.sad.outbound(0), null);
  t.equal(a.sad.count, 0);
  b.ring.forget(0);
  t.equal(open(b, first.slice()), 'unknown');
  a.ring.learn(7, b.ring.record(), GRACE);
  b.ring.learn(0, a.ring.record(), GRACE);
  t.equal(a.sad.outbound(7)!.lo, 1, 'no number is used twice');
  t.not(open(b, first.slice()), OK, 'and none is accepted twice');
  t.equal(open(b, seal(a, 7)!), OK);
  a.ring.close();
  b.ring.close();
});

t.test('what is refused', async (t) => {
  const a = new Node('a').start(0);
  const b = new Node('b').start(0);
  const record = b.ring.record();
  const key = purposeKey(SECRET, 'announcement');
  let accepted = 0;
  for (let bit = 0; bit < record.length * 8; bit++) {
    const copy = record.slice();
    copy[bit >> 3] ^= 1 << (bit & 7);
    if (!['malformed', 'forged'].includes(a.ring.learn(0, copy, 0))) accepted++;
  }
  for (let n = 0; n < record.length; n++) {
    if (a.ring.learn(0, record.slice(0, n), 0) !== 'malformed') accepted++;
  }
  t.equal(accepted, 0, 'every flipped bit and every truncation');
  t.equal(a.ring.learn(0, a.ring.record(), 0), 'own');
  const other = new Node('b', { secret: new Uint8Array(32).fill(1) }).start(0);
  t.equal(a.ring.learn(0, other.ring.record(), 0), 'forged', 'another secret');
  const made = (publicKey: Uint8Array, name = 'm', epoch = 1) =>
    announce(name, new Uint8Array(16), epoch, publicKey);
  const { publicKey } = keyPair(entropy);
  const one = Uint8Array.from({ length: 32 }, (_, i) => (i === 0 ? 1 : 0));
  const order8 = 'e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800';
  for (const bad of [new Uint8Array(32), one, Uint8Array.from(Buffer.from(order8, 'hex'))]) {
    t.equal(a.ring.learn(0, encodeRecord([made(bad)], key), 0), 'bad-key', 'zero or of small order');
  }
  t.equal(
    a.ring.learn(0, encodeRecord([made(publicKey), made(publicKey, 'n')], key), 0),
    'malformed',
    'two nodes',
  );
  t.equal(a.ring.learn(0, encodeRecord([made(publicKey, 'm', 5)], key), 0), 'new');
  t.equal(a.ring.learn(0, encodeRecord([made(publicKey, 'm', 4)], key), 0), 'stale');
  t.equal(a.sad.count, 1);
  const small = new Node('s', { sad: new Sad(INBOUND_PER_PEER) }).start(0);
  t.equal(small.ring.learn(0, record, 0), 'new');
  t.equal(small.ring.learn(1, a.ring.record(), 0), 'full');
  for (const { ring } of [a, b, other, small]) {
    ring.close();
    t.equal(ring.learn(0, record, 0), 'closed');
    ring.tick(1);
  }
});

t.test('options', async (t) => {
  const bad = (more: Partial<KeyRingOptions>, message: RegExp) =>
    t.throws(() => new Node('a', more), { message });
  bad({ secret: new Uint8Array(15) }, /"secret" expected at least 16 bytes, got 15/);
  bad({ period: 0 }, /"period" expected a number of ms above 0, got 0/);
  bad({ grace: PERIOD }, /"grace" expected at most half of the period, got 2000/);
  bad({ icv: 4 }, /"icv" expected one of 16, 12, 8/);
  bad({ window: 8 }, /"window" expected an integer 64..16384, got 8/);
  bad({ algorithm: 'rot13' as 'aes-128-gcm' }, /"algorithm"/);
  t.throws(() => new Node(''), { message: /"node" expected 1..255 bytes of UTF-8, got 0/ });
});

t.test('a soft limit brings a new epoch', async (t) => {
  const a = new Node('a', { softPackets: 5, period: 1e9 }).start(0);
  const b = new Node('b', { period: 1e9 }).start(0);
  meet(a, b, 0);
  a.ring.tick(GRACE);
  for (let i = 0; i < 5; i++) t.equal(send(a, b), OK);
  a.ring.tick(GRACE + 100);
  a.ring.tick(GRACE + 200);
  t.same(a.waiting, [2]);
  a.ring.close();
  b.ring.close();
});

/** A provider that notes every key and nonce that seals, and counts those that do so twice. */
function spy() {
  const seen = new Set<string>();
  let repeated = 0;
  const provider: AeadProvider = {
    name: 'spy',
    key(algorithm, bytes, tagLength) {
      const key = node.key(algorithm, bytes, tagLength);
      const name = Buffer.from(bytes).toString('latin1');
      const seal = key.seal.bind(key);
      key.seal = (...args) => {
        const { buffer, byteOffset, byteLength } = key.nonce;
        const pair = name + Buffer.from(buffer as ArrayBuffer, byteOffset, byteLength).toString('latin1');
        if (seen.has(pair)) repeated++;
        seen.add(pair);
        return seal(...args);
      };
      return key;
    },
  };
  return { provider, seals: () => seen.size, repeated: () => repeated };
}

t.test('a clock that jumps ends neither grace time nor epoch', async (t) => {
  const a = new Node('a').start(0);
  const b = new Node('b').start(0);
  meet(a, b, 0);
  for (const ring of [a.ring, b.ring]) ring.tick(GRACE);
  t.equal(send(a, b), OK);
  const day = 86_400_000;
  for (const days of [1, 2, 3, 0, 3, -5]) {
    a.ring.jump(days * day);
    t.equal(a.ring.announced, 1, 'nothing is due');
  }
  t.ok(a.ring.rotate());
  a.ring.jump(0);
  a.ring.jump(0);
  a.publish(0);
  const { spi } = a.sad.outbound(0)!;
  for (let days = 1; days < 4; days++) {
    a.ring.jump(days * day);
    t.equal(a.sad.outbound(0)!.spi, spi, 'b does not know the new epoch yet');
    t.equal(send(a, b), OK);
    t.equal(send(b, a), OK);
    t.notOk(a.ring.rotate());
  }
  a.ring.jump(0);
  a.ring.tick(GRACE);
  t.not(a.sad.outbound(0)!.spi, spi, 'time that passes does');
  a.ring.close();
  b.ring.close();
});

t.test(`rotations, restarts and clock jumps: no (key, nonce) twice, seed ${seed}`, async (t) => {
  const r = new Random(seed);
  const { provider, seals, repeated } = spy();
  const names = ['a', 'b', 'c'];
  const nodes = names.map((name) => new Node(name, { provider }));
  const clocks = [0, 0, 0];
  for (let step = 0; step < 3000; step++) {
    const i = r.below(3);
    const j = (i + 1 + r.below(2)) % 3;
    const event = r.below(200);
    if (event === 0) {
      nodes[i].ring.close();
      nodes[i] = new Node(names[i], { provider });
    } else if (event === 1) clocks[i] += (r.float() - 0.5) * 1e6;
    else if (event === 2) nodes[i].ring.forget(j);
    else if (event < 60) nodes[i].ring.learn(j, nodes[j].record, clocks[i]);
    else if (event < 62 && nodes[i].record.length > 0) nodes[j].ring.learn(i, nodes[i].record, clocks[j]);
    else if (event < 80) nodes[i].publish(clocks[i]);
    clocks[i] += r.below(200);
    nodes[i].ring.jump(clocks[i]);
    for (let n = 0; n < 3; n++) {
      const packet = seal(nodes[i], j);
      if (packet !== null) open(nodes[j], packet, i);
    }
  }
  for (const { ring } of nodes) ring.close();
  t.ok(seals() > 1000, `${seals()} packets sealed`);
  t.equal(repeated(), 0);
});

t.test(
  `rotation under load over a slow store, with restarts: nothing is lost to keys, seed ${seed}`,
  async (t) => {
    const r = new Random(seed);
    const { provider, repeated } = spy();
    const make = (name: string) => new Node(name, { provider });
    const nodes = [make('a'), make('b')];
    /** When each node started, and whether the other has learned of that life. */
    const born = [0, 0];
    const due: { at: number; run: () => void }[] = [];
    let rotations = 0;
    let sent = 0;
    let lost = 0;
    let silent = 0;
    const publishing = (i: number, now: number) => {
      const from = nodes[i];
      for (const epoch of from.waiting.splice(0)) {
        rotations++;
        const record = from.ring.record();
        const stored = now + r.below(GRACE / 2);
        due.push({ at: stored, run: () => from === nodes[i] && from.ring.published(epoch, stored) });
        const seen = stored + r.below(GRACE / 2);
        due.push({ at: seen, run: () => from === nodes[i] && nodes[1 - i].ring.learn(0, record, seen) });
      }
    };
    const latest = [new Uint8Array(0), new Uint8Array(0)];
    for (let now = 0; rotations < 300; now += 20) {
      for (const { run } of due.filter(({ at }) => at <= now)) run();
      for (let k = due.length - 1; k >= 0; k--) if (due[k].at <= now) due.splice(k, 1);
      for (const i of [0, 1]) {
        if (now - born[i] > 6 * PERIOD && r.chance(0.0005)) {
          nodes[i].ring.close();
          nodes[i] = make(nodes[i].ring.node);
          // It reads the store before it announces anything.
          nodes[i].ring.learn(0, latest[1 - i], now);
          born[i] = now;
        }
        nodes[i].ring.tick(now);
        if (nodes[i].record.length > 0) latest[i] = nodes[i].record;
        publishing(i, now);
      }
      // A node that has just restarted cannot be reached before the other has heard of it.
      const steady = now - Math.max(...born) > 3 * GRACE;
      for (const i of [0, 1]) {
        const answer = send(nodes[i], nodes[1 - i]);
        if (!steady) continue;
        sent++;
        if (answer === 'none') silent++;
        else if (answer !== OK) lost++;
      }
    }
    for (const { ring } of nodes) ring.close();
    t.ok(sent > 10_000, `${sent} packets`);
    t.equal(lost, 0, 'lost');
    t.equal(silent, 0, 'without a key to send with');
    t.equal(repeated(), 0, 'no (key, nonce) twice');
  },
);
