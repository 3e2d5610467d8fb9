/** A real etcd, alone or as a cluster of three, and a wire to it that can be cut. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Test } from 'tap';
import { freePort } from '../../../../../test/gen/free-port.ts';
import { has } from '../../../../../test/gen/skip.ts';
import { EtcdStore, type EtcdStoreOptions } from '../../../control/store/etcd.ts';
import type { Address } from '../../../control/store/etcd-http.ts';

/** Why no etcd can be run here, or null where it can. */
export function noEtcd(): string | null {
  if (!has('etcd')) return 'etcd is not installed';
  const version = spawnSync('etcd', ['--version']).stdout.toString();
  return /Version: 3\.([4-9]|\d\d)/.test(version) ? null : 'the etcd here is older than 3.4';
}

export interface ServerOptions {
  /** More of etcd's own flags. */
  readonly flags?: readonly string[];
  /** Serves TLS; `ca` given: to clients with a certificate of it only. */
  readonly tls?: { readonly cert: string; readonly key: string; readonly ca?: string };
}

/** One member. */
export class EtcdServer {
  readonly address: Address;
  readonly #flags: readonly string[];
  #process: ChildProcess | null = null;

  constructor(port: number, flags: readonly string[]) {
    this.address = { host: '127.0.0.1', port };
    this.#flags = flags;
  }

  /** Started and stopped with the test; resolves when it listens. */
  static async start(t: Test, options: ServerOptions = {}): Promise<EtcdServer> {
    const [server] = await launch(t, 1, options);
    return server!;
  }

  /** Three members of one cluster. */
  static cluster(t: Test): Promise<EtcdServer[]> {
    return launch(t, 3, {});
  }

  /** Runs it (again), on the same folder and ports; resolves when it accepts connections. */
  async run(): Promise<void> {
    const child = spawn('etcd', this.#flags, { stdio: 'ignore' });
    this.#process = child;
    while (!(await reachable(this.address))) {
      if (child.exitCode !== null) throw new Error(`etcd ended with ${child.exitCode}`);
      await sleep(20);
    }
  }

  /** Resolves when it is gone. */
  async kill(): Promise<void> {
    const child = this.#process;
    this.#process = null;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGKILL');
    await once(child, 'exit');
  }

  /** `SIGSTOP`: connections stay, and nothing answers; `SIGCONT`. */
  signal(name: NodeJS.Signals): void {
    this.#process!.kill(name);
  }
}

async function launch(t: Test, n: number, { flags = [], tls }: ServerOptions): Promise<EtcdServer[]> {
  const folder = await mkdtemp(join(tmpdir(), 'packetweave-etcd-'));
  const ports = await Promise.all(Array.from({ length: 2 * n }, freePort));
  const peers = ports.slice(n).map((port) => `http://127.0.0.1:${port}`);
  const servers = peers.map((peer, i) => {
    const client = `${tls ? 'https' : 'http'}://127.0.0.1:${ports[i]}`;
    return new EtcdServer(ports[i]!, [
      ...['--name', `m${i}`, '--data-dir', join(folder, `m${i}`), '--unsafe-no-fsync'],
      ...['--listen-client-urls', client, '--advertise-client-urls', client],
      ...['--listen-peer-urls', peer, '--initial-advertise-peer-urls', peer],
      ...['--initial-cluster', peers.map((url, i) => `m${i}=${url}`).join(), '--log-level', 'error'],
      // A third of the usual: elections take less, and so do the shortest leases.
      ...['--heartbeat-interval', '50', '--election-timeout', '500'],
      ...(tls ? ['--cert-file', tls.cert, '--key-file', tls.key] : []),
      ...(tls?.ca ? ['--trusted-ca-file', tls.ca, '--client-cert-auth'] : []),
      ...flags,
    ]);
  });
  t.teardown(async () => {
    for (const server of servers) await server.kill();
    await rm(folder, { recursive: true, force: true });
  });
  await Promise.all(servers.map((server) => server.run()));
  return servers;
}

async function reachable({ host, port }: Address): Promise<boolean> {
  const socket = connect(port, host);
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

/** A wire to a server. */
export class Wire {
  readonly address: Address;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #silent = false;

  private constructor(server: Server) {
    this.#server = server;
    this.address = { host: '127.0.0.1', port: (server.address() as AddressInfo).port };
  }

  static async to(t: Test, { host, port }: Address): Promise<Wire> {
    const server = createServer((near) => {
      const far = connect(port, host);
      for (const [from, to] of [
        [near, far],
        [far, near],
      ] as const) {
        wire.#sockets.add(from);
        from.on('data', (data) => {
          if (!wire.#silent) to.write(data);
        });
        from.on('error', () => {});
        from.on('close', () => {
          wire.#sockets.delete(from);
          to.destroy();
        });
      }
    });
    await once(server.listen(0, '127.0.0.1'), 'listening');
    const wire = new Wire(server);
    t.teardown(() => wire.cut());
    return wire;
  }

  /** Everything breaks, and nothing connects any more. */
  cut(): void {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }

  /** What is sent is lost, and nobody is told. */
  silence(): void {
    this.#silent = true;
  }
}

/** A store that is closed with the test. */
export function open(t: Test, addresses: Address[], options: Partial<EtcdStoreOptions> = {}): EtcdStore {
  const store = new EtcdStore({ addresses, ...options });
  t.teardown(() => store.close());
  return store;
}

/** Calls until it does not reject with `AWAY`; how often it did. */
export async function insist(call: () => Promise<unknown>): Promise<number> {
  for (let n = 0; ; n++) {
    try {
      await call();
      return n;
    } catch (error) {
      if ((error as { code?: string }).code !== 'AWAY') throw error;
    }
  }
}
