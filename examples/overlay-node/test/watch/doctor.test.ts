/** What the doctor finds: of nodes in this process, and of network namespaces with something wrong in them. */
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import t, { type Test } from 'tap';
import { Namespaces } from '../../../../test/gen/netns.ts';
import { has, noNamespaces, skip } from '../../../../test/gen/skip.ts';
import type { Check } from '../../api/api.ts';
import { type DoctorParts, doctor } from '../../watch/doctor.ts';
import { forwardingChecks } from '../../watch/forwarding.ts';
import { hostChecks } from '../../watch/host-checks.ts';
import { probeMtu } from '../../watch/mtu.ts';
import { mtuChecks } from '../../watch/mtu-checks.ts';
import { folder, type RigNode, rig, until } from './rig.ts';

/** Two hosts on a cable. */
function pair(t: Test): Namespaces {
  const namespaces = new Namespaces(t);
  for (const name of ['a', 'b']) namespaces.add(name);
  namespaces.cable('a', 'eth0', 'b', 'eth0');
  for (const [n, name] of ['a', 'b'].entries()) {
    namespaces.run(name, `ip addr add 192.0.2.${n + 1}/24 dev eth0`);
    namespaces.run(name, `ip addr add 2001:db8::${n + 1}/64 dev eth0 nodad`);
  }
  return namespaces;
}

const MTU = { from: '192.0.2.1', mtu: 1500 };
const noPing = () => noNamespaces() ?? (has('ping') ? null : 'ping is not installed');

/** Whether this is found in the end: on a busy machine the answer to a ping may come too late. */
async function finds<T>(t: Test, look: () => Promise<T>, wanted: T): Promise<void> {
  let found = await look();
  for (let more = 10; more > 0 && !isDeepStrictEqual(found, wanted); more--) found = await look();
  t.same(found, wanted);
}

/** The check of one other node that packets of the usual size reach. */
const FITS: Check = {
  name: 'mtu',
  ok: true,
  found: 'packets of 1500 bytes reach 1 of 1 nodes',
  advice: null,
};

t.test('an MTU that the way does not have', async (t) => {
  const reason = noPing();
  if (reason !== null) return skip(t, reason);
  const namespaces = pair(t);
  const namespace = namespaces.real('a');
  const peers = [{ name: 'b', address: '192.0.2.2' }];
  const checks = () => mtuChecks({ ...MTU, peers, namespace });
  await finds(t, checks, [FITS]);

  // What is too large vanishes at the other end.
  namespaces.run('b', 'ip link set eth0 mtu 1400');
  const six = { address: '2001:db8::2', from: '2001:db8::1', mtu: 1500, namespace };
  await finds(t, checks, [
    {
      name: 'mtu',
      ok: false,
      found: 'packets of 1500 bytes do not reach b (192.0.2.2): the way has room for 1400',
      advice: 'raise the MTU on the way, or give "up" --mtu 1400 on every node',
    },
  ]);
  await finds(t, () => probeMtu(six), { kind: 'smaller', mtu: 1400 });

  // The host's own device says so.
  namespaces.run('a', 'ip link set eth0 mtu 1333');
  const near = () => probeMtu({ ...MTU, address: '192.0.2.2', namespace });
  await finds(t, near, { kind: 'smaller', mtu: 1333 });

  const silent = { name: 'c', address: '192.0.2.9' };
  t.match(await mtuChecks({ ...MTU, mtu: 1300, peers: [silent], namespace }), [
    { ok: true, found: 'not measured to c (192.0.2.9): no ping is answered' },
  ]);
  t.same(await mtuChecks({ ...MTU, peers: [], namespace }), []);
});

t.test('a host that lets nothing through', async (t) => {
  const reason = noNamespaces() ?? (has('nft') ? null : 'nft is not installed');
  if (reason !== null) return skip(t, reason);
  const namespaces = new Namespaces(t);
  const namespace = namespaces.addQuiet('host');
  const set = (name: string, value: number) =>
    namespaces.run('host', `sh -c "echo ${value} > /proc/sys/net/${name}"`);
  set('ipv4/ip_forward', 0);
  set('ipv6/conf/all/forwarding', 1);
  t.match(await forwardingChecks({ ipv6: true, namespace }), [
    {
      name: 'forwarding',
      ok: false,
      found: 'net.ipv4.ip_forward is 0',
      advice: /sysctl -w net\.ipv4\.ip_forward=1/,
    },
    { name: 'forwarding', ok: true, found: 'net.ipv6.conf.all.forwarding is 1', advice: null },
  ]);
  set('ipv4/ip_forward', 1);
  namespaces.run('host', 'nft add table ip filter');
  namespaces.run(
    'host',
    `nft 'add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }'`,
  );
  const [forwards, firewall] = await forwardingChecks({ ipv6: false, namespace });
  t.equal(forwards.ok, true);
  t.match(firewall, { ok: false, found: 'chain FORWARD of table ip filter drops what no rule lets pass' });
  // The advice, as somebody would type it.
  namespaces.run('host', /nft '.*?'/.exec(firewall.advice!)![0]);
  t.match((await forwardingChecks({ ipv6: false, namespace }))[1], { ok: true, advice: null });
});

t.test('the host itself', async (t) => {
  const checks = await hostChecks();
  t.same(
    checks.map(({ name }) => name),
    ['system', 'privilege', 'iproute2', 'nftables', 'tun', 'native', 'cipher'],
  );
  for (const { ok, advice } of checks) t.equal(advice === null, ok);
});

const of = (checks: readonly Check[], name: string) => checks.filter((check) => check.name === name);

t.test('a node that runs', async (t) => {
  const state = folder(t);
  const { nodes, network } = await rig(t, 2);
  const [a] = nodes;
  await network({ name: 'dark', options: { encrypted: '' } });
  await until(async () => (await a.dataplane.encryptedPeers()).every(({ ready }) => ready));
  const ask = async ({ control, local, dataplane }: RigNode, changes: Partial<DoctorParts> = {}) => {
    const encryptedPeers = await dataplane.encryptedPeers();
    const place = { gateways: false, namespace: null };
    return doctor({ state, local, control, encryptedPeers, ...place, ...changes });
  };
  const { dataPort, espPort } = a.control.node;
  const well = await ask(a);
  t.match(of(well, 'store'), [{ ok: true, found: /^memory, since 20/ }]);
  t.match(of(well, 'keys'), [{ ok: true, found: 'of 1 of 1 nodes' }]);
  t.match(of(well, 'disk'), [{ found: new RegExp(`MiB are free for ${state}`) }]);
  t.match(of(well, `${dataPort}/udp`), [{ ok: true, found: 'bound' }]);
  t.match(of(well, `${espPort}/udp`), [{ ok: true, found: 'bound' }]);
  if (has('ping')) await finds(t, async () => of(await ask(a), 'mtu'), [FITS]);
  t.same(of(well, 'data port'), []);
  t.same(of(well, 'forwarding'), []);

  const since = Date.parse('2026-01-02');
  const ill = await ask(a, {
    state: join(state, 'nope'),
    local: { ...a.local, dataPort: 9, esp: null },
    control: {
      views: a.control.views,
      health: { state: 'away', since, error: 'connection refused', store: 'embedded' },
    },
    encryptedPeers: [{ address: '127.0.0.2', ready: false }],
    gateways: true,
  });
  t.match(of(ill, 'store'), [
    { ok: false, found: 'embedded is away since 2026-01-02T00:00:00.000Z: connection refused' },
  ]);
  t.match(of(ill, 'disk'), [{ ok: false, found: /ENOENT/ }]);
  t.match(of(ill, '9/udp'), [{ ok: false, found: 'nobody listens' }]);
  t.match(of(ill, 'keys'), [
    { ok: false, found: 'none of host2 (127.0.0.2)', advice: /nothing is sent to it/ },
  ]);
  t.match(of(ill, 'data port'), [{ ok: false, found: `host2 (127.0.0.2) has ${dataPort}, this node 9` }]);
  t.equal(of(ill, 'forwarding').length, 1);
  t.match(of(await ask(a, { encryptedPeers: null }), 'dataplane'), [{ ok: false }]);
  const alone = await ask(a, { local: null });
  t.same(alone.at(-1)?.name, 'disk', 'before init only the host is looked at');
});
