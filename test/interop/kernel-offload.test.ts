/**
 * The kernel's VXLAN is the other host, with all its offloads on, and we are a TAP device and native UDP: super-frames
 * come out of the kernel as large as they are, with checksums that nobody completed (lib/elements/left-open.ts).
 * Some 40 s on a quiet machine; files have 64 MiB, or as many bytes as BYTES says.
 */
import { existsSync } from 'node:fs';
import t, { type Test } from 'tap';
import { TapPort } from '../../lib/io/tap.ts';
import { UdpNativePort } from '../../lib/io/udp-native.ts';
import { Overlay } from '../../lib/overlay.ts';
import { Namespaces, within } from '../gen/netns.ts';
import { noNamespaces, noNative, skip } from '../gen/skip.ts';
import { Station } from '../gen/station.ts';

const BYTES = Number(process.env.BYTES ?? 64 << 20);
const VNI = 4097;
const PORT = 8080;
const UNDERLAY = { 4: ['192.0.2.1', '192.0.2.2'], 6: ['2001:db8::1', '2001:db8::2'] } as const;
const INSIDE = { 4: ['10.0.0.1', '10.0.0.2'], 6: ['fd00::1', 'fd00::2'] } as const;
/** What adds up to datagrams of 60,000 bytes: one packet, and fragments. */
const LENGTHS = [1, 2, 17, 100, 1000, 1200, 1472, 1473, 2000, 2959, 8972, 9001, 20_000, 40_001, 60_000];

interface Case {
  readonly family: 4 | 6;
  /** Of the underlay. */
  readonly mtu: number;
  /** Of the network, where that is less than the underlay has room for. */
  readonly inside?: number;
}
const CASES: readonly Case[] = [
  { family: 4, mtu: 1500 },
  { family: 6, mtu: 1500 },
  { family: 4, mtu: 9000 },
  { family: 4, mtu: 1500, inside: 1300 },
];

/** Our host and the kernel's, as far as they need no overlay of ours. */
function lay(t: Test, { family, mtu, inside }: Case): Namespaces {
  const namespaces = new Namespaces(t);
  const [us, them] = UNDERLAY[family];
  for (const name of ['us', 'kernel']) namespaces.add(name);
  namespaces.cable('us', 'eth0', 'kernel', 'eth0');
  for (const [name, address] of [
    ['us', us],
    ['kernel', them],
  ]) {
    namespaces.run(name, `ip link set eth0 mtu ${mtu}`);
    namespaces.run(name, `ip addr add ${address}/${family === 4 ? 24 : 64} dev eth0 nodad`);
  }
  const ends = `local ${them} remote ${us} dev eth0`;
  namespaces.run('kernel', `ip link add vx0 type vxlan id ${VNI} dstport 4789 ${ends}`);
  namespaces.run('kernel', `ip link set vx0 ${inside === undefined ? '' : `mtu ${inside}`} up`);
  settle(namespaces, 'kernel', 'vx0', 1);
  return namespaces;
}

function settle(namespaces: Namespaces, name: string, device: string, n: 0 | 1): void {
  namespaces.run(name, `ip addr add ${INSIDE[4][n]}/24 dev ${device}`);
  namespaces.run(name, `ip addr add ${INSIDE[6][n]}/64 dev ${device} nodad`);
}

/** Our side; its ports are opened in their namespaces. */
async function overlay(t: Test, namespaces: Namespaces, { family, mtu, inside }: Case): Promise<Overlay> {
  const [address, them] = UNDERLAY[family];
  const underlay = new UdpNativePort({
    address,
    mtu: mtu - (family === 4 ? 28 : 48),
    // As much as TCP may have on its way: the kernel throws away what finds no room.
    receiveBuffer: 64 << 20,
  });
  const room = mtu - (family === 4 ? 50 : 70);
  const tap = new TapPort({ name: 'tap0', namespace: namespaces.real('us'), mtu: inside ?? room });
  const network = { vni: VNI, remotes: [them], ports: [{ port: tap }], ...(inside && { mtu: inside }) };
  const made = new Overlay({ local: { address, mtu, underlay }, networks: [network] });
  t.teardown(() => made.stop());
  await within(namespaces.real('us'), () => made.start());
  settle(namespaces, 'us', 'tap0', 0);
  return made;
}

async function traffic(t: Test, stations: readonly Station[], family: 4 | 6): Promise<void> {
  const what = `IPv${family} inside`;
  for (const n of [0, 1]) {
    const [to, station] = [INSIDE[family][1 - n], stations[n]];
    const { bytes, got, sent } = await station.download(to, PORT, BYTES);
    t.equal(bytes, BYTES, `${what}: a file ${n === 0 ? 'from' : 'to'} the kernel`);
    t.equal(got, sent, 'with the hash that it was sent with');
    t.same(await station.echo(to, PORT, LENGTHS), [], `${what}: datagrams that are echoed`);
    for (const [length, count] of [
      [1200, 40],
      [100, 9],
      [500, 2],
    ]) {
      const came = await station.echoTrain(to, PORT, length, count);
      t.equal(came, count, `${what}: ${count} datagrams of ${length} bytes in one piece`);
    }
  }
}

const reason =
  noNamespaces() ?? noNative() ?? (existsSync('/dev/net/tun') ? null : 'there is no /dev/net/tun');
if (reason !== null) skip(t, reason);
else {
  for (const each of CASES) {
    const { family, mtu, inside } = each;
    const what = `IPv${family} underlay of ${mtu}${inside === undefined ? '' : `, ${inside} inside`}`;
    t.test(what, { timeout: 600_000 }, async (t) => {
      const namespaces = lay(t, each);
      const us = await overlay(t, namespaces, each);
      const stations = ['us', 'kernel'].map((name) => new Station(namespaces, name));
      await Promise.all(stations.map((station) => station.serve(PORT)));
      for (const inside of [4, 6] as const) await traffic(t, stations, inside);
      const { rxBytes, rxPackets } = us.underlay.stats;
      const mean = Math.round(rxBytes / rxPackets);
      t.ok(mean > mtu, `the kernel sent super-frames whole: ${mean} bytes a datagram of ${rxPackets}`);
      t.same(us.drops(), {}, 'nothing was dropped');
      await us.stop();
      t.same([us.context.pool.used, us.context.jumbo.used], [0, 0], 'every packet came home');
    });
  }
}
