/** What the daemon tells of a dataplane that runs: counters, peers, metrics. */
import { DROPS } from 'packetweave';
import t from 'tap';
import { Metrics } from '../../watch/metrics.ts';
import { elementName, networkName, portName } from '../../watch/names.ts';
import { peerRows } from '../../watch/peers.ts';
import { stats } from '../../watch/stats.ts';
import { Totals } from '../../watch/totals.ts';
import { type RigNode, rig, until } from './rig.ts';

/** An ARP request from a MAC address that is not the container's. */
const FORGED = Buffer.from(
  `ffffffffffff020000000099080600010800060400010200000000990a000063${'00'.repeat(6)}0a000003`,
  'hex',
);

async function look({ dataplane, control }: RigNode, drops = dataplane.drops()) {
  const ports = await dataplane.ports();
  return stats({ ports, drops, views: control.views, node: control.node.id, at: 7 });
}

/** Samples of a text for Prometheus, by name and labels. */
function parsed(text: string): Map<string, number> {
  const samples = new Map<string, number>();
  for (const line of text.split('\n')) {
    if (line === '' || line.startsWith('#')) continue;
    const [, sample, value] = /^([a-z_]\w*(?:\{(?:\w+="[^"\\]*",?)*\})?) (\S+)$/.exec(line) ?? [];
    // A histogram without values says Nan.
    if (sample === undefined || !/^(?:nan|[\d.e+-]+)$/i.test(value)) throw new Error(`not a sample: ${line}`);
    if (samples.has(sample)) throw new Error(`twice: ${line}`);
    samples.set(sample, Number(value));
  }
  return samples;
}

t.test('what goes through ports, and what is dropped', async (t) => {
  const { nodes, network } = await rig(t, 2);
  await network({ name: 'app' });
  const [a] = nodes;
  await a.ping('web0', 'web1');
  a.host('web0').sendFrame(FORGED);
  await until(() => a.dataplane.drops()['spoofed-mac'] === 1);
  const seen = await look(a);
  t.equal(seen.at, 7);
  t.same(
    seen.ports.map(({ name, network }) => [name, network]),
    [
      ['underlay', null],
      ['esp-underlay', null],
      ['gateway', 'app'],
      ['web0', 'app'],
    ],
  );
  const web = seen.ports[3];
  t.ok(web.rxPackets >= 2 && web.txPackets >= 1 && web.rxBytes >= 140 && web.txBytes >= 98);
  t.match(seen.drops['spoofed-mac'], { count: 1, text: 'the source MAC address is not one of the port' });
  t.same(
    Object.keys(seen.drops),
    DROPS.map(({ name }) => name),
  );
  const gone = stats({ ports: await a.dataplane.ports(), drops: {}, views: new Map(), node: '', at: 0 });
  t.match(gone.ports[3], { name: /^[0-9a-f]{12}$/, network: /^vni \d+$/ }, 'what control has forgotten');
});

t.test('peers', async (t) => {
  const { nodes, network } = await rig(t, 3);
  const rows = async ({ control, dataplane }: RigNode) => peerRows(control, await dataplane.encryptedPeers());
  t.same(await rows(nodes[0]), []);
  await network({ name: 'plain' });
  const plain = { alive: true, networks: ['plain'], encrypted: null };
  t.match(await rows(nodes[0]), [
    { ...plain, node: nodes[1].control.node.id, name: 'host2', address: '127.0.0.2' },
    { ...plain, node: nodes[2].control.node.id, name: 'host3', address: '127.0.0.3' },
  ]);
  t.match(
    peerRows(nodes[0].control, [{ address: '127.0.0.2', ready: true }]).map(({ encrypted }) => encrypted),
    [null, null],
  );
  await network({ name: 'dark', options: { encrypted: '' } });
  await until(async () => (await rows(nodes[0])).every(({ encrypted }) => encrypted));
  t.match(await rows(nodes[0]), [{ networks: ['dark', 'plain'] }, { networks: ['dark', 'plain'] }]);
  t.equal(peerRows(nodes[0].control, [])[0].encrypted, false);
});

t.test('metrics', async (t) => {
  const { nodes, network } = await rig(t, 2);
  const [a] = nodes;
  const totals = new Totals();
  let running = false;
  const metrics = new Metrics({
    version: '1.2.3',
    totals,
    dataplane: () => (running ? a.dataplane : null),
    control: () => (running ? a.control : null),
    dns: () => ({ queries: 5, local: 3, forwarded: 2, 'forward.cached': 1 }),
  });
  const read = async () => {
    const { type, text } = await metrics.text();
    t.match(type, /^text\/plain; version=0\.0\.4/);
    return parsed(text);
  };
  const before = await read();
  t.equal(before.get('packetweave_dataplane_up'), 0);
  t.equal(before.get('packetweave_control_connected'), 0);
  t.equal(before.get('packetweave_info{version="1.2.3"}'), 1);
  t.equal(before.get('packetweave_drops_total{reason="no-sa"}'), 0);
  running = true;
  await network({ name: 'dark', options: { encrypted: '' } });
  await until(async () => (await a.dataplane.encryptedPeers()).every(({ ready }) => ready));
  await a.ping('web0', 'web1');
  a.host('web0').sendFrame(FORGED);
  await until(() => a.dataplane.drops()['spoofed-mac'] === 1);
  const now = await read();
  t.match(Object.fromEntries(now), {
    packetweave_dataplane_up: 1,
    packetweave_control_connected: 1,
    packetweave_networks: 1,
    'packetweave_endpoints{network="dark",place="here"}': 1,
    'packetweave_endpoints{network="dark",place="elsewhere"}': 1,
    'packetweave_peers{state="alive"}': 1,
    'packetweave_peers{state="dead"}': 0,
    'packetweave_encrypted_peers{keys="ready"}': 1,
    'packetweave_encrypted_peers{keys="missing"}': 0,
    'packetweave_drops_total{reason="spoofed-mac"}': 1,
    packetweave_esp_rekeys_total: 0,
    'packetweave_dns_queries_total{result="local"}': 3,
    'packetweave_dns_forwards_total{event="cached"}': 1,
    packetweave_dns_forwards_waiting: 0,
  });
  t.ok(now.get('packetweave_esp_sealed_total')! >= 1);
  t.ok(now.get('packetweave_network_bytes_total{network="dark",direction="sent"}')! >= 98);
  t.ok(now.get('packetweave_underlay_packets_total{underlay="esp-underlay",direction="received"}')! >= 1);
  t.ok(now.get('process_cpu_seconds_total') !== undefined);
  const series = [...now.keys()].filter((name) => name.startsWith('packetweave_'));
  t.equal(series.filter((name) => name.includes('drops')).length, DROPS.length);
  t.notMatch(series.join(), /web0|[0-9a-f]{64}/, 'no series for a container');

  await a.dataplane.apply([]);
  const later = await read();
  t.equal(later.get('packetweave_drops_total{reason="spoofed-mac"}'), 1, 'counters never go back');
  t.equal(later.has('packetweave_network_bytes_total{network="dark",direction="sent"}'), false);
  await a.dataplane.stop();
  a.dataplane.encryptedPeers = () => Promise.reject(new Error('dead'));
  t.equal((await read()).get('packetweave_dataplane_up'), 0);
});

t.test('totals outlive what counted', async (t) => {
  const totals = new Totals();
  totals.take({ '7.guard': { 'drop.too-big': 3 }, '7.eth0': { 'rx.packets': 10, 'drop.too-big': 1 } });
  totals.take({ '7.guard': { 'drop.too-big': 5 } });
  totals.take({
    '7.guard': { 'drop.too-big': 2 },
    '8.eth0#3': { 'tx.bytes': 9 },
    underlay: { 'tx.bytes': 4 },
  });
  t.equal(totals.drops()['too-big'], 3 + 1 + 2 + 2);
  t.equal(totals.drops().malformed, 0);
  t.equal(totals.carried().get('7')?.rxPackets, 10);
  t.match(totals.carried().get('8'), { txBytes: 9, rxBytes: 0 });
  totals.take({ underlay: { 'tx.bytes': 5 } });
  t.same([...totals.carried().keys()], ['underlay']);
  t.equal(totals.sum('tx.bytes'), 9 + 5);
});

t.test('names', async (t) => {
  const id = 'ab'.repeat(32);
  t.equal(networkName(new Map(), 9), 'vni 9');
  t.equal(portName({ [id]: 'web' }, id), 'web');
  t.equal(portName({}, id), 'abababababab');
  t.equal(elementName(new Map(), { [id]: 'web' }, `9.${id}`), 'vni 9.web');
  t.equal(elementName(new Map(), {}, '9.eth0#3'), 'vni 9.eth0#3');
  t.equal(elementName(new Map(), {}, 'esp-seal'), 'esp-seal');
});
