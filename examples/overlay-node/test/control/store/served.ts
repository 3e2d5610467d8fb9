/** A store that is served, and the way to it, for tests. */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Test } from 'tap';
import { EmbeddedStore } from '../../../control/store/embedded.ts';
import type { LeasingStore } from '../../../control/store/gate.ts';
import { MemoryStore } from '../../../control/store/memory.ts';
import { nodeKey } from '../../../control/store/psk.ts';
import { type RemoteOptions, RemoteStore } from '../../../control/store/remote.ts';
import { type ServerOptions, StoreServer } from '../../../control/store/server.ts';
import { makeToken } from '../../../control/store/token.ts';
import { Said } from '../world.ts';

export const HOST = '127.0.0.1';
export const cluster = 'c'.repeat(32);
export const secret = Buffer.alloc(32, 7).toString('base64');
export const master = Buffer.alloc(32, 1);
export const hex = (digits: number): string => randomBytes(digits / 2).toString('hex');

export async function folder(t: Test): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'packetweave-server-'));
  t.teardown(() => rm(path, { recursive: true, force: true }));
  return join(path, 'store');
}

export async function embedded(t: Test, history?: { commits: number }): Promise<EmbeddedStore> {
  const store = await EmbeddedStore.open(await folder(t), history ? { history } : {});
  t.teardown(() => store.close());
  return store;
}

/** A server, what it knows of nodes and tokens, and clients of it. */
export class Served {
  readonly said = new Said();
  readonly removed = new Set<string>();
  token = { id: '00000001', key: Buffer.alloc(32, 2) };
  readonly store: LeasingStore;
  server!: StoreServer;
  readonly #t: Test;

  private constructor(t: Test, store: LeasingStore) {
    this.#t = t;
    this.store = store;
  }

  static async start(
    t: Test,
    options: Partial<ServerOptions> & { store?: LeasingStore } = {},
  ): Promise<Served> {
    const served = new Served(t, options.store ?? new MemoryStore());
    await served.restart(options);
    t.teardown(() => served.server.close());
    return served;
  }

  async restart(options: Partial<ServerOptions> = {}): Promise<void> {
    const keys = {
      master,
      token: () => this.token,
      allows: (node: string) => !this.removed.has(node),
    };
    const { store, said: log } = this;
    this.server = await StoreServer.start({ host: HOST, port: 0, cluster, keys, log, ...options, store });
  }

  client(options: Partial<RemoteOptions> = {}, node = hex(12)): RemoteStore {
    const identity = { node, key: nodeKey(master, node) };
    const store = new RemoteStore({ host: HOST, port: this.server.port, identity, cluster, ...options });
    this.#t.teardown(() => store.close());
    return store;
  }

  get printed(): string {
    return makeToken({ cluster, secret, ...this.token });
  }
}

/** Carries TCP to a port, until it is cut (connections close, new ones too) or held (nothing comes through). */
export class Relay {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #cut = false;

  private constructor(to: number) {
    this.#server = createServer((near) => {
      if (this.#cut) {
        near.destroy();
        return;
      }
      const far = connect(to, HOST);
      this.#own(near, far);
      this.#own(far, near);
    });
  }

  static async to(t: Test, port: number): Promise<Relay> {
    const relay = new Relay(port);
    relay.#server.listen(0, HOST);
    await once(relay.#server, 'listening');
    t.teardown(() => {
      relay.cut();
      relay.#server.close();
    });
    return relay;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  cut(): void {
    this.#cut = true;
    for (const socket of this.#sockets) socket.destroy();
  }

  mend(): void {
    this.#cut = false;
  }

  hold(): void {
    for (const socket of this.#sockets) socket.unpipe().pause();
  }

  #own(socket: Socket, other: Socket): void {
    this.#sockets.add(socket);
    socket.pipe(other);
    socket.on('error', () => {});
    socket.once('close', () => {
      this.#sockets.delete(socket);
      other.destroy();
    });
  }
}
