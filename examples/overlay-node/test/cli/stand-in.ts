/** A daemon's socket where a test answers, and command lines that ask it. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import fastify, { type FastifyInstance } from 'fastify';
import type { Test } from 'tap';
import type { Container } from '../../api/api.ts';
import { commandLine } from '../../cli/command-line.ts';
import type { World } from '../../cli/world.ts';
import type { Endpoint, Network, NodeState } from '../../control/model.ts';

export const NOW = Date.parse('2026-03-01T12:00:00Z');
/** As a user has it: what was built. */
export const PROGRAM = new URL('../../bin/packetweave.js', import.meta.url).pathname;

export interface Asked {
  readonly method: string;
  readonly url: string;
  readonly body: unknown;
}

export interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

class Page extends Writable {
  text = '';
  readonly isTTY: boolean;

  constructor(isTTY = false) {
    super();
    this.isTTY = isTTY;
  }

  override _write(bytes: Buffer, _: string, done: () => void): void {
    this.text += bytes.toString();
    done();
  }
}

export class StandIn {
  readonly folder = mkdtempSync(join(tmpdir(), 'pw-cli-'));
  readonly socket = join(this.folder, 'daemon.sock');
  readonly asked: Asked[] = [];
  readonly server: FastifyInstance = fastify({ forceCloseConnections: true });

  /** `routes` answer; whatever else is asked is not found. */
  static async start(t: Test, routes: (server: FastifyInstance) => void): Promise<StandIn> {
    const made = new StandIn();
    made.server.addHook('preHandler', async ({ method, url, body }) => {
      made.asked.push({ method, url, body });
    });
    made.server.setNotFoundHandler((request, reply) => {
      const message = `${request.url.split('?')[0].split('/').at(-1)} not found`;
      return reply.status(404).send({ code: 'NOT_FOUND', message });
    });
    routes(made.server);
    await made.server.listen({ path: made.socket });
    t.teardown(async () => {
      await made.server.close();
      rmSync(made.folder, { recursive: true, force: true });
    });
    return made;
  }

  /** The one thing that was asked since the last look. */
  last(): Asked {
    const all = this.asked.splice(0);
    if (all.length !== 1) throw new Error(`asked ${all.length} things: ${all.map(({ url }) => url).join()}`);
    return all[0];
  }

  /** Types a command line within this process. */
  type(...words: string[]): Promise<Outcome> {
    return type(words, { PACKETWEAVE_SOCKET: this.socket });
  }

  /** Runs the program. */
  start(words: readonly string[], environment: NodeJS.ProcessEnv = {}): ChildProcess {
    const env = { ...process.env, PACKETWEAVE_SOCKET: this.socket, ...environment };
    return spawn(process.execPath, [PROGRAM, ...words], { env });
  }

  /** Runs the program to its end. */
  run(words: readonly string[], environment?: NodeJS.ProcessEnv): Promise<Outcome> {
    return ended(this.start(words, environment));
  }
}

export async function type(words: readonly string[], env: World['env'], terminal = false): Promise<Outcome> {
  const [stdout, stderr] = [new Page(terminal), new Page()];
  const world: World = { stdout, stderr, env, cwd: '/tmp', now: () => NOW, exitCode: 0, command: '' };
  const code = await commandLine(words, world);
  return { code, stdout: stdout.text, stderr: stderr.text };
}

export function ended(child: ChildProcess): Promise<Outcome> {
  const text = { stdout: '', stderr: '' };
  for (const of of ['stdout', 'stderr'] as const) {
    child[of]?.setEncoding('utf8').on('data', (part) => {
      text[of] += part;
    });
  }
  return new Promise((done) => child.on('close', (code) => done({ code: code ?? -1, ...text })));
}

const id = (digit: string) => digit.repeat(64);

export const NETWORK: Network = {
  id: id('a'),
  name: 'demo',
  created: '2026-03-01T11:58:00.000Z',
  vni: 4097,
  subnets: [
    { cidr: '10.0.1.0/24', range: '10.0.1.128/25', gateway: '10.0.1.1', auxiliary: { router: '10.0.1.9' } },
    { cidr: 'fd00:1::/64', range: null, gateway: 'fd00:1::1', auxiliary: {} },
  ],
  ipv6: true,
  internal: false,
  attachable: true,
  encrypted: true,
  mtu: null,
  labels: { tier: 'web' },
  options: { encrypted: '' },
};

export const ENDPOINT: Endpoint = {
  id: id('e'),
  network: NETWORK.id,
  node: '0123456789ab',
  container: id('c'),
  name: 'web',
  aliases: ['www'],
  hostname: 'web',
  mac: '02:42:0a:00:01:02',
  addresses: ['10.0.1.2/24', 'fd00:1::2/64'],
  ports: [],
  labels: { a: 'b' },
};

export const CONTAINER: Container = {
  id: id('c'),
  name: 'web',
  hostname: 'web',
  namespace: 'pw-cccccccccccc',
  command: ['python3', '-m', 'http.server', '80'],
  created: '2026-03-01T11:58:00.000Z',
  state: 'running',
  exitCode: null,
  pid: 4711,
  endpoints: [ENDPOINT],
  ports: [
    { protocol: 'tcp', published: 8080, port: 80, count: 1, hostAddress: null },
    { protocol: 'udp', published: 6000, port: 5000, count: 2, hostAddress: '127.0.0.1' },
  ],
  labels: {},
  detached: true,
};

const node = (of: string, name: string, alive: boolean): NodeState => ({
  id: of,
  name,
  address: '192.0.2.1',
  dataPort: 4789,
  espPort: 4500,
  mtu: 1500,
  version: '0.1.0',
  joined: '2026-03-01T09:00:00.000Z',
  alive,
});
export const NODES = [node('0123456789ab', 'alpha', true), node('0123ffffffff', 'beta', false)];
