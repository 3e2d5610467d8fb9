/**
 * Datagrams from one UDP port to another over loopback, beside bare `node:dgram` doing the same in turn: what
 * the port adds, and what sending from many source ports costs.
 *
 *     npm run build && node dist/bench/udp.js [DATAGRAMS] [BYTES, up to 1472]
 *
 * Both ends run in this process. No more than 512 datagrams are under way, so that none is lost. Processor
 * time is what to compare: it does not depend on what else the machine does.
 */
import dgram from 'node:dgram';
import { fileURLToPath } from 'node:url';
import { parse } from '../codecs/ip.ts';
import { BATCH, Batch } from '../lib/core/batch.ts';
import { createContext, portHost } from '../lib/core/context.ts';
import { UdpPort } from '../lib/io/udp.ts';

const UNDER_WAY = 512;
const ROUNDS = 5;

/** Two ends: `send` hands over 32 datagrams, `received` says how many have arrived in all. */
interface Ends {
  send(): void;
  received(): number;
  close(): Promise<unknown>;
}

async function ports(bytes: number, sourcePorts: number): Promise<Ends> {
  const host = portHost(createContext());
  const from = new UdpPort({ address: '127.0.0.1', port: 0, sourcePorts });
  const to = new UdpPort({ address: '127.0.0.2', port: 0, sourcePorts: 1 });
  await Promise.all([from.open(host), to.open(host)]);
  const peer = from.peers.set({ address: parse(to.address), port: to.port });
  to.peers.set({ address: parse(from.address), port: from.port });
  const frame = new Uint8Array(bytes);
  const batch = new Batch();
  let flow = 0;
  return {
    send() {
      while (!batch.full) {
        const p = host.pool.take()!.set(frame);
        p.peer = peer;
        p.hash = Math.imul(flow++, 0x9e3779b1);
        batch.add(p);
      }
      from.send(batch);
    },
    received() {
      while (to.receive(batch) > 0) batch.release();
      return to.stats.rxPackets;
    },
    close: () => Promise.all([from.close(), to.close()]),
  };
}

async function bare(bytes: number): Promise<Ends> {
  const at = (address: string) =>
    new Promise<dgram.Socket>((resolve) => {
      const lookup: dgram.SocketOptions['lookup'] = (name, _options, done) => done(null, name, 4);
      const socket = dgram.createSocket({ type: 'udp4', lookup });
      socket.bind(0, address, () => resolve(socket));
    });
  const [from, to] = [await at('127.0.0.1'), await at('127.0.0.2')];
  to.setRecvBufferSize(4 << 20);
  const frame = new Uint8Array(bytes);
  const { port } = to.address();
  let arrived = 0;
  to.on('message', () => arrived++);
  const sent = () => {};
  return {
    send() {
      for (let i = 0; i < BATCH; i++) from.send(frame, 0, bytes, port, '127.0.0.2', sent);
    },
    received: () => arrived,
    close: () => Promise.all([from, to].map((socket) => new Promise<void>((done) => socket.close(done)))),
  };
}

/** Processor time of a datagram, both ends and the kernel's part, in µs. */
async function cost({ send, received, close }: Ends, count: number): Promise<number> {
  const before = process.cpuUsage();
  for (let sent = 0; received() < count; await new Promise((resolve) => setImmediate(resolve))) {
    for (; sent < count && sent - received() < UNDER_WAY; sent += BATCH) send();
  }
  const { user, system } = process.cpuUsage(before);
  await close();
  return (user + system) / count;
}

async function main(count: number, bytes: number): Promise<void> {
  const kinds: Record<string, () => Promise<Ends>> = {
    'node:dgram': () => bare(bytes),
    'UdpPort, 1 source port': () => ports(bytes, 1),
    'UdpPort, 16 source ports': () => ports(bytes, 16),
  };
  const costs = Object.keys(kinds).map((): number[] => []);
  for (let round = -1; round < ROUNDS; round++) {
    for (const [i, make] of Object.values(kinds).entries()) {
      const value = await cost(await make(), count);
      if (round >= 0) costs[i].push(value); // the first round warms up
    }
  }
  const medians = costs.map((list) => list.sort((a, b) => a - b)[ROUNDS >> 1]);
  console.log(`${count} datagrams of ${bytes} bytes, median of ${ROUNDS} rounds`);
  for (const [i, name] of Object.keys(kinds).entries()) {
    const ratio = (medians[i] / medians[0]).toFixed(2);
    console.log(
      `${name.padEnd(26)} ${medians[i].toFixed(2)} µs of processor time each, ${ratio} of node:dgram`,
    );
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await main(Number(process.argv[2] ?? 65536), Number(process.argv[3] ?? 1400));
}
