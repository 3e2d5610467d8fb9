/** Serves the embedded store to the other nodes: TCP, TLS with pre-shared keys, and the messages of protocol.ts. */
import type { AddressInfo, Socket } from 'node:net';
import { createServer, type Server, type TLSSocket } from 'node:tls';
import type { Log } from 'packetweave';
import { ControlError } from '../errors.ts';
import { Gate, type LeasingStore } from './gate.ts';
import { type ServerLimits, serverLimits } from './limits.ts';
import { Lobby } from './lobby.ts';
import { place } from './protocol.ts';
import { type Identity, nodeKey, parseIdentity, tlsOptions } from './psk.ts';
import { Session } from './session.ts';

export interface ServerKeys {
  /** What the nodes' keys are derived from; 32 bytes. */
  readonly master: Buffer;
  /** Of the join token that is good now: its id, and its join key of 32 bytes. */
  token(): { readonly id: string; readonly key: Buffer };
  /** Whether a node is of the cluster: whether `nodes/<id>` is in the store. */
  allows(nodeId: string): Promise<boolean> | boolean;
}

export interface ServerOptions {
  readonly store: LeasingStore;
  /** Id of the cluster. */
  readonly cluster: string;
  /** Address to listen on; null for all. */
  readonly host?: string | null;
  /** 0 for one that is free. */
  readonly port: number;
  readonly keys: ServerKeys;
  readonly log: Log;
  readonly limits?: Partial<ServerLimits>;
  /** Steady clock, in ms. */
  readonly now?: () => number;
}

export class StoreServer {
  /** The store behind `freeze`: what the node that serves it uses itself. */
  readonly store: Gate;
  readonly #options: ServerOptions;
  readonly #limits: ServerLimits;
  readonly #now: () => number;
  readonly #server: Server;
  readonly #lobby: Lobby;
  readonly #identities = new WeakMap<TLSSocket, Identity>();
  readonly #sessions = new Set<Session>();
  /** Nodes that have their key and no record yet, and until when they may write it. */
  readonly #joining = new Map<string, number>();
  #review: NodeJS.Timeout | null = null;
  #warned = Number.NEGATIVE_INFINITY;

  private constructor(options: ServerOptions) {
    this.#options = options;
    this.#limits = { ...serverLimits, ...options.limits };
    this.#now = options.now ?? (() => performance.now());
    this.store = new Gate(options.store);
    this.#lobby = new Lobby(this.#limits.unknown, this.#limits.greeting);
    this.#server = createServer({
      ...tlsOptions,
      pskCallback: (socket, identity) => this.#key(socket as TLSSocket, identity),
    });
    this.#server.maxConnections = this.#limits.connections;
    this.#server.on('connection', (socket: Socket) => this.#lobby.enter(socket));
    this.#server.on('secureConnection', (socket) => this.#welcome(socket));
    this.#server.on('tlsClientError', (error: NodeJS.ErrnoException, socket) => this.#refused(error, socket));
  }

  /** Rejects with a ControlError: `CONFLICT` where the port is taken, `INVALID` where the host has not that address. */
  static async start(options: ServerOptions): Promise<StoreServer> {
    const server = new StoreServer(options);
    await server.#listen();
    return server;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** From now on all changes are refused with `AWAY`, but leases can be kept alive. Resolves when those under way are
   * made. */
  freeze(): Promise<void> {
    return this.store.freeze();
  }

  thaw(): void {
    this.store.thaw();
  }

  /** Ends all connections. The store stays open. */
  async close(): Promise<void> {
    if (this.#review !== null) clearInterval(this.#review);
    this.#review = null;
    if (!this.#server.listening) return;
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    const why = new ControlError('AWAY', 'the store is being closed');
    for (const session of this.#sessions) session.end(why);
    this.#lobby.clear();
    await closed;
  }

  #listen(): Promise<void> {
    const { host, port } = this.#options;
    return new Promise((resolve, reject) => {
      this.#server.once('error', (error: NodeJS.ErrnoException) =>
        reject(listenError(error, place(host ?? '*', port))),
      );
      this.#server.listen({ port, ...(host ? { host } : {}) }, () => {
        this.#server.removeAllListeners('error');
        this.#server.on('error', (error) => this.#options.log.warn(`the store's port: ${error.message}`));
        this.#review = setInterval(() => this.#reviewAll(), this.#limits.review).unref();
        resolve();
      });
    });
  }

  /** The key of an identity; null for none. It is a claim until the handshake is done. */
  #key(socket: TLSSocket, text: string): Buffer | null {
    const identity = parseIdentity(text);
    if (identity === null) return null;
    this.#identities.set(socket, identity);
    const { master, token } = this.#options.keys;
    if (identity.type === 'node') return nodeKey(master, identity.id);
    const { id, key } = token();
    return identity.id === id ? key : null;
  }

  #welcome(socket: TLSSocket): void {
    const identity = this.#identities.get(socket);
    if (identity === undefined) {
      socket.destroy();
      return;
    }
    const leave = this.#lobby.follow(socket);
    const host = {
      store: this.store,
      cluster: this.#options.cluster,
      limits: this.#limits,
      log: this.#options.log,
      admits: (node: string) => this.#admits(node),
      enroll: (node: string) => this.#enroll(node),
    };
    const session: Session = new Session(socket, identity, host, {
      greeted: leave,
      closed: () => this.#sessions.delete(session),
    });
    this.#sessions.add(session);
  }

  async #admits(node: string): Promise<boolean> {
    if (await this.#options.keys.allows(node)) {
      this.#joining.delete(node);
      return true;
    }
    return (this.#joining.get(node) ?? Number.NEGATIVE_INFINITY) > this.#now();
  }

  async #enroll(node: string): Promise<Buffer> {
    if (await this.#options.keys.allows(node)) {
      throw new ControlError('CONFLICT', `node ${node} is of the cluster already: join with another id`);
    }
    this.#joining.set(node, this.#now() + this.#limits.joining);
    this.#options.log.info(`node ${node} joins`);
    return nodeKey(this.#options.keys.master, node);
  }

  #reviewAll(): void {
    for (const [node, until] of this.#joining) if (until <= this.#now()) this.#joining.delete(node);
    for (const session of this.#sessions) {
      session.review().catch((error: Error) => this.#options.log.warn(`the store: ${error.message}`));
    }
  }

  /** Anybody can cause these lines: one in ten seconds. */
  #refused(error: NodeJS.ErrnoException, socket: TLSSocket): void {
    if (!/PSK_IDENTITY|BAD_RECORD_MAC/.test(error.code ?? '')) return;
    const now = this.#now();
    if (now - this.#warned < 10_000) return;
    this.#warned = now;
    const { log } = this.#options;
    log.warn(`the store refuses ${socket.remoteAddress ?? 'a host'}: its join token or key is wrong or old`);
  }
}

function listenError(error: NodeJS.ErrnoException, at: string): ControlError {
  if (error.code === 'EADDRINUSE') {
    const advice = 'give another port; Docker Swarm uses 2377 as well';
    return new ControlError('CONFLICT', `the store cannot listen on ${at}, it is in use: ${advice}`);
  }
  return new ControlError('INVALID', `the store cannot listen on ${at}: ${error.message}`);
}
