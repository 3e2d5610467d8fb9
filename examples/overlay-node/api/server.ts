/** The control socket: HTTP and JSON on a unix socket that root alone can open, and the metrics on an address if asked. */
import { chmod, lstat, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { Readable } from 'node:stream';
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import { ControlError, type ErrorCode } from '../control/errors.ts';
import type { Network, NodeState } from '../control/model.ts';
import type {
  Check,
  ConnectRequest,
  Container,
  Info,
  InitRequest,
  JoinRequest,
  MigrateRequest,
  NetworkDetail,
  NetworkRequest,
  PeerRow,
  RunRequest,
  Stats,
  TokenAnswer,
} from './api.ts';
import { BODIES, checked } from './bodies.ts';

/** What can be asked of a daemon; each is a route of api.ts. */
export interface Daemon {
  info(): Promise<Info>;
  init(request: InitRequest): Promise<TokenAnswer>;
  join(request: JoinRequest): Promise<Info>;
  leave(force: boolean): Promise<void>;
  token(): Promise<TokenAnswer>;
  rotateToken(): Promise<TokenAnswer>;
  nodes(): Promise<readonly NodeState[]>;
  removeNode(node: string, force: boolean): Promise<void>;
  networks(): Promise<readonly Network[]>;
  createNetwork(request: NetworkRequest): Promise<Network>;
  network(name: string): Promise<NetworkDetail>;
  removeNetwork(name: string): Promise<Network>;
  connect(network: string, request: ConnectRequest): Promise<Container>;
  disconnect(network: string, container: string): Promise<Container>;
  run(request: RunRequest): Promise<Container>;
  containers(all: boolean): Promise<readonly Container[]>;
  container(name: string): Promise<Container>;
  removeContainer(name: string, force: boolean): Promise<void>;
  started(name: string, pid: number): Promise<void>;
  exited(name: string, code: number): Promise<void>;
  wait(name: string, signal: AbortSignal): Promise<number>;
  logs(name: string, follow: boolean, signal: AbortSignal): Promise<AsyncIterable<string | Uint8Array>>;
  peers(): Promise<readonly PeerRow[]>;
  stats(): Promise<Stats>;
  doctor(): Promise<readonly Check[]>;
  capture(query: Record<string, string>, signal: AbortSignal): Promise<AsyncIterable<Uint8Array>>;
  trace(query: Record<string, string>, signal: AbortSignal): Promise<AsyncIterable<string>>;
  migrate(request: MigrateRequest): Promise<void>;
  metrics(): Promise<{ readonly type: string; readonly text: string }>;
  health(): { readonly ok: boolean; readonly [detail: string]: unknown };
}

const STATUS: Record<ErrorCode, number> = {
  INVALID: 400,
  FORBIDDEN: 403,
  NOT_FOUND: 404,
  CONFLICT: 409,
  NOT_JOINED: 409,
  VERSION: 409,
  CORRUPT: 500,
  AWAY: 503,
  FULL: 507,
};

interface Request {
  readonly params: Record<string, string>;
  readonly query: Record<string, string>;
  readonly body: unknown;
  readonly raw: FastifyRequest['raw'];
}
type Answer = (request: Request, reply: FastifyReply) => Promise<unknown>;

/** Bytes of a unix socket's path: sun_path of unix(7), without the NUL at its end. */
const SOCKET_PATH = 107;

/** Resolves where a control socket can be made. Rejects with `CONFLICT` where another daemon answers there, and with
 * `INVALID` where the path is too long or something else has it. */
export async function checkSocket(socket: string): Promise<void> {
  const length = Buffer.byteLength(socket);
  if (length > SOCKET_PATH) {
    throw invalid(`the path of the socket expected at most ${SOCKET_PATH} bytes, got ${length}: ${socket}`);
  }
  const there = await lstat(socket).catch(() => null);
  if (there === null) return;
  if (!there.isSocket()) throw invalid(`${socket} is no socket: give another --socket, or remove it`);
  if (await answers(socket)) {
    throw new ControlError('CONFLICT', `another daemon answers on ${socket}: stop it, or give --socket`);
  }
}

const invalid = (message: string) => new ControlError('INVALID', message);

/** Serves a daemon on a unix socket. Rejects as {@link checkSocket} does. */
export async function serveControl(daemon: Daemon, socket: string): Promise<FastifyInstance> {
  await checkSocket(socket);
  await rm(socket, { force: true });
  const server = made();
  for (const [route, answer] of Object.entries(routes(daemon))) {
    const [method, url] = route.split(' ');
    server.route({
      method: method as 'GET',
      url,
      handler: async (request, reply) => {
        const result = await answer(request as unknown as Request, reply);
        return reply.sent || result instanceof Readable ? result : (result ?? {});
      },
    });
  }
  try {
    await server.listen({ path: socket });
    await chmod(socket, 0o600);
    return server;
  } catch (error) {
    await server.close();
    throw invalid(`the socket ${socket} cannot be made: ${(error as Error).message}`);
  }
}

/** Serves metrics and health on `ADDRESS:PORT`. */
export async function serveMetrics(daemon: Daemon, at: string): Promise<FastifyInstance> {
  const [, host, port] = /^\[?(.*?)\]?:(\d+)$/.exec(at) ?? [];
  if (port === undefined) {
    throw new ControlError('INVALID', `"metrics" expected ADDRESS:PORT, such as 127.0.0.1:9323, got "${at}"`);
  }
  const server = made();
  server.get('/metrics', async (_, reply) => {
    const { type, text } = await daemon.metrics();
    return reply.type(type).send(text);
  });
  server.get('/health', async (_, reply) => {
    const health = daemon.health();
    return reply.code(health.ok ? 200 : 503).send(health);
  });
  await server.listen({ host: host === '' ? '0.0.0.0' : host, port: Number(port) });
  return server;
}

function made(): FastifyInstance {
  // What streams ends with the connection: nobody waits for it when the daemon stops.
  const server = Fastify({
    forceCloseConnections: true,
    bodyLimit: 1 << 20,
    routerOptions: { maxParamLength: 512 },
  });
  server.setErrorHandler((error: Error & { statusCode?: number }, _, reply) => {
    const code = error instanceof ControlError ? error.code : codeOf(error);
    const status = error instanceof ControlError ? STATUS[error.code] : (error.statusCode ?? statusOf(code));
    return reply.code(status).send({ code, message: error.message });
  });
  server.setNotFoundHandler((request, reply) =>
    reply.code(404).send({ code: 'NOT_FOUND', message: `no route ${request.method} ${request.url}` }),
  );
  return server;
}

/** The library refuses a wrong description with these, and what is not JSON at all has a status of its own. */
function codeOf(error: Error & { statusCode?: number }): ErrorCode | 'INTERNAL' {
  const refused = error.statusCode !== undefined && error.statusCode < 500;
  return refused || error instanceof TypeError || error instanceof RangeError ? 'INVALID' : 'INTERNAL';
}

function statusOf(code: ErrorCode | 'INTERNAL'): number {
  return code === 'INTERNAL' ? 500 : STATUS[code];
}

const isTrue = (value: string | undefined) => value === 'true' || value === '1';

function routes(daemon: Daemon): Record<string, Answer> {
  return {
    'GET /v1/info': () => daemon.info(),
    'POST /v1/init': ({ body }) => daemon.init(checked(body, BODIES.init)),
    'POST /v1/join': ({ body }) => daemon.join(checked(body, BODIES.join)),
    'POST /v1/leave': ({ body }) =>
      daemon.leave(checked<{ force?: boolean }>(body, BODIES.leave).force === true),
    'GET /v1/token': () => daemon.token(),
    'POST /v1/token/rotate': () => daemon.rotateToken(),
    'GET /v1/nodes': () => daemon.nodes(),
    'DELETE /v1/nodes/:id': ({ params, query }) => daemon.removeNode(params.id, isTrue(query.force)),
    'GET /v1/networks': () => daemon.networks(),
    'POST /v1/networks': ({ body }) => daemon.createNetwork(checked(body, BODIES.network)),
    'GET /v1/networks/:name': ({ params }) => daemon.network(params.name),
    'DELETE /v1/networks/:name': ({ params }) => daemon.removeNetwork(params.name),
    'POST /v1/networks/:name/connect': ({ params, body }) =>
      daemon.connect(params.name, checked(body, BODIES.connect)),
    'POST /v1/networks/:name/disconnect': ({ params, body }) =>
      daemon.disconnect(params.name, checked<ConnectRequest>(body, BODIES.disconnect).container),
    'GET /v1/peers': () => daemon.peers(),
    'GET /v1/stats': () => daemon.stats(),
    'GET /v1/doctor': () => daemon.doctor(),
    'GET /v1/capture': async ({ raw, query }, reply) =>
      streamed(reply, 'application/octet-stream', await daemon.capture(query, gone(raw))),
    'GET /v1/trace': async ({ raw, query }, reply) =>
      streamed(reply, 'application/x-ndjson', await daemon.trace(query, gone(raw))),
    'POST /v1/store/migrate': ({ body }) => daemon.migrate(checked(body, BODIES.migrate)),
    ...containerRoutes(daemon),
  };
}

function containerRoutes(daemon: Daemon): Record<string, Answer> {
  return {
    'GET /v1/containers': ({ query }) => daemon.containers(isTrue(query.all)),
    'POST /v1/containers': ({ body }) => daemon.run(checked(body, BODIES.run)),
    'GET /v1/containers/:name': ({ params }) => daemon.container(params.name),
    'DELETE /v1/containers/:name': ({ params, query }) =>
      daemon.removeContainer(params.name, isTrue(query.force)),
    'POST /v1/containers/:name/started': ({ params, body }) =>
      daemon.started(params.name, checked<{ pid: number }>(body, BODIES.started).pid),
    'POST /v1/containers/:name/exited': ({ params, body }) =>
      daemon.exited(params.name, checked<{ code: number }>(body, BODIES.exited).code),
    'GET /v1/containers/:name/wait': async ({ params, raw }) => ({
      code: await daemon.wait(params.name, gone(raw)),
    }),
    'GET /v1/containers/:name/logs': async ({ params, query, raw }, reply) =>
      streamed(reply, 'text/plain', await daemon.logs(params.name, isTrue(query.follow), gone(raw))),
  };
}

/** Tells when who asked is not there any more. */
function gone(raw: FastifyRequest['raw']): AbortSignal {
  const controller = new AbortController();
  raw.once('close', () => {
    if (raw.socket.destroyed) controller.abort();
  });
  raw.socket.once('close', () => controller.abort());
  return controller.signal;
}

function streamed(reply: FastifyReply, type: string, parts: AsyncIterable<string | Uint8Array>) {
  return reply.type(type).send(Readable.from(parts, { objectMode: false }));
}

/** Whether somebody listens on a unix socket. */
export function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
