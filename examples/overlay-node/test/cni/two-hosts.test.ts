/** The plugin on two hosts with real daemons, as a runtime calls it. */
import t from 'tap';
import { skip } from '../../../../test/gen/skip.ts';
import { Hosts, LIMIT, noScenarios, until } from '../scenario/hosts.ts';
import { addressesOf, call, execute, Sandboxes } from './runtime.ts';

const ID = (digit: string) => digit.repeat(64);
const SUBNETS = ['--subnet', '10.77.0.0/24', '--subnet', 'fd00:77::/64'];

t.test('attached, looked at, taken away', { timeout: LIMIT }, async (t) => {
  const no = noScenarios();
  if (no !== null) return skip(t, no);
  const hosts = new Hosts(t, 2);
  const sandboxes = new Sandboxes(t);
  const [one, two] = hosts.all;
  t.match(await execute(one, 'STATUS', null), { code: 1, answer: { code: 51, msg: /no daemon answers/ } });
  await one.up();
  t.match(await call(one, 'STATUS', null), { code: 1, answer: { code: 50, msg: /in no overlay/ } });
  await one.down();
  await hosts.cluster();
  t.match(await call(one, 'STATUS', null), { code: 1, answer: { code: 50, msg: /no network "demo"/ } });
  await one.cli('network', 'create', '--attachable', ...SUBNETS, 'demo');
  await one.cli('network', 'create', '--attachable', '--internal', '--subnet', '10.78.0.0/24', 'back');
  t.same(await execute(one, 'STATUS', null), { code: 0, answer: null });

  const web = { container: ID('a'), namespace: sandboxes.add('web'), args: 'K8S_POD_NAME=web' };
  const added = await execute(one, 'ADD', web, {
    runtimeConfig: { portMappings: [{ hostPort: 8080, containerPort: 80, protocol: 'TCP', hostIP: '' }] },
  });
  const client = { container: 'client', namespace: sandboxes.add('client') };
  const other = await execute(two, 'ADD', client, { name: 'elsewhere', network: 'demo' });

  t.test('what ADD answers', async (t) => {
    const [link] = JSON.parse(sandboxes.run('web', 'ip -j address show dev eth0'));
    const addresses = link.addr_info.filter((one: { scope: string }) => one.scope === 'global');
    t.match(added, { code: 0, answer: { cniVersion: '1.1.0' } });
    t.same(added.answer?.interfaces, [
      { name: 'eth0', mac: link.address, mtu: link.mtu, sandbox: web.namespace },
    ]);
    const gateways = ['10.77.0.1', 'fd00:77::1'];
    const address = ({ local, prefixlen }: { local: string; prefixlen: number }) => `${local}/${prefixlen}`;
    t.same(
      added.answer?.ips,
      addresses.map((one: never, i: number) => ({
        address: address(one),
        interface: 0,
        gateway: gateways[i],
      })),
    );
    t.same(added.answer?.routes, [
      { dst: '0.0.0.0/0', gw: gateways[0] },
      { dst: '::/0', gw: gateways[1] },
    ]);
    t.same(added.answer?.dns, { nameservers: ['10.77.0.1'] });
    const [{ name, ports }] = JSON.parse(await one.cli('ps', '--json'));
    t.match({ name, ports }, { name: 'web', ports: [{ protocol: 'tcp', published: 8080, port: 80 }] });
    t.match(await call(one, 'ADD', web), { code: 1, answer: { code: 100, msg: /has eth0.*already/ } });
  });

  t.test('they reach each other, by address and by name', async (t) => {
    sandboxes.resolve('client', other);
    for (const to of [...addressesOf(added), 'web', ID('a').slice(0, 12), 'web.demo']) {
      t.ok(await sandboxes.reaches('client', to));
      const text = sandboxes.run('client', `ping -c 2 -i 0.2 -W 2 ${to}`);
      t.match(text, / 0% packet loss/, to);
    }
  });

  t.test('a second device, which leaves the default route where it is', async (t) => {
    const wanted = { name: 'back', cniVersion: '0.3.1' };
    const again = {
      ...web,
      device: 'net1',
      args: 'IgnoreUnknown=1;COLOUR=red;IP=10.78.0.9;K8S_POD_NAME=web',
    };
    const { code, answer } = await call(one, 'ADD', again, wanted);
    t.equal(code, 0, JSON.stringify(answer));
    t.equal(answer?.cniVersion, '0.3.1');
    t.same(answer?.ips, [{ version: '4', address: '10.78.0.9/24', interface: 0 }]);
    t.match(answer?.interfaces, [{ name: 'net1', mtu: undefined }]);
    t.same(answer?.routes, []);
    t.same(answer?.dns, { nameservers: ['10.78.0.1'] });
    t.match(sandboxes.run('web', 'ip route show default'), /via 10\.77\.0\.1 dev eth0/);
    t.match(await one.cli('ps'), /web-net1/);
    t.same(await call(one, 'DEL', again, wanted), { code: 0, answer: null });
    t.throws(() => sandboxes.run('web', 'ip link show dev net1'), 'the device is gone');
    t.match(
      await call(one, 'CHECK', web, { prevResult: added.answer }),
      { code: 0 },
      'and the other is well',
    );
  });

  t.test('after another plugin of the chain', async (t) => {
    const prevResult = {
      cniVersion: '1.0.0',
      interfaces: [{ name: 'br0', mac: '02:00:00:00:00:01' }],
      ips: [{ address: '192.0.2.7/24', interface: 0 }],
      routes: [{ dst: '192.0.2.0/24' }],
      dns: { nameservers: ['192.0.2.53'], domain: 'example' },
    };
    const about = { container: 'chained', namespace: sandboxes.add('chained') };
    const config = { cniVersion: '1.0.0', prevResult, isDefaultGateway: false };
    const { answer } = await call(one, 'ADD', about, config);
    t.match(answer?.interfaces, [{ name: 'br0' }, { name: 'eth0', sandbox: about.namespace }]);
    t.match(answer?.ips, [{ interface: 0 }, { interface: 1 }, { interface: 1 }]);
    t.same(answer?.routes, [{ dst: '192.0.2.0/24' }], 'no default route was wanted');
    t.same(answer?.dns, { nameservers: ['10.77.0.1', '192.0.2.53'], domain: 'example' });
    const whole = { ...config, prevResult: answer };
    t.same(await call(one, 'CHECK', about, whole), { code: 0, answer: null });
    t.same(await call(one, 'DEL', about, whole), { code: 0, answer: null });
  });

  t.test('CHECK tells what is broken', async (t) => {
    const about = { container: 'fragile', namespace: sandboxes.add('fragile') };
    const { answer } = await call(one, 'ADD', about);
    const check = (config = {}) => call(one, 'CHECK', about, { prevResult: answer, ...config });
    t.same(await check(), { code: 0, answer: null });
    const broken = async (command: string, msg: RegExp) => {
      sandboxes.run('fragile', command);
      t.match(await check(), { code: 1, answer: { code: 104, msg } }, command);
    };
    await broken('ip route del default', /no route to 0\.0\.0\.0\/0/);
    await broken(`ip address flush dev eth0 scope global`, /no address 10\.77\.0\./);
    await broken('ip link set dev eth0 down', /the device is down/);
    t.match(await check({ prevResult: undefined }), { code: 1, answer: { code: 7, msg: /"prevResult"/ } });
    t.match(await check({ name: 'other' }), { code: 1, answer: { code: 103 } }, 'never attached');
    t.match(await check({ cniVersion: '0.3.1' }), { code: 1, answer: { code: 1, msg: /CHECK/ } });
    await call(one, 'DEL', about);
    t.match(await check(), { code: 1, answer: { code: 103 } }, 'detached');
  });

  t.test('what ADD is refused with', async (t) => {
    const namespace = sandboxes.add('refused');
    const about = { container: 'refused', namespace };
    const refused = async (message: string, code: number, config: object, more = {}) =>
      t.match(
        await call(one, 'ADD', { ...about, ...more }, { ...config }),
        { code: 1, answer: { code } },
        message,
      );
    await refused('no such network', 7, { network: 'nope' });
    await refused('no such namespace', 3, {}, { namespace: '/run/netns/there-is-none' });
    await refused('a file that is no namespace', 3, {}, { namespace: '/etc/hostname' });
    await refused('addresses from elsewhere', 2, { ipam: { type: 'host-local' } });
    await refused('a limit', 2, { runtimeConfig: { bandwidth: { ingressRate: 1000 } } });
    await refused('an address of another subnet', 7, {}, { args: 'IP=192.0.2.9' });
    await refused('no address', 7, { runtimeConfig: { ips: ['here'] } });
    await refused('an address that is taken', 100, { runtimeConfig: { ips: [addressesOf(added)[0]] } });
    await refused('a port that is taken', 100, { publish: ['8080:81'] });
    await refused('a port that is none', 7, { runtimeConfig: { portMappings: [{ containerPort: 80 }] } });
    sandboxes.run('refused', 'ip link add eth0 type veth peer name other');
    await refused('a device that is there', 100, {});
    t.match(sandboxes.run('refused', 'ip link show dev eth0'), /eth0/, 'which stays');
    t.equal(JSON.parse(await one.cli('ps', '--json')).length, 1, 'nothing is left of them');
  });

  t.test('GC removes what the runtime does not know', async (t) => {
    const [kept, lost] = ['kept', 'lost'].map((container) => ({
      container,
      namespace: sandboxes.add(container),
    }));
    for (const about of [kept, lost]) t.equal((await call(one, 'ADD', about)).code, 0);
    const valid = [web, kept].map(({ container: containerID }) => ({ containerID, ifname: 'eth0' }));
    t.match(await call(one, 'GC', null), { code: 1, answer: { code: 7 } }, 'never without a list');
    const gc = await execute(one, 'GC', null, { 'cni.dev/valid-attachments': valid });
    t.same(gc, { code: 0, answer: null });
    const names = async () =>
      JSON.parse(await one.cli('ps', '--json')).map(({ name }: { name: string }) => name);
    t.same((await names()).sort(), ['kept', 'web']);
    await call(one, 'GC', null, { name: 'back', 'cni.dev/valid-attachments': [] });
    t.same((await names()).sort(), ['kept', 'web'], 'those of other networks are left alone');
    await call(one, 'DEL', kept);
  });

  t.test('a daemon that starts again, when a namespace is gone', async (t) => {
    const about = { container: 'gone', namespace: sandboxes.add('gone') };
    t.equal((await call(one, 'ADD', about)).code, 0);
    await one.down();
    sandboxes.remove('gone');
    await one.up();
    const check = () => call(one, 'CHECK', web, { prevResult: added.answer });
    t.ok(await until(async () => (await check()).code === 0), 'the others are as they were');
    t.ok(await sandboxes.reaches('client', 'web'));
    const text = sandboxes.run('client', 'ping -c 2 -i 0.2 -W 2 web');
    t.match(text, / 0% packet loss/);
    const { namespace: _, ...nowhere } = about;
    t.same(await call(one, 'DEL', nowhere), { code: 0, answer: null });
    t.equal(JSON.parse(await one.cli('ps', '--json')).length, 1);
  });

  t.test('DEL, and once more', async (t) => {
    for (let i = 0; i < 2; i++) t.same(await execute(one, 'DEL', web), { code: 0, answer: null });
    t.throws(() => sandboxes.run('web', 'ip link show dev eth0'));
    t.same(JSON.parse(await one.cli('ps', '--json')), []);
  });

  t.test('without the store', async (t) => {
    await one.down();
    const about = { container: 'late', namespace: sandboxes.add('late') };
    const status = () => call(two, 'STATUS', null, { network: 'demo' });
    t.ok(await until(async () => (await status()).answer?.code === 50), 'STATUS says so');
    t.match(await call(two, 'ADD', about), { code: 1, answer: { code: 11 } }, 'try again later');
    t.match(await call(one, 'DEL', web), { code: 1, answer: { code: 5 } }, 'and without the daemon');
  });
});
