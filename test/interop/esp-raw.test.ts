/**
 * Two overlays in two namespaces, whose network travels in ESP on IP protocol 50 through raw sockets, with keys in
 * band through a UDP port of their own; and what tcpdump sees on the wire between them.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { DebugPool } from '../../lib/core/pool.ts';
import { Endpoint } from '../../lib/io/endpoint.ts';
import { RawNativePort } from '../../lib/io/raw-native.ts';
import { UdpNativePort } from '../../lib/io/udp-native.ts';
import { Overlay } from '../../lib/overlay.ts';
import { Namespaces, within } from '../gen/netns.ts';
import { PacketSocket } from '../gen/packet-socket.ts';
import { has, noNamespaces, noNative, skip } from '../gen/skip.ts';
import { identity } from '../gen/world.ts';

const VNI = 42;
const UNDERLAYS = {
  4: { addresses: ['192.0.2.1', '192.0.2.2'], prefix: 24 },
  6: { addresses: ['2001:db8::1', '2001:db8::2'], prefix: 64 },
};

/** A host in a namespace, with one endpoint, the number of which is `n`. */
async function host(t: Test, namespaces: Namespaces, name: string, n: number, local: string, remote: string) {
  const pool = new DebugPool({ count: 1024 });
  const endpoint = new Endpoint({ ...identity(n), mtu: 1450 });
  const overlay = new Overlay(
    {
      local: {
        address: local,
        underlay: new UdpNativePort({ address: local, name: 'plain' }),
        esp: {
          secret: 'a secret of all hosts, 32 bytes.',
          carrier: 'ip',
          underlay: new RawNativePort({ address: local }),
          control: new UdpNativePort({ address: local, port: 4500, sourcePorts: 1, name: 'keys' }),
        },
      },
      networks: [{ vni: VNI, encrypted: true, remotes: [remote], ports: [{ port: endpoint }] }],
    },
    { pool },
  );
  await within(namespaces.real(name), () => overlay.start());
  let stopped: Promise<void> | null = null;
  const stop = () => (stopped ??= overlay.stop());
  t.teardown(stop);
  return { overlay, endpoint, pool, stop };
}

/** What tcpdump says of frames, a line each. */
function tcpdump(frames: readonly Uint8Array[]): string[] {
  const directory = mkdtempSync(join(tmpdir(), 'esp-raw-'));
  try {
    const file = join(directory, 'wire.pcap');
    // Little-endian, version 2.4, Ethernet.
    const head = Buffer.from(Uint32Array.of(0xa1b2c3d4, 0x00040002, 0, 0, 65535, 1).buffer);
    const records = frames.flatMap((frame) => [
      Buffer.from(Uint32Array.of(0, 0, frame.length, frame.length).buffer),
      frame,
    ]);
    writeFileSync(file, Buffer.concat([head, ...records]));
    const { stdout, stderr, status } = spawnSync('tcpdump', ['-nn', '-r', file], { encoding: 'utf8' });
    if (status !== 0) throw new Error(stderr);
    return stdout.split('\n').filter(Boolean);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

async function pings(t: Test, family: 4 | 6): Promise<void> {
  const namespaces = new Namespaces(t);
  for (const name of ['a', 'b']) namespaces.add(name);
  namespaces.cable('a', 'eth0', 'b', 'eth0');
  const { addresses, prefix } = UNDERLAYS[family];
  for (const [i, name] of ['a', 'b'].entries()) {
    namespaces.run(name, `ip addr add ${addresses[i]}/${prefix} dev eth0 ${family === 6 ? 'nodad' : ''}`);
  }
  const wires = ['a', 'b'].map((name) => new PacketSocket(namespaces.real(name), 'eth0'));
  t.teardown(() => {
    for (const wire of wires) wire.close();
  });
  const a = await host(t, namespaces, 'a', 2, addresses[0], addresses[1]);
  const b = await host(t, namespaces, 'b', 3, addresses[1], addresses[0]);

  // Until the keys are there, nothing passes.
  const [[a4, a6], [b4, b6]] = [identity(2).addresses, identity(3).addresses];
  for (let i = 0; i < 50 && (await a.endpoint.ping(b4, { timeout: 200 })) === null; i++);
  for (const wire of wires) wire.collect();
  const mtu = a.overlay.mtu(VNI);
  let answered = 0;
  for (const size of [0, 56, 1000, mtu - 48]) {
    for (const to of [b4, b6])
      if ((await a.endpoint.ping(to, { size, timeout: 10_000 })) !== null) answered++;
    for (const to of [a4, a6])
      if ((await b.endpoint.ping(to, { size, timeout: 10_000 })) !== null) answered++;
  }
  t.equal(answered, 16, 'both ways, IPv4 and IPv6, small and as large as the MTU');

  const seen = wires.flatMap((wire) => wire.collect());
  const lines = tcpdump(seen).filter((line) => !/ARP|ICMP6/.test(line));
  const [esp, keys] = [
    lines.filter((line) => /ESP\(spi=/.test(line)),
    lines.filter((line) => /\.4500[ :]/.test(line)),
  ];
  t.ok(esp.length >= 32, `${esp.length} packets of ESP`);
  t.equal(esp.length + keys.length, lines.length, 'and nothing else but messages about keys');
  t.same(
    [a, b].map(({ overlay }) => overlay.counters()['plain.tx.packets'] ?? 0),
    [0, 0],
  );
  for (const { pool, stop } of [a, b]) {
    await stop();
    t.equal(pool.used, 0, 'every packet came home');
  }
}

const reason = noNamespaces() ?? noNative() ?? (has('tcpdump') ? null : 'tcpdump is not installed');
if (reason !== null) skip(t, reason);
else for (const family of [4, 6] as const) t.test(`over IPv${family}`, (t) => pings(t, family));
