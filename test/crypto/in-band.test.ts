import t from 'tap';
import * as esp from '../../crypto/esp.ts';
import { InBand } from '../../crypto/in-band.ts';
import { node } from '../../crypto/providers/node.ts';
import { OK, type Result } from '../../crypto/result.ts';
import { Sad } from '../../crypto/sad.ts';
import { Random } from '../../lib/core/random.ts';
import { SteadyRing } from '../gen/ring.ts';
import { seed } from '../gen/seed.ts';

const SECRET = new Uint8Array(32).fill(0x5e);
t.comment(`seed ${seed}`);

/** A host: ring, database, and what it has sent; the other is its peer 0. */
class Host {
  readonly sad = new Sad();
  readonly ring: SteadyRing;
  readonly inBand: InBand;
  readonly sent: Uint8Array[] = [];

  constructor(name: string, secret = SECRET, period = 20_000, patience = 60_000) {
    this.ring = new SteadyRing({
      node: name,
      secret,
      provider: node,
      sad: this.sad,
      period,
      grace: period / 10,
      onAnnounce: () => {},
    });
    this.inBand = new InBand({
      ring: this.ring,
      secret,
      send: (_, message) => this.sent.push(message),
      patience,
    });
    this.inBand.add(0);
  }

  tick(now: number): void {
    this.ring.tick(now);
    this.inBand.tick(now);
  }

  close(): void {
    this.inBand.close();
    this.ring.close();
  }
}

/** Carries all messages to and fro until there is silence; how many there were. */
function carry(a: Host, b: Host, now: number): number {
  let n = 0;
  while (a.sent.length + b.sent.length > 0 && n < 50) {
    for (const [from, to] of [
      [a, b],
      [b, a],
    ]) {
      for (const message of from.sent.splice(0)) {
        n++;
        to.inBand.receive(0, message, now + n * 20);
      }
    }
  }
  return n;
}

function send(from: Host, to: Host): Result | 'none' | 'unknown' {
  const out = from.sad.outbound(0);
  if (out === null) return 'none';
  const bytes = new Uint8Array(128);
  const v = new DataView(bytes.buffer);
  esp.seal(out, bytes, v, 32, 72, 17);
  const into = to.sad.lookup(0, out.spi);
  return into === null ? 'unknown' : esp.open(into, bytes, v, 16, esp.sealedEnd(out, 32, 72));
}

function met(): [Host, Host] {
  const a = new Host('a');
  const b = new Host('b');
  a.tick(0);
  carry(a, b, 0);
  b.ring.tick(0);
  a.tick(1000);
  b.tick(1000);
  carry(a, b, 1000);
  return [a, b];
}

t.test('strangers: four messages, and both can send at once', async (t) => {
  const a = new Host('a');
  const b = new Host('b');
  b.ring.tick(0);
  a.tick(0);
  t.equal(a.sad.outbound(0), null);
  t.equal(carry(a, b, 0), 4);
  t.equal(send(a, b), OK, 'without waiting for the grace time');
  t.equal(send(b, a), OK);
  a.tick(10_000);
  b.tick(10_000);
  t.equal(carry(a, b, 10_000), 0, 'then there is silence');
  a.close();
  b.close();
});

t.test('both begin at once', async (t) => {
  const a = new Host('a');
  const b = new Host('b');
  for (let now = 0; now <= 3000; now += 500) {
    a.tick(now);
    b.tick(now);
    carry(a, b, now);
  }
  t.equal(send(a, b), OK);
  t.equal(send(b, a), OK);
  a.tick(6000);
  b.tick(6000);
  t.equal(carry(a, b, 6000), 0);
  a.close();
  b.close();
});

t.test('rotation loses nothing', async (t) => {
  const [a, b] = met();
  t.equal(send(a, b), OK);
  const before = a.sad.outbound(0)!.spi;
  a.tick(4000);
  t.ok(a.ring.rotate(), 'the grace time is over');
  a.tick(4100);
  a.tick(4110);
  t.equal(a.sad.outbound(0)!.spi, before, 'b has not heard of it');
  t.equal(send(a, b), OK);
  t.equal(send(b, a), OK);
  t.ok(carry(a, b, 4120) <= 4);
  t.not(a.sad.outbound(0)!.spi, before);
  t.equal(send(a, b), OK);
  t.equal(send(b, a), OK);
  a.close();
  b.close();
});

t.test('a restarted host is found again, and nothing is sealed for the one before', async (t) => {
  const [a, b] = met();
  t.equal(send(b, a), OK);
  const again = new Host('a');
  again.tick(2000);
  // It asks, and b answers; what b seals meanwhile is for the former life.
  const [question] = again.sent.splice(0);
  t.equal(b.inBand.receive(0, question, 2000), 'answered');
  const [answer] = b.sent.splice(0);
  t.equal(again.inBand.receive(0, answer, 2020), 'learned');
  const [reply] = again.sent.splice(0);
  t.equal(b.inBand.receive(0, reply, 2040), 'learned');
  t.equal(send(b, again), OK);
  again.inBand.receive(0, b.sent.splice(0)[0], 2060);
  t.equal(send(again, b), OK);
  for (const host of [a, b, again]) host.close();
});

t.test('a restarted host that has not heard of us is sent nothing', async (t) => {
  const [a, b] = met();
  t.equal(send(a, b), OK);
  const again = new Host('a');
  again.ring.tick(2000);
  // What it announces reaches b by another way, before it has heard of b.
  t.equal(b.ring.learn(0, again.ring.record(), 2000, { evidence: true }), 'new');
  t.equal(send(b, again), 'none', 'what the former life knew does not count');
  for (const host of [a, b, again]) host.close();
});

t.test('recorded messages do not displace the living', async (t) => {
  const recorded: Uint8Array[] = [];
  const record = (host: Host) => {
    const { sent } = host;
    const push = sent.push.bind(sent);
    sent.push = (...messages) => {
      recorded.push(...messages.map((message) => message.slice()));
      return push(...messages);
    };
    return host;
  };
  const b = new Host('b');
  b.ring.tick(0);
  let now = 0;
  let a = record(new Host('a'));
  for (let life = 0; life < 5; life++) {
    for (let i = 0; i < 5; i++, now += 1000) {
      a.tick(now);
      b.tick(now);
      carry(a, b, now);
    }
    if (life === 4) break;
    a.close();
    a = record(new Host('a'));
  }
  t.equal(send(a, b), OK);
  t.equal(send(b, a), OK);
  const spi = b.sad.outbound(0)!.spi;
  const outcomes = new Set<string>();
  for (const message of [...recorded, ...recorded.reverse()]) {
    now += 150;
    outcomes.add(b.inBand.receive(0, message, now));
    // The true host gets b's answers, and does not lose its way.
    for (const answer of b.sent.splice(0)) a.inBand.receive(0, answer, now);
    for (const answer of a.sent.splice(0)) b.inBand.receive(0, answer, now + 1);
    b.sent.length = 0;
  }
  t.notOk(outcomes.has('learned'));
  t.equal(b.sad.outbound(0)!.spi, spi, `${recorded.length} messages`);
  t.equal(send(b, a), OK);
  t.equal(send(a, b), OK);
  a.close();
  b.close();
});

t.test('a message that was held back is worth nothing once its challenge was used', async (t) => {
  const b = new Host('b');
  b.ring.tick(0);
  const former = new Host('a');
  former.tick(0);
  b.inBand.receive(0, former.sent.splice(0)[0], 0);
  former.inBand.receive(0, b.sent.splice(0)[0], 20);
  const [held] = former.sent.splice(0); // echoes b's challenge, and never arrives
  const a = new Host('a');
  a.tick(1000);
  carry(a, b, 1000);
  t.equal(send(b, a), OK);
  t.equal(b.inBand.receive(0, held, 2000), 'answered');
  t.equal(send(b, a), OK);
  for (const host of [a, b, former]) host.close();
});

t.test('a peer that does not answer holds a new epoch up for a while only', async (t) => {
  const [a, b] = met();
  const epoch = a.ring.epoch;
  b.close();
  let now = 1000;
  for (; a.ring.announced === epoch; now += 100) a.tick(now);
  const began = now;
  for (; a.ring.epoch === epoch && now < 1e6; now += 100) a.tick(now);
  t.ok(now - began >= 59_000 && now - began <= 61_000, `${now - began} ms`);
  t.ok(a.sent.length < 15, `${a.sent.length} messages in vain`);
  a.close();
});

t.test('what is refused, and that it is not answered', async (t) => {
  const [a, b] = met();
  a.tick(5000);
  a.ring.rotate();
  a.tick(5001);
  a.tick(5002);
  const [message] = a.sent.splice(0);
  const outcomes = new Map<string, number>();
  let now = 5100;
  const offer = (bytes: Uint8Array) => {
    const outcome = b.inBand.receive(0, bytes, (now += 20));
    outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
  };
  for (let bit = 0; bit < message.length * 8; bit++) {
    const copy = message.slice();
    copy[bit >> 3] ^= 1 << (bit & 7);
    offer(copy);
  }
  // The first three bytes tell what it is.
  t.same(Object.fromEntries(outcomes), { malformed: 24, forged: message.length * 8 - 24 });
  outcomes.clear();
  for (let n = 0; n < message.length; n++) offer(message.slice(0, n));
  t.same([...outcomes.keys()].sort(), ['forged', 'malformed']);
  t.equal(b.inBand.receive(5, message, now), 'ignored', 'nobody we speak with');
  const stranger = new Host('c', new Uint8Array(32).fill(9));
  stranger.tick(now);
  t.equal(b.inBand.receive(0, stranger.sent[0], now + 20), 'forged', 'another secret');
  t.equal(b.sent.length, 0);
  t.equal(b.inBand.receive(0, message, now + 40), 'answered');
  t.equal(b.inBand.receive(0, message, now + 60), 'ignored', 'ten answers a second');
  t.equal(b.inBand.receive(0, message, now + 61), 'ignored', 'nor looked at more often than that');
  t.equal(b.sent.length, 1);
  t.throws(() => new InBand({ ring: a.ring, secret: new Uint8Array(3), send: () => {} }), {
    message: '"secret" expected at least 16 bytes, got 3',
  });
  for (const host of [a, b, stranger]) host.close();
});

t.test(
  `a bad line: loss, duplicates and delay; rotations; nothing is lost to keys, seed ${seed}`,
  async (t) => {
    const r = new Random(seed);
    const hosts = [new Host('a', SECRET, 4000), new Host('b', SECRET, 4000)];
    const wire: { at: number; to: number; message: Uint8Array }[] = [];
    let lost = 0;
    let sent = 0;
    let met = -1;
    for (let now = 0; now < 200_000; now += 20) {
      for (const [i, host] of hosts.entries()) {
        host.tick(now);
        for (const message of host.sent.splice(0)) {
          for (let copies = r.chance(0.3) ? 0 : r.chance(0.2) ? 2 : 1; copies > 0; copies--) {
            wire.push({ at: now + r.below(100), to: 1 - i, message });
          }
        }
      }
      for (let k = wire.length - 1; k >= 0; k--) {
        const { at, to, message } = wire[k];
        if (at > now) continue;
        wire.splice(k, 1);
        hosts[to].inBand.receive(0, message, now);
      }
      if (met < 0 && hosts.every(({ sad }) => sad.outbound(0) !== null)) met = now;
      if (met < 0) continue;
      for (const i of [0, 1]) {
        sent++;
        if (send(hosts[i], hosts[1 - i]) !== OK) lost++;
      }
    }
    t.ok(met >= 0 && met < 100_000, `they met after ${met} ms`);
    t.equal(lost, 0, `of ${sent}`);
    t.ok(
      hosts.every(({ ring }) => ring.epoch > 20),
      `${hosts.map(({ ring }) => ring.epoch).join(' and ')} epochs`,
    );
    for (const host of hosts) host.close();
  },
);
