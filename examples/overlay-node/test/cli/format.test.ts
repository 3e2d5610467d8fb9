/** Times, ports, tables and the shapes of `inspect`. */
import t from 'tap';
import { ago, amount, commandText, portText, span, table } from '../../cli/format.ts';
import { containerShape, networkShape } from '../../cli/inspect.ts';
import { statsText } from '../../cli/stats.ts';
import { CONTAINER, ENDPOINT, NETWORK, NOW } from './stand-in.ts';

t.test('spans as Docker has them', async (t) => {
  const [minute, hour, day] = [60, 3600, 86400];
  const all: readonly [number, string][] = [
    [0, 'Less than a second'],
    [1, '1 second'],
    [59.9, '59 seconds'],
    [minute, 'About a minute'],
    [2 * minute, '2 minutes'],
    [59 * minute, '59 minutes'],
    [hour, 'About an hour'],
    [1.6 * hour, '2 hours'],
    [47 * hour, '47 hours'],
    [2 * day, '2 days'],
    [14 * day, '2 weeks'],
    [61 * day, '2 months'],
    [800 * day, '2 years'],
  ];
  for (const [seconds, text] of all) t.equal(span(seconds), text);
  t.equal(ago('2026-03-01T11:58:00Z', NOW), '2 minutes ago');
  t.equal(ago('2026-03-01T12:00:05Z', NOW), 'Less than a second ago', 'a clock that is ahead');
});

t.test('cells', async (t) => {
  t.equal(portText(CONTAINER.ports[0]), '8080->80/tcp');
  t.equal(portText({ ...CONTAINER.ports[1], hostAddress: '::1' }), '[::1]:6000-6001->5000-5001/udp');
  t.equal(commandText(['sleep', '1000']), '"sleep 1000"');
  t.equal(commandText(['/docker-entrypoint.sh', 'x']), '"/docker-entrypoint.…"');
  t.equal(commandText(['/docker-entrypoint.sh', 'x'], true), '"/docker-entrypoint.sh x"');
  t.same([0, 999, 1000, 12345, 5e6, 7e15].map(amount), ['0', '999', '1.00k', '12.3k', '5.00M', '7.00e+3T']);
});

t.test('tables', async (t) => {
  t.equal(table(['A', 'B'], []), 'A         B\n');
  t.equal(table(['A', 'B'], [['a long cell', '']]), 'A             B\na long cell\n');
  const painted = table(['A', 'B'], [['x', 'y']], (cell) => `<${cell}>`);
  t.equal(painted, 'A         B\n<x>         <y>\n', 'what is painted keeps its place');
});

t.test('a network, as Docker tells of it', async (t) => {
  t.strictSame(networkShape({ network: NETWORK, endpoints: [ENDPOINT] }), {
    Name: 'demo',
    Id: NETWORK.id,
    Created: NETWORK.created,
    Scope: 'swarm',
    Driver: 'overlay',
    EnableIPv4: true,
    EnableIPv6: true,
    IPAM: {
      Driver: 'default',
      Options: null,
      Config: [
        {
          Subnet: '10.0.1.0/24',
          IPRange: '10.0.1.128/25',
          Gateway: '10.0.1.1',
          AuxiliaryAddresses: { router: '10.0.1.9' },
        },
        { Subnet: 'fd00:1::/64', Gateway: 'fd00:1::1' },
      ],
    },
    Internal: false,
    Attachable: true,
    Ingress: false,
    ConfigFrom: { Network: '' },
    ConfigOnly: false,
    Containers: {
      [CONTAINER.id]: {
        Name: 'web',
        EndpointID: ENDPOINT.id,
        MacAddress: ENDPOINT.mac,
        IPv4Address: '10.0.1.2/24',
        IPv6Address: 'fd00:1::2/64',
        Node: ENDPOINT.node,
      },
    },
    Options: { 'com.docker.network.driver.overlay.vxlanid_list': '4097', encrypted: '' },
    Labels: { tier: 'web' },
  });
});

t.test('a container, as Docker tells of it', async (t) => {
  t.match(containerShape(CONTAINER, [NETWORK]), {
    Id: CONTAINER.id,
    Path: 'python3',
    Args: ['-m', 'http.server', '80'],
    State: { Status: 'running', Running: true, Pid: 4711, ExitCode: 0 },
    Name: 'web',
    NetworkSettings: {
      Ports: {
        '80/tcp': [{ HostIp: '', HostPort: '8080' }],
        '5001/udp': [{ HostIp: '127.0.0.1', HostPort: '6001' }],
      },
      Networks: {
        demo: {
          Gateway: '10.0.1.1',
          IPAddress: '10.0.1.2',
          IPPrefixLen: 24,
          GlobalIPv6Address: 'fd00:1::2',
          GlobalIPv6PrefixLen: 64,
        },
      },
    },
  });
  const four = { ...ENDPOINT, addresses: ['10.0.1.2/24'] };
  t.match(containerShape({ ...CONTAINER, endpoints: [four] }, []), {
    NetworkSettings: { Networks: { [NETWORK.id]: { GlobalIPv6Address: '', GlobalIPv6PrefixLen: 0 } } },
  });
});

t.test('rates between two looks', async (t) => {
  const port = {
    name: 'web',
    network: null,
    rxPackets: 10,
    txPackets: 5,
    rxBytes: 1000,
    txBytes: 0,
    dropped: 1,
  };
  const before = { at: 0, ports: [port], drops: {} };
  const now = {
    at: 2000,
    ports: [
      { ...port, rxPackets: 30, rxBytes: 251000, txPackets: 0 },
      { ...port, name: 'new' },
    ],
    drops: {},
  };
  t.same(statsText(now, before).split('\n'), [
    'PORT      NETWORK   RX PPS    RX BIT/S   TX PPS    TX BIT/S   DROPPED',
    'web                 10        1.00M      0         0          1',
    'new                 0         0          0         0          1',
    '',
  ]);
});
