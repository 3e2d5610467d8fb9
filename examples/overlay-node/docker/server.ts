/**
 * The socket where a Docker engine finds the plugin (Docker's "plugin API", version 1.2): `POST /Type.Method`, JSON in
 * and out whatever the content type says. What goes wrong is a sentence in a reply of status 200, which the engine
 * shows to whoever typed the command: network drivers call it `Err`, IPAM drivers `Error`.
 */
import { chmod, mkdir, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import Fastify, { type FastifyInstance } from 'fastify';
import { answers } from '../api/server.ts';
import { ControlError } from '../control/errors.ts';
import { type Body, body } from './fields.ts';

/** Answers one method. */
export type Method = (request: Body) => Promise<object>;
/** By name, such as `NetworkDriver.Join`. */
export type Methods = Readonly<Record<string, Method>>;

/** Milliseconds after which the engine is told that something hangs: it would wait for ever. */
const PATIENCE = 8000;
const TYPE = 'application/vnd.docker.plugins.v1.2+json';

export interface ServeOptions {
  readonly socket: string;
  readonly methods: Methods;
  /** Hears of what went wrong. */
  readonly onError: (method: string, message: string) => void;
  readonly patience?: number;
}

/** Serves methods on a unix socket. Rejects with `CONFLICT` where another daemon answers there. */
export async function servePlugin(options: ServeOptions): Promise<FastifyInstance> {
  const { socket, methods, onError, patience = PATIENCE } = options;
  if (await answers(socket)) {
    throw new ControlError(
      'CONFLICT',
      `another plugin answers on ${socket}: stop it, or give --docker-plugin`,
    );
  }
  await mkdir(dirname(socket), { recursive: true });
  await rm(socket, { force: true });
  const server = Fastify({ forceCloseConnections: true, bodyLimit: 1 << 20 });
  server.removeAllContentTypeParsers();
  server.addContentTypeParser('*', { parseAs: 'string' }, (_, text, done) => done(null, text));
  server.setErrorHandler((error: Error, _, reply) => reply.type(TYPE).send(failure(error.message)));
  server.setNotFoundHandler((request, reply) =>
    reply
      .code(404)
      .type(TYPE)
      .send(failure(`no method ${request.url}`)),
  );
  for (const [name, method] of Object.entries(methods)) {
    server.post(`/${name}`, async (request, reply) => {
      reply.type(TYPE);
      try {
        return await within(patience, method(read(request.body)));
      } catch (error) {
        const message = sentence(error as Error);
        onError(name, message);
        return failure(message);
      }
    });
  }
  await server.listen({ path: socket });
  await chmod(socket, 0o600);
  return server;
}

/** What somebody reads below a command of Docker's. */
function sentence(error: Error): string {
  const away = error instanceof ControlError && error.code === 'AWAY' && !error.message.includes('store');
  return away ? `the store of the overlay is away, nothing was changed: ${error.message}` : error.message;
}

function failure(message: string): object {
  return { Err: message, Error: message };
}

function read(text: unknown): Body {
  if (typeof text !== 'string' || text.trim() === '') return {};
  try {
    return body(JSON.parse(text));
  } catch (error) {
    if (error instanceof ControlError) throw error;
    throw new ControlError('INVALID', `the request is not JSON: ${(error as Error).message}`);
  }
}

/** What is done after all stays done: who gets no answer asks for it to be taken back. */
async function within<T>(ms: number, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    const seconds = Math.round(ms / 1000);
    const message = `packetweave has no answer after ${seconds} s: the store may be away, see "packetweave node ls"`;
    timer = setTimeout(() => reject(new ControlError('AWAY', message)), ms);
  });
  work.catch(() => {});
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
