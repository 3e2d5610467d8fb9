/**
 * The kernel's VXLAN is the other host: a bridge with a vxlan device and three ports, each the interface of
 * a namespace of its own, in a namespace that is joined to ours by a veth.
 */
import t, { type Test } from 'tap';
import { Namespaces } from '../gen/netns.ts';
import { RemoteHost } from '../gen/remote-host.ts';
import { noNamespaces, skip } from '../gen/skip.ts';
import type { EndpointSpec } from './overlay-host.ts';

const UNDERLAYS = [
  { family: 'IPv4', us: '192.0.2.1', them: '192.0.2.2', prefix: 24, mtu: 1450 },
  { family: 'IPv6', us: '2001:db8::1', them: '2001:db8::2', prefix: 64, mtu: 1430 },
];
const STATIONS = [11, 12, 13];

/** An endpoint of ours: 10.0.0.n and fd00::n. */
const ours = (n: number): EndpointSpec => ({
  mac: `02:42:0a:00:00:${n.toString(16).padStart(2, '0')}`,
  addresses: [`10.0.0.${n}`, `fd00::${n}`],
});

/** The far host, all of it kernel: bridge, vxlan device, and stations in namespaces c11, c12, c13. */
function kernelHost(
  namespaces: Namespaces,
  vni: number,
  { us, them, prefix, mtu }: (typeof UNDERLAYS)[0],
): void {
  for (const name of ['us', 'kernel']) namespaces.add(name);
  namespaces.cable('us', 'eth0', 'kernel', 'eth0');
  namespaces.run('us', `ip addr add ${us}/${prefix} dev eth0 nodad`);
  namespaces.run('kernel', `ip addr add ${them}/${prefix} dev eth0 nodad`);
  namespaces.run('kernel', 'ip link add br0 type bridge');
  namespaces.run('kernel', 'ip link set br0 up');
  namespaces.run('kernel', `ip link add vx0 type vxlan id ${vni} dstport 4789 local ${them} remote ${us}`);
  namespaces.run('kernel', `ip link set vx0 mtu ${mtu} master br0 up`);
  for (const n of STATIONS) {
    namespaces.add(`c${n}`);
    namespaces.cable(`c${n}`, 'eth0', 'kernel', `p${n}`);
    namespaces.run('kernel', `ip link set p${n} mtu ${mtu} master br0`);
    namespaces.run(`c${n}`, `ip link set eth0 mtu ${mtu} address ${ours(n).mac}`);
    namespaces.run(`c${n}`, `ip addr add 10.0.0.${n}/24 dev eth0`);
    namespaces.run(`c${n}`, `ip addr add fd00::${n}/64 dev eth0 nodad`);
  }
}

async function pingsBothWays(t: Test, namespaces: Namespaces, host: RemoteHost, mtu: number): Promise<void> {
  let answered = 0;
  for (const [size4, size6] of [
    [56, 56],
    [mtu - 28, mtu - 48],
  ]) {
    for (const n of STATIONS) {
      if ((await host.ping('10.0.0.2', `10.0.0.${n}`, size4)) !== null) answered++;
      if ((await host.ping('10.0.0.3', `fd00::${n}`, size6)) !== null) answered++;
    }
  }
  t.equal(answered, 12, 'every station of the kernel answers ours, small and as large as the MTU');

  const pings = STATIONS.flatMap((n) =>
    [
      ['10.0.0.2', 56],
      ['fd00::3', 56],
      ['10.0.0.3', mtu - 28],
      ['fd00::2', mtu - 48],
    ].map(async ([address, size]) => {
      const command = `ping -n -c 2 -i 0.2 -W 2 -M do -s ${size} ${address}`;
      const { ok, text } = await namespaces.attempt(`c${n}`, command);
      return ok ? '' : `c${n}: ${command}: ${text}`;
    }),
  );
  const failed = (await Promise.all(pings)).filter(Boolean);
  t.same(failed, [], 'our endpoints answer every station of the kernel');
}

/** MAC addresses on both sides, after the pings. */
async function learned(t: Test, namespaces: Namespaces, host: RemoteHost, us: string): Promise<void> {
  const kernels = namespaces.run('kernel', 'bridge fdb show dev vx0');
  for (const n of [2, 3]) t.match(kernels, `${ours(n).mac} dst ${us}`, `the kernel learned endpoint ${n}`);
  const known = await host.fdb();
  for (const n of STATIONS) {
    t.ok(
      known.includes(`${ours(n).mac.replaceAll(':', '')} remote`),
      `we learned station ${n} of the kernel`,
    );
  }
}

/** Station 13 moves from the kernel to us, and back. */
async function moves(
  t: Test,
  namespaces: Namespaces,
  host: RemoteHost,
  vni: number,
  them: string,
): Promise<void> {
  const stay = [ours(2), ours(3)];
  namespaces.run('c13', 'ip link set eth0 down');
  await host.apply([{ vni, remotes: [them], endpoints: [...stay, ours(13)] }]);
  t.not(await host.ping('10.0.0.13', '10.0.0.11'), null, 'the address speaks from its new place');
  const mac13 = ours(13).mac.replaceAll(':', '');
  t.ok((await host.fdb()).includes(`${mac13} local`), 'we followed the move to us');
  t.match(namespaces.run('kernel', 'bridge fdb show dev vx0'), ours(13).mac, 'the kernel followed too');
  t.ok((await namespaces.attempt('c12', 'ping -n -c 2 -i 0.2 -W 2 10.0.0.13')).ok, 'others reach it there');

  await host.apply([{ vni, remotes: [them], endpoints: stay }]);
  namespaces.run('c13', 'ip link set eth0 up');
  t.ok(
    (await namespaces.attempt('c13', 'ping -n -c 3 -i 0.3 -W 2 10.0.0.2')).ok,
    'it moved back and reaches us',
  );
  t.ok((await host.fdb()).includes(`${mac13} remote`), 'we followed the move back');
}

const reason = noNamespaces();
if (reason !== null) skip(t, reason);
else {
  for (const underlay of UNDERLAYS) {
    for (const vni of [1, 4097, 16777215]) {
      t.test(`VNI ${vni} over ${underlay.family}`, async (t) => {
        const namespaces = new Namespaces(t);
        kernelHost(namespaces, vni, underlay);
        const host = new RemoteHost(namespaces, 'us');
        const mtu = await host.start(underlay.us, [
          { vni, remotes: [underlay.them], endpoints: [ours(2), ours(3)] },
        ]);
        t.equal(mtu, underlay.mtu, 'the inner MTU follows from the underlay');
        await pingsBothWays(t, namespaces, host, mtu);
        await learned(t, namespaces, host, underlay.us);
        t.same(await host.drops(), {}, 'nothing was dropped');
        if (vni === 4097) await moves(t, namespaces, host, vni, underlay.them);
        t.same(await host.stop(), { used: 0 }, 'every packet came home');
      });
    }
  }
}
