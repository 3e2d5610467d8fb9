/** Namespaces of containers: as Docker makes them, configured as often as one likes, and gone with all that runs. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import t, { type Test } from 'tap';
import { skip } from '../../../../test/gen/skip.ts';
import type { Interface } from '../../attach/attach.ts';
import {
  configure,
  listNamespaces,
  makeNamespace,
  namespaceName,
  removeNamespace,
} from '../../attach/namespace.ts';
import { runIn } from '../../attach/system.ts';
import { cable, container, containerId, noAttach } from './gen.ts';

const ETH0: Interface = {
  device: 'eth0',
  addresses: ['10.0.1.2/24', 'fd00:1::2/64'],
  mac: '02:42:0a:00:01:02',
  mtu: 1400,
  onLink: ['10.0.2.0/24'],
  gateways: ['10.0.1.1', 'fd00:1::1'],
};

const why = noAttach('nsenter');
if (why !== null) skip(t, why);
else test();

/** What is configured, in the words of `ip`. */
async function shown(name: string) {
  const json = async (...args: string[]) => JSON.parse(await runIn(name, 'ip', ['-j', ...args]));
  const [link] = await json('address', 'show', 'dev', 'eth0');
  const routes = async (family: string) =>
    (await json(family, 'route', 'show', 'dev', 'eth0')) as { dst: string }[];
  return {
    mac: link.address,
    mtu: link.mtu,
    up: link.flags.includes('UP'),
    addresses: link.addr_info
      .filter(({ scope }: { scope: string }) => scope === 'global')
      .map(
        ({ local, prefixlen, tentative }: Record<string, unknown>) =>
          `${local}/${prefixlen}${tentative ? '?' : ''}`,
      ),
    routes: [...(await routes('-4')), ...(await routes('-6'))]
      .map(({ dst }) => dst)
      .filter((dst) => dst !== 'fe80::/64')
      .sort(),
  };
}

const WANTED = {
  mac: ETH0.mac,
  mtu: 1400,
  up: true,
  addresses: ETH0.addresses,
  routes: ['10.0.1.0/24', '10.0.2.0/24', 'default', 'default', 'fd00:1::/64'],
};

async function twoContainers(t: Test) {
  const [a, b] = [await container(t), await container(t)];
  await cable(a, 'eth0', b, 'eth0');
  return [a, b];
}

function test(): void {
  t.test('a namespace as Docker makes it', async (t) => {
    const id = containerId();
    const name = await container(t, id);
    t.equal(name, `pw-${id.slice(0, 12)}`);
    t.ok(listNamespaces().includes(name));
    t.match(await runIn(name, 'ip', ['-br', 'link', 'show', 'lo']), /LOOPBACK,UP/);
    const setting = async (path: string) => (await runIn(name, 'cat', [`/proc/sys/net/${path}`])).trim();
    t.equal(await setting('ipv4/ip_unprivileged_port_start'), '0');
    t.equal(await setting('ipv4/ping_group_range'), '0\t2147483647');
    t.equal(await setting('ipv6/conf/default/accept_dad'), '0');
    await t.rejects(makeNamespace(id), { name: 'SystemError', message: /ip netns add pw-.*File exists/ });
    t.ok(listNamespaces().includes(name), 'the first one is still there');
  });

  t.test('a device is configured, and once more, and when it was made anew', async (t) => {
    const [a, b] = await twoContainers(t);
    await configure(a, ETH0);
    await configure(b, {
      ...ETH0,
      addresses: ['10.0.1.3/24'],
      mac: '02:42:0a:00:01:03',
      gateways: [],
      onLink: [],
    });
    t.same(await shown(a), WANTED);
    await configure(a, ETH0);
    t.same(await shown(a), WANTED);
    t.match(await runIn(a, 'ping', ['-c1', '-W2', '10.0.1.3']), / 0% packet loss/);
    t.same((await shown(b)).routes, ['10.0.1.0/24'], 'a network of IPv4 alone has no IPv6');
    await runIn(a, 'ip', ['link', 'del', 'eth0']);
    await cable(a, 'eth0', b, 'eth0');
    await configure(a, ETH0);
    t.same(await shown(a), WANTED);
  });

  t.test('the namespace of a process, by its path', async (t) => {
    const [a, b] = await twoContainers(t);
    const child = spawn('ip', ['netns', 'exec', a, 'sleep', '60'], { stdio: 'ignore' });
    t.teardown(() => child.kill('SIGKILL'));
    await once(child, 'spawn');
    while ((await runIn(null, 'ip', ['netns', 'identify', `${child.pid}`])).trim() !== a);
    const path = `/proc/${child.pid}/ns/net`;
    await configure(path, ETH0);
    t.same(await shown(a), WANTED);
    await t.rejects(removeNamespace(path), { code: 'INVALID', message: /somebody else's/ });
    t.ok(b);
  });

  t.test('what cannot be done is said in the words of ip', async (t) => {
    const name = await container(t);
    await t.rejects(configure(name, ETH0), {
      name: 'SystemError',
      message: `ip link set dev eth0 address ${ETH0.mac} mtu 1400: Cannot find device "eth0" (in the network namespace ${name})`,
    });
    await t.rejects(configure('pw-there-is-none', ETH0), { message: /pw-there-is-none/ });
    const [a] = await twoContainers(t);
    await t.rejects(configure(a, { ...ETH0, gateways: ['192.0.2.1'] }), {
      message: /ip route replace default via 192.0.2.1 dev eth0: .*Nexthop has invalid gateway/,
    });
  });

  t.test('removal ends what runs in it, and can be said again', async (t) => {
    const id = containerId();
    const name = await container(t, id);
    const deaf = ['netns', 'exec', name, 'sh', '-c', 'trap "" TERM; echo up; while :; do sleep 1; done'];
    const child = spawn('ip', deaf, { stdio: ['ignore', 'pipe', 'inherit'] });
    const exit = once(child, 'exit');
    await once(child.stdout!, 'data');
    await removeNamespace(name);
    t.same(await exit, [null, 'SIGKILL']);
    t.notOk(listNamespaces().includes(namespaceName(id)));
    await removeNamespace(name);
  });
}
