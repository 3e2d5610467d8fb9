/** Encrypted networks beside plain ones, between the same hosts. */
import t from 'tap';
import { MemoryUnderlay, memoryPair } from '../../lib/io/memory.ts';
import { IP } from '../../lib/io/port.ts';
import { KeyDirectory, type NetworkConfig, Overlay, type OverlayConfig } from '../../lib/overlay.ts';
import { endpoint, identity, World } from '../gen/world.ts';

const A = '192.0.2.1';
const B = '192.0.2.2';
const SECRET = 'a secret of all hosts, 32 bytes.';

/** Two hosts with a plain network 1 and an encrypted network 2 between them. */
async function setup(options: { secretB?: string; period?: number; mtu?: number } = {}) {
  const world = new World();
  const channel = new KeyDirectory();
  const plain = [endpoint(2, { mtu: 1500 }), endpoint(3)];
  const secret = [endpoint(2, { mtu: options.mtu ?? 1400 }), endpoint(3, { mtu: options.mtu ?? 1400 })];
  const addresses = [A, B];
  // A network of its own for ESP, as the other UDP port is on real hosts.
  const espUnderlay = new MemoryUnderlay();
  const networks = (host: number): NetworkConfig[] => [
    { vni: 1, remotes: [addresses[1 - host]], ports: [{ port: plain[host] }] },
    {
      vni: 2,
      encrypted: true,
      remotes: [addresses[1 - host]],
      ports: [{ port: secret[host], ...identity(host + 2) }],
    },
  ];
  const config = (host: number): OverlayConfig => ({
    local: {
      address: addresses[host],
      underlay: world.underlay.port(addresses[host]),
      esp: {
        secret: host === 1 ? (options.secretB ?? SECRET) : SECRET,
        underlay: espUnderlay.port(addresses[host]),
        channel,
        provider: 'node',
        ...(options.period === undefined ? {} : { period: options.period }),
      },
    },
    networks: networks(host),
  });
  for (const host of [0, 1]) {
    const overlay = new Overlay(config(host), { pool: world.pool, clock: world.clock });
    world.overlays.push(overlay);
    await overlay.open();
  }
  world.run(100);
  return { world, plain, secret };
}

t.test('encrypted and plain networks live side by side', async (t) => {
  const { world, plain, secret } = await setup();
  const [one] = world.overlays;
  t.same(
    one.encryptedPeers().map(({ ready }) => ready),
    [true],
  );
  t.equal(one.mtu(1), 1450);
  t.equal(one.mtu(2), 1408, 'IPv4, ESP in UDP, AES-GCM with 16 bytes of ICV');
  for (const from of [plain[0], secret[0]]) {
    for (const address of identity(3).addresses) t.not(await world.until(from.ping(address)), null);
  }
  t.equal(plain[1].counts.echoRequests, 2);
  t.equal(secret[1].counts.echoRequests, 2);
  const before = one.ports().find(({ name }) => name === 'underlay')!.txPackets;
  for (let i = 0; i < 100; i++) secret[0].sendUdp('10.0.0.3', 9, new Uint8Array(1000).fill(i));
  world.run(20);
  t.equal(secret[1].counts.datagrams, 100);
  t.equal(one.ports().find(({ name }) => name === 'underlay')!.txPackets, before, 'none of it left in clear');
  t.same(one.drops(), {});
  t.equal(await world.end(), 0);
});

t.test('the MTU is right to the byte', async (t) => {
  const { world, secret } = await setup({ mtu: 1500 });
  t.not(await world.until(secret[0].ping('10.0.0.3', { size: 1408 - 28 })), null, 'fits');
  t.equal(await world.until(secret[0].ping('10.0.0.3', { size: 1408 - 27 })), null, 'does not');
  t.equal(secret[0].pathMtu, 1408);
  t.same(world.overlays[0].drops(), { 'too-big': 1 });
  t.equal(await world.end(), 0);
});

t.test('what comes in clear for an encrypted network is dropped', async (t) => {
  const { world, secret } = await setup();
  // A third overlay speaks for the other host on the plain underlay, with the encrypted network's VNI.
  const [, two] = world.overlays;
  await two.stop();
  world.overlays.pop();
  const liar = endpoint(3);
  await world.host(B, [{ vni: 2, remotes: [A], ports: [{ port: liar }] }]);
  liar.sendFrame(broadcast());
  world.run(20);
  t.equal(secret[0].counts.frames, 0);
  t.equal(world.overlays[0].drops()['clear-text'], 1);
  t.equal(await world.end(), 0);
});

t.test('hosts with different secrets share no keys', async (t) => {
  const { world, secret } = await setup({ secretB: 'another secret of 32 bytes......' });
  t.same(
    world.overlays[0].encryptedPeers().map(({ ready }) => ready),
    [false],
  );
  t.equal(await world.until(secret[0].ping('10.0.0.3')), null);
  t.ok(world.overlays[0].drops()['no-sa'] > 0, 'nothing leaves without keys');
  t.equal(secret[1].counts.frames, 0);
  t.equal(await world.end(), 0);
});

t.test('keys are replaced under load, and nothing is lost', async (t) => {
  const { world, secret } = await setup({ period: 200 });
  t.not(await world.until(secret[0].ping('10.0.0.3')), null);
  let sent = 0;
  for (let round = 0; round < 300; round++) {
    for (let i = 0; i < 5; i++) if (secret[0].sendUdp('10.0.0.3', 9, new Uint8Array(100))) sent++;
    world.run(10);
  }
  t.equal(sent, 1500);
  t.equal(secret[1].counts.datagrams, sent, 'over some 15 epochs');
  t.same(world.overlays[0].drops(), {});
  t.same(world.overlays[1].drops(), {});
  t.equal(await world.end(), 0);
});

t.test('what cannot be encrypted is refused', async (t) => {
  const [near] = memoryPair();
  const [ipPort] = memoryPair({ medium: IP });
  const esp = { secret: SECRET, channel: new KeyDirectory() };
  const network = (more: object): NetworkConfig => ({
    vni: 2,
    encrypted: true,
    ports: [{ port: near }],
    ...more,
  });
  const wrong: [unknown, RegExp][] = [
    [{ local: A, networks: [network({})] }, /"networks\[0\].encrypted" needs "local.esp" with the secret/],
    [
      { local: { address: A, esp }, networks: [network({ remotes: [{ address: B, esp: false }] })] },
      /"networks\[0\].remotes\[0\]" cannot be part of an encrypted network: the host 192.0.2.2 cannot encrypt/,
    ],
    [
      { local: { address: A, esp: { ...esp, secret: 'short' } }, networks: [] },
      /"local.esp.secret" expected at least 16 bytes, got 5 bytes/,
    ],
    [
      { local: { address: A, esp: { ...esp, channel: 'here' } }, networks: [] },
      /"local.esp.channel" expected a KeyChannel, got "here"/,
    ],
    [
      { local: { address: A, esp: { ...esp, carrier: 'ip' } }, networks: [] },
      /"local.esp.carrier" expected "udp"/,
    ],
    [
      {
        local: { address: A, esp: { ...esp, carrier: 'ip', underlay: ipPort, control: near } },
        networks: [],
      },
      /"local.esp.control" expected none, because keys travel by "channel", got "memory.a"/,
    ],
    [
      { local: { address: A, esp: { secret: SECRET, control: near } }, networks: [] },
      /"local.esp.control" expected none, because the carrier "udp" has room for messages, got "memory.a"/,
    ],
    [
      {
        local: { address: A, esp: { secret: SECRET, carrier: 'ip', underlay: ipPort, control: near } },
        networks: [],
      },
      /"local.esp.control" expected a port that carries UDP payloads, got "memory.a"/,
    ],
    [
      { local: { address: A, esp: { ...esp, algorithm: 'rot13' } }, networks: [] },
      /"local.esp.algorithm" expected "aes-128-gcm" or/,
    ],
  ];
  for (const [config, message] of wrong) t.throws(() => new Overlay(config as OverlayConfig), { message });
});

function broadcast(): Uint8Array {
  const frame = new Uint8Array(64).fill(0xff, 0, 6);
  frame.set([2, 0, 0, 0, 0, 9], 6);
  frame.set([0x88, 0xb5], 12);
  return frame;
}
