import t from 'tap';
import { endpoint, identity, World } from '../gen/world.ts';

const A = '192.0.2.1';
const B = '192.0.2.2';
const C = '192.0.2.3';

t.test('two hosts, two networks with the same addresses', async (t) => {
  const world = new World();
  const [a1, a2, b1, b2] = [endpoint(2), endpoint(2), endpoint(3), endpoint(3)];
  const networks = (remote: string, first: typeof a1, second: typeof a1, n: number) => [
    { vni: 1, remotes: [remote], ports: [{ port: first, ...identity(n) }] },
    { vni: 16777215, remotes: [remote], ports: [{ port: second, ...identity(n) }] },
  ];
  const one = await world.host(A, networks(B, a1, a2, 2));
  await world.host(B, networks(A, b1, b2, 3));
  t.equal(one.mtu(1), 1450);

  for (const address of identity(3).addresses) {
    t.not(await world.until(a1.ping(address)), null, `${address} answers`);
    t.not(await world.until(a1.ping(address, { size: 1450 - 48 })), null, 'with as much as the MTU carries');
  }
  t.equal(b2.counts.frames, 0, 'nothing crossed into the other network');
  t.equal(a2.counts.frames, 0);

  const payload = new Uint8Array(500).fill(7);
  for (let i = 0; i < 300; i++) t.ok(a1.sendUdp('10.0.0.3', 9, payload) || undefined);
  world.run(10);
  t.equal(b1.counts.datagrams, 300);
  t.equal(b1.counts.datagramBytes, 150_000);
  t.equal(b2.counts.frames, 0);
  t.same(one.drops(), {});
  t.equal(await world.end(), 0, 'every packet came home');
});

t.test('three hosts: floods reach everybody once', async (t) => {
  const world = new World();
  const all = [A, B, C];
  const endpoints = [endpoint(2), endpoint(3), endpoint(4), endpoint(5)];
  for (const [i, address] of all.entries()) {
    const ports = i === 2 ? [{ port: endpoints[2] }, { port: endpoints[3] }] : [{ port: endpoints[i] }];
    await world.host(address, [{ vni: 7, remotes: all.filter((x) => x !== address), ports }]);
  }
  const frame = new Uint8Array(64).fill(0xff, 0, 6);
  frame.set([2, 0, 0, 0, 0, 9], 6);
  frame.set([0x88, 0xb5], 12);
  endpoints[0].sendFrame(frame);
  world.run(10);
  t.same(
    endpoints.map(({ counts }) => counts.frames),
    [0, 1, 1, 1],
  );
  endpoints[3].sendFrame(frame);
  world.run(10);
  t.same(
    endpoints.map(({ counts }) => counts.frames),
    [1, 2, 2, 1],
  );
  t.equal(await world.end(), 0);
});

t.test('a packet that is too big is answered', async (t) => {
  const world = new World();
  const [a, b] = [endpoint(2, { mtu: 1500 }), endpoint(3)];
  const one = await world.host(A, [{ vni: 1, remotes: [B], ports: [{ port: a }] }]);
  await world.host(B, [{ vni: 1, remotes: [A], ports: [{ port: b }] }]);
  for (const address of identity(3).addresses) {
    a.pathMtu = 0;
    t.equal(await world.until(a.ping(address, { size: 1440 })), null);
    t.equal(a.pathMtu, 1450, `told so for ${address}`);
  }
  t.equal(a.counts.tooBig, 2);
  t.same(one.drops(), { 'too-big': 2 });
  t.equal(b.counts.echoRequests, 0);
  t.equal(await world.end(), 0);
});

t.test('apply changes only the difference', async (t) => {
  const world = new World();
  const [a, b, c] = [endpoint(2), endpoint(3), endpoint(4)];
  const one = await world.host(A, [{ vni: 1, remotes: [B], ports: [{ port: a, ...identity(2) }] }]);
  await world.host(B, [
    { vni: 1, remotes: [A], ports: [{ port: b }] },
    { vni: 2, remotes: [A], ports: [{ port: c }] },
  ]);
  t.not(await world.until(a.ping('10.0.0.3')), null);
  const known = one.fdb.size;

  const d = endpoint(5);
  await world.change(one, A, [
    { vni: 1, remotes: [B], ports: [{ port: a, ...identity(2) }] },
    { vni: 2, remotes: [B], ports: [{ port: d }] },
  ]);
  t.equal(one.fdb.size, known, 'what was learned stays');
  t.not(await world.until(a.ping('10.0.0.3')), null, 'the network that did not change works on');
  t.not(await world.until(d.ping('10.0.0.4')), null, 'the new one works');

  await world.change(one, A, [{ vni: 2, remotes: [B], ports: [{ port: d }] }]);
  t.not(await world.until(d.ping('10.0.0.4')), null);
  t.equal(await world.until(a.ping('10.0.0.3')), null, 'a port that is gone is closed');
  t.notOk(
    [...one.fdb.entries()].some(({ lo }) => (lo & 0xff) === 2 || (lo & 0xff) === 3),
    'and forgotten',
  );

  await world.change(one, A, [{ vni: 2, ports: [{ port: d }] }]);
  t.equal([...one.peers.entries()].length, 0, 'a remote that no network names is forgotten');
  t.equal(await world.until(d.ping('10.0.0.4', { timeout: 100 })), null);

  await t.rejects(world.change(one, A, [{ vni: 0 }]), {
    message: /"networks\[0\].vni" expected an integer 1..16777215/,
  });
  await t.rejects(
    world.change(one, A, [
      { vni: 3, ports: [{ port: b }] },
      { vni: 2, ports: [{ port: d }] },
    ]),
    { message: /open already/ },
    'a port that cannot be opened',
  );
  await world.change(one, A, [{ vni: 2, remotes: [B], ports: [{ port: d }] }]);
  t.not(await world.until(d.ping('10.0.0.4')), null, 'after refusals it works on');
  t.equal(await world.end(), 0);
});

t.test('static entries, suppression and no flooding', async (t) => {
  const world = new World();
  const [a, b] = [endpoint(2), endpoint(3)];
  const far = (n: number, remote: string) => [
    { mac: identity(n).mac, remote, addresses: identity(n).addresses },
  ];
  const quiet = { learning: false, floodUnknown: false };
  const one = await world.host(A, [
    { vni: 1, remotes: [B, C], static: far(3, B), ports: [{ port: a, ...identity(2) }], ...quiet },
  ]);
  await world.host(B, [
    { vni: 1, remotes: [A], static: far(2, A), ports: [{ port: b, ...identity(3) }], ...quiet },
  ]);
  const third = await world.host(C, [{ vni: 1, remotes: [A, B], ports: [{ port: endpoint(4) }] }]);
  for (const address of identity(3).addresses) t.not(await world.until(a.ping(address)), null);
  t.equal(third.underlay.stats.rxPackets, 0, 'no broadcast was needed');
  const answered = one.counters()['1.suppress'];
  t.same([answered.answered4, answered.answered6], [1, 1]);
  t.equal(await world.end(), 0);
});

t.test('a router sends for others, and answers for itself alone', async (t) => {
  for (const router of [false, true]) {
    const world = new World();
    const [host, gateway] = [endpoint(2), endpoint(3)];
    const one = await world.host(A, [
      {
        vni: 1,
        ports: [
          { port: host, ...identity(2) },
          // What it sends, it sends from addresses that are not its own.
          { port: gateway, mac: identity(3).mac, addresses: ['10.0.0.1'], router },
        ],
      },
    ]);
    t.equal((await world.until(gateway.ping('10.0.0.2'))) !== null, router);
    t.equal(one.drops()['spoofed-address'] > 0, !router);
    t.ok(await world.until(host.resolve('10.0.0.1')), 'its own address is answered for');
    t.equal(await world.end(), 0);
  }
});

t.test('a port sends only from what it declared', async (t) => {
  const world = new World();
  const [honest, liar] = [endpoint(2), endpoint(3)];
  const one = await world.host(A, [
    {
      vni: 1,
      ports: [
        { port: honest, ...identity(2) },
        { port: liar, ...identity(4) },
      ],
    },
  ]);
  t.equal(await world.until(liar.ping('10.0.0.2')), null);
  t.ok(one.drops()['spoofed-mac'] > 0);
  t.equal(honest.counts.frames, 0);
  t.equal(await world.end(), 0);
});

t.test('of ports of one name one goes, and the others stay', async (t) => {
  const world = new World();
  const ports = [2, 3, 4].map((n) => ({ port: endpoint(n, { name: 'eth0' }), ...identity(n) }));
  const [first, second, third] = ports;
  const networks = (...some: typeof ports) => [{ vni: 1, remotes: [], ports: some }];
  const one = await world.host(A, networks(first, second));
  await world.change(one, A, networks(second));
  await world.change(one, A, networks(second, third));
  t.not(await world.until(second.port.ping(identity(4).addresses[0])), null);
  await world.change(one, A, networks(third, second, first));
  t.not(await world.until(first.port.ping(identity(3).addresses[0])), null);
  t.equal(await world.end(), 0);
});
