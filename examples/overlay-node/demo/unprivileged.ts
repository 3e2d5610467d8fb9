/** Two nodes in this process on two addresses of the loopback: real UDP, a real store, and small hosts as endpoints. */
import { createSocket } from 'node:dgram';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { Endpoint as SmallHost } from 'packetweave';
import type { Report } from './report.ts';
import { SmallNode } from './small-node.ts';

const ADDRESSES = ['127.0.0.1', '127.0.0.2'];
const PAYLOAD = 'nobody on the way may read this';
/** Milliseconds that things have to become so. */
const PATIENCE = 5000;

export async function unprivileged(report: Report): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'packetweave-demo-'));
  const nodes: SmallNode[] = [];
  try {
    const ports = { data: await freeUdp(), esp: await freeUdp(), store: await freeTcp() };
    const [one, two] = ADDRESSES.map((address, i) => ({
      name: `host${i + 1}`,
      address,
      ports,
      folder: join(folder, `host${i + 1}`),
    }));
    nodes.push(await SmallNode.init(one));
    report.say('host1 made an overlay, whose store it carries.');
    const { token } = await nodes[0].member.token();
    nodes.push(await SmallNode.join(two, token, `${ADDRESSES[0]}:${ports.store}`));
    report.say('host2 joined it.');
    await show(report, nodes[0], nodes[1], folder);
  } finally {
    for (const node of nodes.reverse()) await node.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

async function show(report: Report, one: SmallNode, two: SmallNode, folder: string): Promise<void> {
  const options = { encrypted: '' };
  const { id, name } = await one.member.control.createNetwork({ name: 'demo', attachable: true, options });
  report.say(`The network ${name} is there, encrypted.`);
  const published = { protocol: 'udp', published: 8080, port: 80, count: 1, hostAddress: null } as const;
  const web = await one.attach(name, 'web', [published]);
  const client = await two.attach(name, 'client');
  const captures = await Promise.all([
    captured(one, { what: 'underlay' }, join(folder, 'underlay.pcapng')),
    captured(one, { what: 'underlay', decrypt: true }, join(folder, 'inside.pcapng')),
  ]);
  await until(() => two.lookup(id, 'web') !== null);
  const address = two.lookup(id, 'web');
  report.expect(address !== null, `on host2, web is known as ${address}`);
  await until(async () => (await two.dataplane.encryptedPeers()).every(({ ready }) => ready));
  const ms = await pinged(client, address!);
  report.expect(ms !== null, `client on host2 pings web on host1: ${ms?.toFixed(2)} ms`);
  client.sendUdp(address!, 8080, new TextEncoder().encode(PAYLOAD));
  await until(() => web.counts.datagrams > 0);
  report.expect(web.counts.datagrams > 0, 'port 8080/udp of web is its port 80');
  await pause(300);
  const [outer, inner] = await Promise.all(captures.map((capture) => capture()));
  report.expect(inner.includes(PAYLOAD), 'a capture that is decrypted has the payload');
  report.expect(outer.length > 500 && !outer.includes(PAYLOAD), 'the underlay has not');
  report.say(`dropped: ${JSON.stringify(two.dataplane.drops())}`);
}

type Request = Parameters<SmallNode['dataplane']['capture']>[0];

/** Captures until what it answers is called, which answers the file. */
async function captured(node: SmallNode, request: Request, file: string): Promise<() => Promise<Buffer>> {
  const parts: Uint8Array[] = [];
  const capture = await node.dataplane.capture(request, (bytes) => void parts.push(bytes));
  return async () => {
    await capture.stop();
    writeFileSync(file, Buffer.concat(parts));
    return readFileSync(file);
  };
}

/** The keys can still be on their way. */
async function pinged(from: SmallHost, to: string): Promise<number | null> {
  for (let i = 0; i < 5; i++) {
    const ms = await from.ping(to);
    if (ms !== null) return ms;
  }
  return null;
}

async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  for (let waited = 0; waited < PATIENCE && !(await condition()); waited += 20) await pause(20);
}

/** A UDP port that both addresses have free. */
async function freeUdp(): Promise<number> {
  const socket = createSocket('udp4');
  await new Promise<void>((resolve, reject) => {
    socket.once('error', reject);
    socket.bind(0, ADDRESSES[1], resolve);
  });
  const { port } = socket.address();
  await new Promise<void>((resolve) => socket.close(resolve));
  return port;
}

async function freeTcp(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, ADDRESSES[0], resolve);
  });
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}
