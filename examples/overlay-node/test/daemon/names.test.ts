import t from 'tap';
import type { NetworkView } from '../../control/control.ts';
import type { Endpoint, Network } from '../../control/model.ts';
import { ViewNames } from '../../daemon/names.ts';

const network = (id: string, name: string): Network => ({
  id,
  name,
  created: '2026-01-01T00:00:00Z',
  vni: 4097,
  subnets: [{ cidr: '10.0.1.0/24', range: null, gateway: '10.0.1.1', auxiliary: {} }],
  ipv6: false,
  internal: false,
  attachable: true,
  encrypted: false,
  mtu: null,
  labels: {},
  options: {},
});

function endpoint(id: string, network: string, wanted: Partial<Endpoint>): Endpoint {
  return {
    id,
    network,
    node: 'n1',
    container: `${id}${'0'.repeat(64 - id.length)}`,
    name: id,
    aliases: [],
    hostname: '',
    mac: '02:42:0a:00:01:02',
    addresses: [],
    ports: [],
    labels: {},
    ...wanted,
  };
}

const view = (of: Network, endpoints: readonly Endpoint[]): NetworkView => ({
  network: of,
  endpoints: new Map(endpoints.map((one) => [one.id, one])),
  peers: [],
});

t.test('names of a network, its aliases, short ids and NAME.NETWORK', async (t) => {
  const web = endpoint('aa', 'net1', { name: 'Web', aliases: ['www'], addresses: ['10.0.1.2/24'] });
  const other = endpoint('bb', 'net1', { aliases: ['www'], addresses: ['10.0.1.3/24', 'fd00::3/64'] });
  const names = new ViewNames();
  names.follow(new Map([['net1', view(network('net1', 'Front'), [web, other])]]), 'n1');
  const found = (name: string) => names.lookup('net1', '10.0.1.9', name).map(({ addresses }) => addresses[0]);
  t.same(found('web'), ['10.0.1.2']);
  t.same(found('WWW'), ['10.0.1.2', '10.0.1.3']);
  t.same(found('aa0000000000'), ['10.0.1.2']);
  t.same(found('web.front'), ['10.0.1.2']);
  t.same(found('web.back'), []);
  t.same(found('nobody'), []);
  t.same(names.reverse('net1', '10.0.1.9', 'fd00::3')?.names[0], 'bb');
  t.equal(names.reverse('net1', '10.0.1.9', '10.0.1.77'), null);
});

t.test('a container on two networks asks both, another container does not', async (t) => {
  const both = 'cc'.padEnd(64, '0');
  const one = [
    endpoint('e1', 'net1', { container: both, addresses: ['10.0.1.2/24'] }),
    endpoint('e2', 'net1', { addresses: ['10.0.1.3/24'] }),
  ];
  const two = [
    endpoint('e3', 'net2', { container: both, addresses: ['10.0.1.2/24'] }),
    endpoint('e4', 'net2', { name: 'db', addresses: ['10.0.1.3/24'] }),
  ];
  const names = new ViewNames();
  const before = names.version;
  names.follow(
    new Map([
      ['net1', view(network('net1', 'one'), one)],
      ['net2', view(network('net2', 'two'), two)],
    ]),
    'n1',
  );
  t.not(names.version, before);
  t.equal(names.lookup('net1', '10.0.1.2', 'db').length, 1);
  t.equal(names.lookup('net1', '10.0.1.3', 'db').length, 0);
  t.equal(names.reverse('net2', '10.0.1.2', '10.0.1.3')?.names[0], 'db', 'its own network first');
});

t.test('names follow endpoints that come, change and go, in a map that is altered in place', async (t) => {
  const endpoints = new Map<string, Endpoint>();
  const front = network('net1', 'front');
  const names = new ViewNames();
  const follow = () => names.follow(new Map([['net1', { network: front, endpoints, peers: [] }]]), 'n1');
  const put = (id: string, wanted: Partial<Endpoint>) => endpoints.set(id, endpoint(id, 'net1', wanted));
  const found = (name: string) => names.lookup('net1', '10.0.1.9', name).map(({ addresses }) => addresses[0]);
  const at = (address: string) => names.reverse('net1', '10.0.1.9', address)?.names[0];
  put('aa', { name: 'web', aliases: ['www', 'WWW'], addresses: ['10.0.1.2/24'] });
  put('bb', { name: 'db', aliases: ['www'], addresses: ['10.0.1.3/24'] });
  follow();
  t.same(found('www'), ['10.0.1.2', '10.0.1.3']);
  put('aa', { name: 'web', aliases: ['site'], addresses: ['10.0.1.4/24'] });
  follow();
  t.same([found('www'), found('site'), found('web')], [['10.0.1.3'], ['10.0.1.4'], ['10.0.1.4']]);
  t.same([at('10.0.1.2'), at('10.0.1.4')], [undefined, 'web']);
  put('cc', { name: 'late', addresses: ['10.0.1.4/24'] });
  follow();
  t.equal(at('10.0.1.4'), 'late', 'who came last');
  endpoints.delete('cc');
  endpoints.delete('bb');
  follow();
  t.equal(at('10.0.1.4'), 'web', 'and the other again');
  t.same([found('www'), found('db'), found('late')], [[], [], []]);
  endpoints.clear();
  follow();
  t.same([found('web'), at('10.0.1.4')], [[], undefined]);
});
