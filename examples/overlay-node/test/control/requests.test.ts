import t from 'tap';
import type { EndpointRequest, Network, NetworkRequest } from '../../control/model.ts';
import { innerMtu } from '../../control/network-options.ts';
import { checkEndpointRequest, checkNetworkRequest } from '../../control/requests.ts';

const net = (request: Partial<NetworkRequest>) => checkNetworkRequest({ name: 'web', ...request });

t.test('what is absent is chosen', async (t) => {
  t.match(net({}), {
    attachable: false,
    internal: false,
    ipv6: false,
    encrypted: false,
    vni: null,
    subnets: [],
  });
  t.match(net({ subnets: ['10.1.0.0/16'] }).subnets, [{ gateway: '10.1.0.1', range: null }]);
  t.match(net({ subnets: ['10.1.0.0/16'], ranges: ['10.1.4.0/24'] }).subnets, [{ gateway: '10.1.4.0' }]);
  t.match(net({ subnets: ['10.1.0.0/24'], auxiliary: ['a=10.1.0.1'] }).subnets, [{ gateway: '10.1.0.2' }]);
  t.match(net({ subnets: ['10.1.0.0/24', 'FD00:0::/64'], gateways: ['fd00::9'] }), {
    ipv6: true,
    subnets: [{ gateway: '10.1.0.1' }, { cidr: 'fd00::/64', gateway: 'fd00::9' }],
  });
});

t.test('options', async (t) => {
  t.equal(net({ options: { encrypted: '' } }).encrypted, true);
  t.equal(net({ options: { encrypted: 'true' } }).encrypted, true);
  t.equal(net({ options: { encrypted: 'false' } }).encrypted, false);
  t.equal(net({ options: { mtu: '1400' } }).mtu, 1400);
  t.equal(net({ options: { 'com.docker.network.driver.mtu': '9000' } }).mtu, 8950);
  t.equal(net({ options: { encrypted: '', 'com.docker.network.driver.mtu': '1500' } }).mtu, 1408);
  t.equal(net({ options: { 'com.docker.network.driver.overlay.vxlanid_list': '5000, 5001' } }).vni, 5000);
  t.equal(innerMtu(1500, false), 1450);
});

t.test('refusals', async (t) => {
  const cases: [Partial<NetworkRequest>, RegExp][] = [
    [{ name: '' }, /^Invalid network name/],
    [{ name: '-x' }, /^Invalid network name \(-x\)/],
    [{ name: 'a/b' }, /only \[a-zA-Z0-9\]/],
    [{ name: 'n'.repeat(64) }, /up to 63/],
    [{ name: 'host' }, /operation is not permitted on predefined host network/],
    [{ driver: 'bridge' }, /network driver "bridge" not found/],
    [{ subnets: ['10.0.0.0'] }, /^invalid subnet 10\.0\.0\.0/],
    [{ subnets: ['10.0.0.1/24'] }, /it should be 10\.0\.0\.0\/24/],
    [{ subnets: ['10.0.0.0/30'] }, /from \/8 to \/29/],
    [{ subnets: ['0.0.0.0/8'] }, /hosts cannot have/],
    [{ subnets: ['127.1.0.0/24'] }, /hosts cannot have/],
    [{ subnets: ['224.0.0.0/24'] }, /hosts cannot have/],
    [{ subnets: ['ff02::/64'] }, /hosts cannot have/],
    [{ subnets: ['fd00::/126'] }, /from \/16 to \/125/],
    [{ subnets: ['10.0.0.0/16', '10.0.1.0/24'] }, /multiple overlapping subnet/],
    [{ ranges: ['10.0.0.0/24'] }, /every ip-range or gateway must have/],
    [{ subnets: ['10.0.0.0/24'], ranges: ['10.0.1.0/25'] }, /no matching subnet for range 10\.0\.1\.0\/25/],
    [{ subnets: ['10.0.0.0/24'], ranges: ['10.0.0.0/16'] }, /bigger than its parent subnet/],
    [{ subnets: ['10.0.0.0/24'], ranges: ['10.0.0.1/25'] }, /it should be 10\.0\.0\.0\/25/],
    [{ subnets: ['10.0.0.0/24'], ranges: ['x'] }, /invalid ip-range x/],
    [{ subnets: ['10.0.0.0/24'], ranges: ['10.0.0.0/32'] }, /cannot have any/],
    [{ subnets: ['10.0.0.0/24', '10.1.0.0/24'], ranges: ['10.0.0.0/26', '10.0.0.64/26'] }, /multiple ranges/],
    [{ subnets: ['10.0.0.0/24'], gateways: ['10.0.1.1'] }, /no matching subnet for gateway 10\.0\.1\.1/],
    [{ subnets: ['10.0.0.0/24'], gateways: ['10.0.0.255'] }, /invalid gateway 10\.0\.0\.255/],
    [{ subnets: ['10.0.0.0/24'], gateways: ['gw'] }, /invalid gateway gw/],
    [{ subnets: ['10.0.0.0/24', '10.1.0.0/24'], gateways: ['10.0.0.1', '10.0.0.2'] }, /multiple gateways/],
    [{ subnets: ['10.0.0.0/24'], auxiliary: ['10.0.0.3'] }, /expected name=address/],
    [{ subnets: ['10.0.0.0/24'], auxiliary: ['a=10.9.0.3'] }, /no matching subnet for aux-address/],
    [{ subnets: ['10.0.0.0/24'], auxiliary: ['a=10.0.0.3', 'b=10.0.0.3'] }, /already in use/],
    [{ subnets: ['10.0.0.0/24'], auxiliary: ['a=10.0.0.3', 'a=10.0.0.4'] }, /twice/],
    [{ subnets: ['10.0.0.0/24'], gateways: ['10.0.0.3'], auxiliary: ['a=10.0.0.3'] }, /already in use/],
    [{ subnets: ['fd00::/64'], ipv6: false }, /without IPv6/],
    [{ options: { colour: 'red' } }, /unknown option "colour": known are encrypted, mtu, vni/],
    [{ options: { mtu: '70' } }, /option "mtu" expected an integer 576\.\.65535, got "70"/],
    [{ ipv6: true, options: { mtu: '1000' } }, /1280\.\.65535/],
    [{ options: { vni: '0' } }, /option "vni" expected an integer 1\.\.16777215/],
    [{ options: { vni: '1e3' } }, /expected an integer/],
    [{ options: { 'com.docker.network.driver.overlay.vxlanid_list': '7,x' } }, /expected an integer/],
    [{ options: { vni: '8', 'com.docker.network.driver.overlay.vxlanid_list': '7' } }, /not the same/],
    [{ options: { mtu: '1400', 'com.docker.network.driver.mtu': '1500' } }, /give one of them/],
    [{ options: { 'com.docker.network.driver.mtu': '600' } }, /leaves 550 inside, less than 576/],
  ];
  for (const [request, message] of cases) t.throws(() => net(request), { name: 'ControlError', message });
});

t.test('endpoints', async (t) => {
  const network: Network = {
    id: 'a'.repeat(64),
    name: 'web',
    created: '',
    vni: 4097,
    subnets: net({ subnets: ['10.0.0.0/24', 'fd00::/64'], auxiliary: ['printer=10.0.0.9'] }).subnets,
    ipv6: true,
    internal: false,
    attachable: true,
    encrypted: false,
    mtu: null,
    labels: {},
    options: {},
  };
  const container = `0123456789ab${'0'.repeat(52)}`;
  const ask = (request: Partial<EndpointRequest>, of = network) =>
    checkEndpointRequest({ network: 'web', container, name: 'c', ...request }, of);
  t.match(ask({}), { hostname: '0123456789ab', aliases: [], ip: null, mac: null });
  t.match(ask({ ip: '10.0.0.7', ip6: 'FD00::0:7', mac: '02-42-0A-00-00-07' }), {
    ip: '10.0.0.7',
    ip6: 'fd00::7',
    mac: '02:42:0a:00:00:07',
  });
  t.ok(ask({ service: true }, { ...network, attachable: false }));
  t.throws(() => ask({}, { ...network, attachable: false }), {
    code: 'FORBIDDEN',
    message: 'Could not attach to network web: network web not manually attachable',
  });
  const port = { protocol: 'tcp', published: 1, port: 1, count: 1, hostAddress: null } as const;
  const cases: [Partial<EndpointRequest>, RegExp][] = [
    [{ container: 'x' }, /64 hexadecimal digits/],
    [{ name: 'a b' }, /Invalid container name/],
    [{ aliases: ['a!'] }, /Invalid alias name/],
    [{ hostname: '-h' }, /invalid hostname format/],
    [{ ip: '10.0.1.7' }, /no configured subnet contains IP address 10\.0\.1\.7/],
    [{ ip: 'fd00::7' }, /invalid IPv4 address/],
    [{ ip6: '10.0.0.7' }, /invalid IPv6 address/],
    [{ ip: '10.0.0.1' }, /Address already in use: 10\.0\.0\.1 is kept for the gateway/],
    [{ ip: '10.0.0.9' }, /kept for printer/],
    [{ ip: '10.0.0.0' }, /first or last/],
    [{ mac: '01:00:5e:00:00:01' }, /not a valid mac address/],
    [{ mac: '00:00:00:00:00:00' }, /not a valid mac address/],
    [{ mac: 'mac' }, /not a valid mac address/],
    [{ ports: [{ ...port, count: 0 }] }, /once or more/],
    [{ ports: [{ ...port, published: 65535, count: 2 }] }, /invalid port: 65535/],
    [{ ports: [{ ...port, hostAddress: 'here' }] }, /invalid IP address/],
  ];
  for (const [request, message] of cases) t.throws(() => ask(request), { message });
});
