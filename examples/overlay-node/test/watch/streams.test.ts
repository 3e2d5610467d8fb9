/** Captures and traces as the daemon streams them, of dataplanes that run; read back with the library and with tcpdump. */
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { silent } from 'packetweave';
import { readCapture } from 'packetweave/codecs/capture-reader';
import { format } from 'packetweave/codecs/format';
import t, { type Test } from 'tap';
import { has, skip } from '../../../../test/gen/skip.ts';
import type { TraceLine } from '../../api/api.ts';
import type { Dataplane } from '../../daemon/dataplane.ts';
import { capture } from '../../watch/capture.ts';
import { trace } from '../../watch/trace.ts';
import { folder, type RigNode, rig, until } from './rig.ts';

/** An ARP request from a MAC address that is not the container's. */
const FORGED = Buffer.from(
  `ffffffffffff020000000099080600010800060400010200000000990a000063${'00'.repeat(6)}0a000003`,
  'hex',
);

type Query = Record<string, string>;

/** Why each capture has ended, in the order of their ends. */
const ends: string[] = [];

function begin({ dataplane, control }: RigNode, query: Query, signal = new AbortController().signal) {
  const seen: Pick<Dataplane, 'capture'> = {
    capture: async (request, onBytes) => {
      const running = await dataplane.capture(request, onBytes);
      void running.ended.then(({ why }) => ends.push(why));
      return running;
    },
  };
  const parts = { dataplane: seen, views: control.views, node: control.node.id, log: silent };
  return capture(parts, query, signal);
}

/** A capture that is read while it runs, as a server does. */
async function recorded(node: RigNode, query: Query) {
  const end = new AbortController();
  const parts: Uint8Array[] = [];
  const stream = Readable.from(await begin(node, query, end.signal), { objectMode: false });
  stream.on('data', (part: Buffer) => parts.push(part));
  const over = new Promise<void>((resolve) => stream.once('end', resolve));
  const stop = async () => {
    end.abort();
    await over;
    return read(Buffer.concat(parts));
  };
  return { stop, over, bytes: () => Buffer.concat(parts) };
}

/** Bytes in front of a frame in a tunnel: Ethernet, IPv4, UDP and VXLAN. */
const OUTER = 14 + 20 + 8 + 8;

/** Lines for people; what ESP carried is shown without its tunnel, whose port is not VXLAN's here. */
function read(bytes: Uint8Array): string[] {
  const { packets, interfaces, error } = readCapture(bytes);
  if (error !== null) throw error;
  return packets.map(({ bytes, interface: n }) => {
    const v = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    const { name } = interfaces[n];
    return `${name} ${format(v, name === 'esp' ? OUTER : 0, v.byteLength)}`;
  });
}

function run(program: string, ...args: readonly string[]): string {
  return spawnSync(program, args, { encoding: 'utf8' }).stdout;
}

const echoes = (lines: readonly string[]) => lines.filter((line) => /ICMP echo/.test(line));

/** Two nodes with an encrypted network, in which pings are answered. */
async function encrypted(t: Test) {
  const { nodes, network } = await rig(t, 2);
  await network({ name: 'dark', options: { encrypted: '' } });
  await nodes[0].ping('web0', 'web1');
  return { nodes, network, ping: () => nodes[0].ping('web0', 'web1') };
}

t.test('a network, a container, the underlay', async (t) => {
  const { nodes, ping } = await encrypted(t);
  const [a] = nodes;
  const { network, container } = a.control.own()[0];
  const queries: Query[] = [
    { what: 'dark' },
    { what: network.slice(0, 10) },
    { what: 'web0' },
    { what: container.slice(0, 12), decrypt: 'true' },
    { what: 'underlay', decrypt: 'true' },
    { what: 'underlay' },
  ];
  const captures = await Promise.all(queries.map((query) => recorded(a, query)));
  await ping();
  const [inside, byId, web, webById, clear, sealed] = await Promise.all(captures.map(({ stop }) => stop()));
  for (const lines of [inside, byId, web, webById]) {
    t.match(echoes(lines).slice(0, 2), [/^web0 IP .* ICMP echo request/, /^web0 IP .* ICMP echo reply/]);
  }
  t.match(echoes(clear), [/^esp IP 10\..*ICMP echo request/, /^esp IP 10\..*ICMP echo reply/]);
  t.ok(sealed.length >= 2);
  for (const line of sealed) t.match(line, /^esp-underlay IP 127.*: UDP, length/);
  const missing = ['tcpdump', 'tshark'].find((program) => !has(program));
  if (missing !== undefined) return skip(t, `${missing} is not installed`);
  const file = join(folder(t), 'inside.pcapng');
  writeFileSync(file, captures[0].bytes());
  t.match(run('tcpdump', '-n', '-r', file, 'icmp'), /ICMP echo request, id \d+, seq \d+/);
  const fields = ['frame.interface_name', 'icmp.type'].flatMap((field) => ['-e', field]);
  t.match(run('tshark', '-r', file, '-Y', 'icmp', '-T', 'fields', ...fields), /^web0\t8\nweb0\t0\n/);
});

t.test('a container in two networks', async (t) => {
  const { nodes, network } = await rig(t, 1);
  await network({ name: 'one' });
  const [a] = nodes;
  const { container } = a.control.own()[0];
  await a.control.createNetwork({ name: 'two', attachable: true });
  await a.control.attach({ network: 'two', container, name: 'web0' });
  await until(() => a.control.own().length === 2);
  await a.carry();
  const web = await recorded(a, { what: 'web0' });
  for (const { id } of a.control.own()) a.dataplane.host(id)!.sendFrame(FORGED);
  await until(() => a.dataplane.drops()['spoofed-mac'] === 2);
  t.equal((await web.stop()).length, 2);
  t.equal(readCapture(web.bytes()).interfaces.length, 2);
});

t.test('captures end by count, by the reader, by the signal, and with the dataplane', async (t) => {
  const { nodes, network } = await rig(t, 2);
  const [a] = nodes;
  await network({ name: 'app' });
  ends.length = 0;
  const counted = await recorded(a, { what: 'app', count: '3' });
  const rest = await recorded(a, { what: 'app' });
  const left = await begin(a, { what: 'app' });
  for (let i = 0; i < 3; i++) await a.ping('web0', 'web1');
  await counted.over;
  t.equal(read(counted.bytes()).length, 3);
  for await (const _ of left) break;
  const ended = new AbortController();
  ended.abort();
  for await (const part of await begin(a, { what: 'app' }, ended.signal)) t.same(read(part), []);
  await until(() => ends.length === 3);
  await a.dataplane.stop();
  await rest.over;
  t.same(ends, ['limit', 'stopped', 'stopped', 'closed']);
  t.ok(echoes(read(rest.bytes())).length >= 6);
});

t.test('what cannot be captured', async (t) => {
  const { nodes, network } = await rig(t, 2);
  const [a] = nodes;
  await network({ name: 'app' });
  const refuse = (query: Query, code: string, message: RegExp) =>
    t.rejects(begin(a, query), { name: 'ControlError', code, message });
  await refuse({ what: 'nope' }, 'NOT_FOUND', /^there is no .* "nope" .*; there are underlay, app$/);
  await refuse({}, 'NOT_FOUND', /^there is no network or container ""/);
  await refuse({ what: 'web1' }, 'NOT_FOUND', /^web1 is on another node/);
  await refuse({ what: 'app', count: '0' }, 'INVALID', /^"count" expected .* at least 1, got "0"$/);
  await refuse(
    { what: 'underlay', decrypt: 'yes' },
    'INVALID',
    /^"decrypt" expected true or false, got "yes"$/,
  );
});

/** Lines of a trace that is read while it runs. */
async function traced({ dataplane, control }: RigNode, query: Query) {
  const end = new AbortController();
  let text = '';
  const parts = { dataplane, views: () => control.views, node: control.node.id, now: () => 7 };
  const stream = Readable.from(await trace(parts, query, end.signal), { objectMode: false });
  stream.on('data', (part: Buffer) => {
    text += part;
  });
  const over = new Promise<void>((resolve) => stream.once('end', resolve));
  const lines = () =>
    text
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line) as TraceLine);
  return { end, over, lines };
}

t.test('what is dropped, a line each', async (t) => {
  const { nodes, network } = await rig(t, 2);
  const [a] = nodes;
  await network({ name: 'app' });
  const all = await traced(a, {});
  const counted = await traced(a, { count: '2' });
  const limited = await traced(a, { limit: '1' });
  for (let i = 0; i < 3; i++) a.host('web0').sendFrame(FORGED);
  await until(() => a.dataplane.drops()['spoofed-mac'] === 3);
  await counted.over;
  t.equal(counted.lines().length, 2);
  await until(() => all.lines().length === 3);
  t.match(all.lines()[0], {
    where: 'app.guard',
    reason: 'spoofed-mac',
    text: 'the source MAC address is not one of the port',
    frame: /^ARP, Request who-has 10\.0\.0\.3/,
  });
  limited.end.abort();
  await limited.over;
  t.match(limited.lines(), [
    { reason: 'spoofed-mac' },
    { where: 'trace', at: 7, text: /^2 more were dropped/ },
  ]);
  all.end.abort();
  await all.over;
  a.host('web0').sendFrame(FORGED);
  await until(() => a.dataplane.drops()['spoofed-mac'] === 4);
  t.equal(all.lines().length, 3);
  await t.rejects(traced(a, { count: 'x' }), { code: 'INVALID', message: /^"count" expected/ });
});

t.test('a reader that does not read keeps nothing but a number', async (t) => {
  const { nodes, network } = await rig(t, 1);
  const [a] = nodes;
  await network({ name: 'app' });
  const end = new AbortController();
  const parts = {
    dataplane: a.dataplane,
    views: () => a.control.views,
    node: a.control.node.id,
    now: () => 7,
  };
  const lines = await trace(parts, { limit: '10000' }, end.signal);
  const many = 2000;
  let sent = 0;
  while (sent < many) {
    for (let i = 0; i < 200; i++) a.host('web0').sendFrame(FORGED);
    sent += 200;
    await until(() => a.dataplane.drops()['spoofed-mac'] === sent);
  }
  // Told about every 100 ms.
  await new Promise((resolve) => setTimeout(resolve, 250));
  end.abort();
  let told = 0;
  for await (const part of lines) told += part.split('spoofed-mac').length - 1;
  t.ok(told > 10 && told < many, `${told} of ${many}`);
});
