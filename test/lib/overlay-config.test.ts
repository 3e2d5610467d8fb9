import t from 'tap';
import { MemoryUnderlay, memoryPair } from '../../lib/io/memory.ts';
import type { Port } from '../../lib/io/port.ts';
import { Overlay, type OverlayConfig } from '../../lib/overlay.ts';

const [port] = memoryPair();
const [other] = memoryPair();

/** Descriptions of a port that publishes these. */
function publishing(...wrong: [unknown, RegExp][]): [unknown, RegExp][] {
  return wrong.map(([published, message]) => {
    const ports = [{ port, mac: '02:00:00:00:00:01', addresses: ['10.1.0.1'], published }];
    return [{ local: '10.0.0.1', networks: [{ vni: 1, ports }] }, message];
  });
}

t.test('a wrong description is refused where it is given', async (t) => {
  const wrong: [unknown, RegExp][] = [
    [null, /"overlay" expected an object, got null/],
    [{ local: '10.0.0.1' }, /"networks" expected an array, got undefined/],
    [{ local: '10.0.0.1', networks: [], mtu: 3 }, /"overlay" has no field "mtu"; it has: local, networks/],
    [{ local: 'here', networks: [] }, /"local.address" expected an IP address, got "here"/],
    [
      { local: { address: '10.0.0.1', port: 65536 }, networks: [] },
      /"local.port" expected an integer 0..65535, got 65536/,
    ],
    [
      { local: { address: '10.0.0.1', mtu: 70 }, networks: [] },
      /"local.mtu" expected an integer 576..65535, got 70/,
    ],
    [
      { local: { address: '::1', mtu: 600 }, networks: [] },
      /"local.mtu" expected an integer 1280..65535, got 600/,
    ],
    [
      { local: '10.0.0.1', networks: [{}] },
      /"networks\[0\].vni" expected an integer 1..16777215, got undefined/,
    ],
    [
      { local: '10.0.0.1', networks: [{ vni: 1 }, { vni: 1 }] },
      /"networks" expected each once, got vni 1 twice/,
    ],
    [
      { local: '10.0.0.1', networks: [{ vni: 1, remote: [] }] },
      /"networks\[0\]" has no field "remote"; it has: vni, /,
    ],
    [
      { local: '10.0.0.1', networks: [{ vni: 1, mtu: 1500 }] },
      /"networks\[0\].mtu" expected an integer 68..1450, got 1500/,
    ],
    [
      { local: '::1', networks: [{ vni: 1, mtu: 1450 }] },
      /"networks\[0\].mtu" expected an integer 68..1430, got 1450/,
    ],
    [
      { local: '10.0.0.1', networks: [{ vni: 1, remotes: ['::1'] }] },
      /"networks\[0\].remotes\[0\]" expected an IPv4 address/,
    ],
    [
      { local: '10.0.0.1', networks: [{ vni: 1, remotes: ['10.0.0.1'] }] },
      /expected another host, got the local address/,
    ],
    [
      { local: '10.0.0.1', networks: [{ vni: 1, remotes: ['10.0.0.2', { address: '10.0.0.2' }] }] },
      /"networks\[0\].remotes" expected each once, got 10.0.0.2 twice/,
    ],
    [
      { local: '10.0.0.1', networks: [{ vni: 1, ports: [{}] }] },
      /"networks\[0\].ports\[0\].port" expected a Port/,
    ],
    [
      { local: '10.0.0.1', networks: [{ vni: 1, ports: [{ port, mac: '01:00:5e:00:00:01' }] }] },
      /"networks\[0\].ports\[0\].mac" expected the MAC address of one station, got "01:00:5e:00:00:01"/,
    ],
    [
      { local: '10.0.0.1', networks: [{ vni: 1, ports: [{ port, addresses: ['10.1.0.1'] }] }] },
      /"networks\[0\].ports\[0\].mac" expected the MAC address that "addresses" belong to, got none/,
    ],
    [
      {
        local: '10.0.0.1',
        networks: [
          { vni: 1, ports: [{ port }] },
          { vni: 2, ports: [{ port }] },
        ],
      },
      /"networks" expected each port once/,
    ],
    [
      { local: '10.0.0.1', networks: [{ vni: 1, ports: [{ port, limits: { floodPerSecond: -1 } }] }] },
      /"networks\[0\].ports\[0\].limits.floodPerSecond" expected an integer 0/,
    ],
    [
      {
        local: '10.0.0.1',
        networks: [
          { vni: 1, remotes: ['10.0.0.2'], static: [{ mac: '02:00:00:00:00:01', remote: '10.0.0.3' }] },
        ],
      },
      /"networks\[0\].static\[0\].remote" expected one of the network's remotes, got "10.0.0.3"/,
    ],
    [
      { local: { address: '10.0.0.1', underlay: other }, networks: [] },
      /"local.mac" expected a MAC address, because the underlay is Ethernet, got none/,
    ],
    [
      { local: '10.0.0.1', networks: [{ vni: 1, vlan: 'both' }] },
      /"networks\[0\].vlan" expected "strip" or "keep", got "both"/,
    ],
    [
      { local: '10.0.0.1', networks: [{ vni: 1, suppress: 1 }] },
      /"networks\[0\].suppress" expected true or false, got 1/,
    ],
    ...publishing(
      [
        [{ protocol: 'icmp', published: 1, port: 1 }],
        /published\[0\].protocol" expected "tcp" or "udp" or "sctp"/,
      ],
      [
        [{ protocol: 'tcp', published: 0, port: 1 }],
        /published\[0\].published" expected an integer 1..65535, got 0/,
      ],
      [
        [{ protocol: 'tcp', published: 1 }],
        /published\[0\].port" expected an integer 1..65535, got undefined/,
      ],
      [
        [{ protocol: 'tcp', published: 65535, port: 1, count: 2 }],
        /published\[0\].count" expected an integer 1..1, got 2/,
      ],
      [
        [
          { protocol: 'tcp', published: 9, port: 1 },
          { protocol: 'udp', published: 9, port: 1 },
          { protocol: 'tcp', published: 5, port: 1, count: 5 },
        ],
        /ports\[0\].published" expected each port once, got 9 in \[2\] and in \[0\]/,
      ],
      [[{ protocol: 'tcp', target: 1 }], /published\[0\]" has no field "target"/],
      [80, /ports\[0\].published" expected an array, got 80/],
    ),
    [
      {
        local: '10.0.0.1',
        networks: [
          {
            vni: 1,
            ports: [
              { port, mac: '02:00:00:00:00:01', published: [{ protocol: 'tcp', published: 8080, port: 80 }] },
            ],
          },
        ],
      },
      /"networks\[0\].ports\[0\].addresses" expected the addresses at which ports are published, got none/,
    ],
  ];
  for (const [config, message] of wrong) t.throws(() => new Overlay(config as OverlayConfig), { message });
});

t.test('ports of the same name come and go', async (t) => {
  const named = (name: string) => Object.assign(memoryPair()[0], { name });
  const local = { address: '10.0.0.1', underlay: new MemoryUnderlay().port('10.0.0.1') };
  const [a, b, c, bridge] = ['eth0', 'eth0', 'eth0', 'bridge'].map(named);
  const config = (...ports: Port[]) => ({
    local,
    networks: [{ vni: 1, ports: ports.map((port) => ({ port })) }],
  });
  const overlay = new Overlay(config());
  t.teardown(() => overlay.stop());
  await overlay.open();
  for (const ports of [[a, b], [b], [c, b], [c], [b, c, bridge], [bridge, c], [a, b, c]]) {
    await overlay.apply(config(...ports));
    t.equal(overlay.ports().length, ports.length + 1, 'with the underlay');
  }
});
