/** The plugin's socket, spoken to as an engine does: in its order, in others, twice, and with nonsense. */
import { request } from 'node:http';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { skip } from '../../../../test/gen/skip.ts';
import { type Host, Hosts, LIMIT, noScenarios, until } from '../scenario/hosts.ts';

const hex = (n: number) => n.toString(16).padStart(4, '0').repeat(16);
const GATEWAY = { RequestAddressType: 'com.docker.network.gateway' };

type Answer = Record<string, unknown> & { readonly Err?: string; readonly status: number };

/** An engine as the plugin sees it. */
class Caller {
  readonly host: Host;

  constructor(host: Host) {
    this.host = host;
  }

  get socket(): string {
    return join(this.host.folder, 'plugin.sock');
  }

  async up(...options: readonly string[]): Promise<void> {
    const engine = join(this.host.folder, 'no-engine.sock');
    await this.host.up('--docker-plugin', this.socket, '--docker-engine', engine, ...options);
    const answers = () =>
      this.call('Plugin.Activate').then(
        () => true,
        () => false,
      );
    if (!(await until(answers))) throw new Error(`the plugin does not answer:\n${this.host.log}`);
  }

  /** Calls a method; a text is sent as it is. */
  call(method: string, body: unknown = undefined): Promise<Answer> {
    const text = typeof body === 'string' ? body : body === undefined ? '' : `${JSON.stringify(body)}\n`;
    return new Promise((resolve, reject) => {
      const headers = { Accept: 'application/vnd.docker.plugins.v1.2+json', Host: '' };
      const options = { socketPath: this.socket, path: `/${method}`, method: 'POST', headers };
      const asked = request(options, (answer) => {
        let said = '';
        answer.on('data', (part) => {
          said += part;
        });
        answer.on('end', () => resolve({ status: answer.statusCode!, ...JSON.parse(said) }));
      });
      asked.on('error', reject);
      asked.end(text);
    });
  }

  /** Calls a method that must succeed. */
  async do(method: string, body: unknown = undefined): Promise<Answer> {
    const answer = await this.call(method, body);
    if (answer.Err !== undefined) throw new Error(`${method}: ${answer.Err}`);
    return answer;
  }

  /** A network of the overlay for a Docker network, in the engine's order; id of its pool. */
  async network(id: string, name: string, more: object = {}, options: object = {}): Promise<string> {
    const { PoolID, Pool, Data } = await this.pool({ Options: { network: name }, ...more });
    const data = {
      AddressSpace: 'packetweave',
      Pool,
      Gateway: (Data as Record<string, string>)['com.docker.network.gateway'],
    };
    const body = {
      NetworkID: id,
      Options: { 'com.docker.network.generic': options },
      IPv4Data: [data],
      IPv6Data: [],
    };
    await this.do('NetworkDriver.CreateNetwork', body);
    return PoolID as string;
  }

  pool(more: object): Promise<Answer> {
    return this.do('IpamDriver.RequestPool', { AddressSpace: 'packetweave', Pool: '', SubPool: '', ...more });
  }

  async address(pool: string, address = '', options: object | null = null): Promise<string> {
    const body = { PoolID: pool, Address: address, Options: options };
    return (await this.do('IpamDriver.RequestAddress', body)).Address as string;
  }

  /** An endpoint with a device in the host's namespace. */
  async endpoint(network: string, id: string, address: string, mac = ''): Promise<Answer> {
    const Interface = { Address: address, AddressIPv6: '', MacAddress: mac };
    const made = await this.do('NetworkDriver.CreateEndpoint', {
      NetworkID: network,
      EndpointID: id,
      Interface,
      Options: null,
    });
    await this.join(network, id);
    return made;
  }

  join(network: string, id: string): Promise<Answer> {
    const sandbox = `/run/netns/${this.host.namespace}`;
    return this.do('NetworkDriver.Join', {
      NetworkID: network,
      EndpointID: id,
      SandboxKey: sandbox,
      Options: {},
    });
  }

  async remove(network: string, id: string): Promise<void> {
    await this.call('NetworkDriver.Leave', { NetworkID: network, EndpointID: id });
    await this.do('NetworkDriver.DeleteEndpoint', { NetworkID: network, EndpointID: id });
  }

  /** Whether no device of the plugin is left: they go soon after their endpoints. */
  clean(): Promise<boolean> {
    return until(async () => Object.keys(await this.devices()).length === 0);
  }

  /** MAC addresses of the plugin's devices by name. */
  async devices(): Promise<Record<string, string>> {
    const { stdout } = await this.host.exec('ip', '-j', 'link', 'show');
    const links: { ifname: string; address: string }[] = JSON.parse(stdout);
    return Object.fromEntries(
      links.filter(({ ifname }) => ifname.startsWith('pwd')).map(({ ifname, address }) => [ifname, address]),
    );
  }

  /** Endpoints of a network as the overlay has them. */
  async endpoints(
    network: string,
  ): Promise<{ IPv4Address: string; IPv6Address: string; MacAddress: string }[]> {
    const [{ Containers }] = JSON.parse(await this.host.cli('network', 'inspect', network));
    return Object.values(Containers);
  }
}

async function started(t: Test): Promise<Caller | null> {
  const no = noScenarios();
  if (no !== null) {
    skip(t, no);
    return null;
  }
  const [host] = new Hosts(t, 1).all;
  const caller = new Caller(host);
  await caller.up();
  return caller;
}

t.test('the plugin', { timeout: LIMIT }, async (t) => {
  const caller = await started(t);
  if (caller === null) return;
  const { host } = caller;

  t.test('what it is', async (t) => {
    t.match(await caller.do('Plugin.Activate'), { Implements: ['NetworkDriver', 'IpamDriver'] });
    t.match(await caller.do('NetworkDriver.GetCapabilities'), { Scope: 'local' });
    t.match(await caller.do('IpamDriver.GetCapabilities'), { RequiresMACAddress: false });
    t.match(await caller.do('IpamDriver.GetDefaultAddressSpaces'), {
      LocalDefaultAddressSpace: 'packetweave',
    });
    t.match(await caller.call('NetworkDriver.AllocateNetwork', {}), { status: 404, Err: /no method/ });
  });

  t.test('on a host that is in no overlay', async (t) => {
    const { Err } = await caller.call('IpamDriver.RequestPool', { Options: { network: 'x' } });
    t.match(Err, /this host is in no overlay: "packetweave init" makes one/);
    await host.cli('init');
  });

  t.test('nonsense', async (t) => {
    const wrong: readonly [string, unknown, RegExp][] = [
      ['IpamDriver.RequestPool', '', /add --ipam-opt network=NAME/],
      ['IpamDriver.RequestPool', '{', /not JSON/],
      ['IpamDriver.RequestPool', '[]', /expected an object/],
      ['IpamDriver.RequestPool', '7', /expected an object/],
      ['IpamDriver.RequestPool', { Options: null }, /add --ipam-opt/],
      ['IpamDriver.RequestPool', { Options: 'x' }, /"Options" expected an object/],
      ['IpamDriver.RequestPool', { Pool: 7, Options: { network: 'x' } }, /"Pool" expected a text/],
      ['IpamDriver.RequestPool', { Pool: '10.0.0.0', Options: { network: 'x' } }, /10\.0\.0\.0/],
      ['IpamDriver.RequestPool', { Options: { network: '../x' } }, /Invalid network name/],
      ['IpamDriver.RequestAddress', {}, /has no "PoolID"/],
      ['IpamDriver.RequestAddress', { PoolID: 'x/10.0.0.0/8' }, /not known to packetweave/],
      ['IpamDriver.ReleaseAddress', { PoolID: null, Address: null }, /has no "PoolID"/],
      ['IpamDriver.ReleasePool', null, /has no "PoolID"/],
      ['NetworkDriver.CreateNetwork', {}, /has no "NetworkID"/],
      ['NetworkDriver.CreateNetwork', { NetworkID: '../../etc' }, /"NetworkID" expected an id/],
      ['NetworkDriver.CreateNetwork', { NetworkID: hex(1) }, /add --ipam-driver packetweave/],
      ['NetworkDriver.CreateNetwork', { NetworkID: hex(1), IPv4Data: [null] }, /has no "Pool"/],
      ['NetworkDriver.CreateNetwork', { NetworkID: hex(1), IPv4Data: {} }, /"IPv4Data" expected a list/],
      ['NetworkDriver.CreateEndpoint', { NetworkID: hex(1), EndpointID: hex(2) }, /not known to packetweave/],
      ['NetworkDriver.CreateEndpoint', { NetworkID: hex(1) }, /has no "EndpointID"/],
      ['NetworkDriver.Join', { NetworkID: hex(1), EndpointID: hex(2) }, /has no "SandboxKey"/],
      ['NetworkDriver.Join', { NetworkID: hex(1), EndpointID: hex(2), SandboxKey: '/x' }, /not known/],
      ['NetworkDriver.Leave', { NetworkID: hex(1), EndpointID: hex(2) }, /not known/],
    ];
    for (const [method, body, message] of wrong) {
      const { status, Err, Error: other } = await caller.call(method, body);
      t.equal(status, 200);
      t.match(Err, message, `${method} ${JSON.stringify(body)}`);
      t.equal(other, Err, 'an IPAM driver calls it Error');
    }
    const nothing = { NetworkID: hex(1), EndpointID: hex(2) };
    for (const method of ['DeleteEndpoint', 'DeleteNetwork', 'EndpointOperInfo', 'DiscoverNew']) {
      t.match(await caller.call(`NetworkDriver.${method}`, nothing), { status: 200, Err: undefined }, method);
    }
    t.match(await caller.call('IpamDriver.ReleasePool', { PoolID: 'x' }), { Err: undefined });
    t.match(await caller.call('IpamDriver.ReleaseAddress', { PoolID: 'x', Address: 'y' }), {
      Err: undefined,
    });
  });

  t.test('a network, an endpoint, and everything twice', async (t) => {
    const pool = await caller.network(hex(10), 'demo', {}, { encrypted: '' });
    t.equal(pool, 'demo/10.0.1.0/24');
    t.match(JSON.parse(await host.cli('network', 'inspect', 'demo')), [
      { Attachable: true, Options: { encrypted: '' }, Labels: { 'packetweave.owner': 'docker' } },
    ]);
    await caller.do('NetworkDriver.CreateNetwork', { NetworkID: hex(10), IPv4Data: [] });
    t.equal(await caller.address(pool, '', GATEWAY), '10.0.1.1/24');
    t.match(
      await caller.call('IpamDriver.RequestAddress', { PoolID: pool, Address: '10.0.1.9', Options: GATEWAY }),
      { Err: /the gateway of 10\.0\.1\.0\/24 is 10\.0\.1\.1/ },
    );
    const address = await caller.address(pool);
    t.equal(address, '10.0.1.2/24');
    t.match(await caller.call('IpamDriver.RequestAddress', { PoolID: pool, Address: '10.0.1.2' }), {
      Err: /Address already in use/,
    });
    t.match(await caller.endpoint(hex(10), hex(11), address), {
      Interface: { MacAddress: '02:42:0a:00:01:02' },
    });
    t.match(await caller.endpoint(hex(10), hex(11), address), {
      Interface: { MacAddress: '02:42:0a:00:01:02' },
    });
    const joined = await caller.join(hex(10), hex(11));
    t.match(joined, { InterfaceName: { SrcName: 'pwd000b000b000b', DstPrefix: 'eth' }, StaticRoutes: [] });
    t.notOk('Gateway' in joined);
    t.strictSame(await caller.devices(), { pwd000b000b000b: '02:42:0a:00:01:02' });
    const other = { NetworkID: hex(10), EndpointID: hex(12), Interface: { Address: '10.0.1.3/24' } };
    t.match(await caller.call('NetworkDriver.CreateEndpoint', other), { Err: /was not asked for/ });
    await caller.remove(hex(10), hex(11));
    await caller.do('NetworkDriver.DeleteEndpoint', { NetworkID: hex(10), EndpointID: hex(11) });
    await caller.do('IpamDriver.ReleaseAddress', { PoolID: pool, Address: '10.0.1.2' });
    t.ok(await caller.clean(), 'no device is left');
    t.strictSame(await caller.endpoints('demo'), []);
  });

  t.test('an address and a MAC address of its own, and an address that is given back', async (t) => {
    const pool = 'demo/10.0.1.0/24';
    const mac = '02:00:00:00:00:77';
    const address = await caller.address(pool, '10.0.1.77');
    const made = await caller.endpoint(hex(10), hex(20), address, mac);
    t.notOk('Interface' in made, 'what the engine said it is not told');
    t.strictSame(Object.values(await caller.devices()), [mac]);
    t.match(await caller.endpoints('demo'), [{ IPv4Address: '10.0.1.77/24', MacAddress: mac }]);
    await caller.do('IpamDriver.ReleaseAddress', { PoolID: pool, Address: '10.0.1.77' });
    t.strictSame(await caller.endpoints('demo'), [], 'also before its endpoint is deleted');
    t.ok(await caller.clean(), 'no device is left');
    const unused = await caller.address(pool);
    await caller.do('IpamDriver.ReleaseAddress', { PoolID: pool, Address: unused.split('/')[0] });
    t.strictSame(await caller.endpoints('demo'), []);
  });

  t.test('a daemon that starts again', async (t) => {
    const pool = 'demo/10.0.1.0/24';
    const kept = await caller.address(pool);
    await caller.endpoint(hex(10), hex(30), kept);
    await caller.address(pool);
    t.equal((await caller.endpoints('demo')).length, 2);
    t.match(await host.attempt('leave'), { code: 1, stderr: /containers still run here/ });
    await host.down('SIGKILL');
    await caller.up();
    t.ok(
      await until(async () => (await caller.endpoints('demo')).length === 1),
      'what was not finished is released',
    );
    t.match(await caller.endpoints('demo'), [{ IPv4Address: kept }]);
    t.match(await caller.join(hex(10), hex(30)), { InterfaceName: { SrcName: 'pwd001e001e001e' } });
    t.equal(Object.keys(await caller.devices()).length, 1);
    await caller.remove(hex(10), hex(30));
    t.ok(await caller.clean(), 'no device is left');
  });

  t.test('IPv6', async (t) => {
    const four = await caller.pool({ Options: { network: 'six' } });
    const six = await caller.pool({ Options: { network: 'six' }, Pool: 'fd00:6::/64', V6: true });
    t.match(six, { Pool: 'fd00:6::/64', Data: { 'com.docker.network.gateway': 'fd00:6::1/64' } });
    const data = ({ Pool }: Answer) => ({ AddressSpace: 'packetweave', Pool });
    const body = { NetworkID: hex(40), IPv4Data: [data(four)], IPv6Data: [data(six)] };
    await caller.do('NetworkDriver.CreateNetwork', body);
    const [v4, v6] = [four.PoolID as string, six.PoolID as string];
    t.match(await caller.call('IpamDriver.RequestAddress', { PoolID: v6 }), {
      Err: /IPv4 address: ask for that/,
    });
    const first = [await caller.address(v4), await caller.address(v6)];
    t.match(first, [/^10\./, /^fd00:6::/]);
    await caller.endpoint(hex(40), hex(41), first[0]);
    const second = [await caller.address(v4), await caller.address(v6, 'fd00:6::77')];
    t.equal(second[1], 'fd00:6::77/64');
    await caller.endpoint(hex(40), hex(42), second[0]);
    const addresses = (await caller.endpoints('six')).map(({ IPv4Address, IPv6Address }) => [
      IPv4Address,
      IPv6Address,
    ]);
    t.same(new Set(addresses.flat()), new Set([...first, ...second]));
    await caller.remove(hex(40), hex(41));
    await caller.remove(hex(40), hex(42));
    await caller.do('NetworkDriver.DeleteNetwork', { NetworkID: hex(40) });
  });

  t.test('a network that is there', async (t) => {
    await host.cli('network', 'create', '--attachable', '--subnet', '10.50.0.0/24', 'there');
    await host.cli('network', 'create', '--subnet', '10.51.0.0/24', 'closed');
    const refused = async (name: string, more: object, options: object) =>
      caller.network(hex(50), name, more, options).then(
        () => 'was not refused',
        (error: Error) => error.message,
      );
    t.match(await refused('closed', {}, {}), /cannot attach to it: create it with --attachable/);
    t.match(await refused('there', {}, { encrypted: '' }), /is not encrypted: leave --opt encrypted out/);
    t.match(await refused('there', { Pool: '10.9.0.0/24' }, {}), /is there with 10\.50\.0\.0\/24, not 10\.9/);
    t.match(await refused('there', { Pool: '10.50.0.0/24', SubPool: '10.50.0.0/25' }, {}), /--ip-range none/);
    t.match(
      await refused('there', { Pool: '10.50.0.0/24' }, { network: 'other' }),
      /several networks are named/,
    );
    await caller.do('IpamDriver.ReleasePool', { PoolID: 'there/10.50.0.0/24' });
    const pool = await caller.network(hex(50), 'there', { Pool: '10.50.0.0/24' });
    t.match(
      await refused('there', { Pool: '10.50.0.0/24' }, {}).then(() =>
        caller
          .network(hex(51), 'there', {
            Pool: '10.50.0.0/24',
          })
          .catch((error: Error) => error.message),
      ),
      /of this engine already/,
    );
    t.match(await caller.address(pool), /^10\.50\.0\./);
    await host.cli('network', 'create', '--attachable', 'loop');
    const ask = { Options: { network: 'loop' } };
    const { PoolID } = await caller.pool(ask);
    t.match(await caller.call('IpamDriver.RequestPool', ask), {
      Err: /overlaps with a route of this host: say/,
    });
    await caller.do('IpamDriver.ReleasePool', { PoolID });
    await caller.pool(ask);
  });

  t.test('networks that Docker made go with it', async (t) => {
    await caller.do('NetworkDriver.DeleteNetwork', { NetworkID: hex(10) });
    await caller.do('NetworkDriver.DeleteNetwork', { NetworkID: hex(10) });
    await caller.do('NetworkDriver.DeleteNetwork', { NetworkID: hex(50) });
    const names = JSON.parse(await host.cli('network', 'ls', '--json')).map(
      ({ name }: { name: string }) => name,
    );
    t.strictSame(names.sort(), ['closed', 'loop', 'there']);
  });

  t.test('a host that left the overlay', async (t) => {
    const pool = await caller.network(hex(80), 'last');
    await caller.endpoint(hex(80), hex(81), await caller.address(pool));
    t.match(await host.attempt('leave'), { code: 1, stderr: /containers still run here \(docker-/ });
    await host.cli('leave', '--force');
    t.match(await caller.call('IpamDriver.RequestAddress', { PoolID: pool }), { Err: /is in no overlay/ });
    await caller.remove(hex(80), hex(81));
    t.ok(await caller.clean(), 'no device is left');
    await caller.do('NetworkDriver.DeleteNetwork', { NetworkID: hex(80) });
  });
});

t.test('without a store', { timeout: LIMIT }, async (t) => {
  const no = noScenarios();
  if (no !== null) return skip(t, no);
  const callers = new Hosts(t, 2).all.map((host) => new Caller(host));
  const [one, two] = callers;
  await Promise.all(callers.map((each, i) => each.up('--peer', callers[1 - i].host.address)));
  const pools = await Promise.all(callers.map((each, i) => each.network(hex(60 + i), 'demo')));
  t.equal(pools[0], pools[1], 'the subnet follows from the name');
  const addresses = await Promise.all(callers.map((each) => each.address(pools[0])));
  t.not(addresses[0], addresses[1], 'each host has a part of its own');
  for (const [i, each] of callers.entries()) await each.endpoint(hex(60 + i), hex(70 + i), addresses[i]);
  // The device of one host is up and has its address there, as if an engine had moved it.
  for (const [i, { host }] of callers.entries()) {
    const device = `pwd${hex(70 + i).slice(0, 12)}`;
    await host.exec('ip', 'address', 'add', addresses[i], 'dev', device);
    await host.exec('ip', 'link', 'set', device, 'up');
  }
  const to = addresses[1].split('/')[0];
  const ping = () => one.host.exec('ping', '-c', '1', '-W', '1', to);
  t.ok(await until(async () => (await ping()).code === 0), `${addresses[0]} reaches ${to}`);
  for (const [i, each] of callers.entries()) await each.remove(hex(60 + i), hex(70 + i));
  t.strictSame([await one.clean(), await two.clean()], [true, true], 'no device is left');
});
