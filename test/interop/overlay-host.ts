/**
 * One overlay host as a process of its own, for tests that run it in a network namespace. Told by messages
 * what to do; answers each with `{ id, result }` or `{ id, error }`.
 */
import { Endpoint } from '../../lib/io/endpoint.ts';
import { Overlay } from '../../lib/overlay.ts';

export interface EndpointSpec {
  readonly mac: string;
  readonly addresses: readonly string[];
}

export interface NetworkSpec {
  readonly vni: number;
  readonly remotes: readonly string[];
  readonly endpoints: readonly EndpointSpec[];
}

/** What the host can be asked. */
export interface Requests {
  start(local: string, networks: readonly NetworkSpec[]): Promise<number>;
  /** Round trip in ms or null, from an endpoint, named by its first address. */
  ping(from: string, to: string, size: number): Promise<number | null>;
  apply(networks: readonly NetworkSpec[]): Promise<void>;
  /** `vni mac place` of all that is known. */
  fdb(): Promise<string[]>;
  drops(): Promise<Record<string, number>>;
  stop(): Promise<{ used: number }>;
}

let overlay: Overlay | null = null;
const endpoints = new Map<string, Endpoint>();

function networksOf(specs: readonly NetworkSpec[]) {
  return specs.map(({ vni, remotes, endpoints: wanted }) => ({
    vni,
    remotes,
    ports: wanted.map((spec) => {
      const key = `${vni} ${spec.mac} ${spec.addresses.join()}`;
      const port = endpoints.get(key) ?? new Endpoint({ ...spec, mtu: 1450 });
      endpoints.set(key, port);
      return { port };
    }),
  }));
}

let local = '';
const handlers: Requests = {
  async start(address, specs) {
    local = address;
    overlay = new Overlay({ local, networks: networksOf(specs) });
    await overlay.start();
    return overlay.mtu(specs[0].vni);
  },
  async ping(from, to, size) {
    const endpoint = [...endpoints.values()].find(({ name }) => name === from);
    if (endpoint === undefined) throw new Error(`no endpoint has the address ${from}`);
    return endpoint.ping(to, { size, timeout: 10_000 });
  },
  apply: (specs) => overlay!.apply({ local, networks: networksOf(specs) }),
  async fdb() {
    return [...overlay!.fdb.entries()].map(
      ({ hi, lo, place }) =>
        `${(hi * 2 ** 32 + lo).toString(16).padStart(12, '0')} ${place >= 65536 ? 'remote' : 'local'}`,
    );
  },
  async drops() {
    return overlay!.drops();
  },
  async stop() {
    await overlay!.stop();
    return { used: overlay!.context.pool.used };
  },
};

process.on('message', async ({ id, name, args }: { id: number; name: keyof Requests; args: unknown[] }) => {
  try {
    const call = handlers[name] as (...args: unknown[]) => Promise<unknown>;
    process.send!({ id, result: await call(...args) });
  } catch (error) {
    process.send!({ id, error: (error as Error).message });
  }
  if (name === 'stop') process.disconnect();
});
