/**
 * Pools that an engine was given for networks that it has not made yet. It says neither name nor pool when it makes one:
 * a network is known by the subnets that it has.
 */
import { ControlError } from '../control/errors.ts';
import { canonical, type PlannedPool, type WantedNetwork } from './overlay-network.ts';

/** Of the pools that this plugin gives. */
export const ADDRESS_SPACE = 'packetweave';
/** Milliseconds that a pool is kept for a network that does not come. */
const KEPT = 30_000;

/** A pool, and the name of its network. */
export interface Pool extends PlannedPool {
  readonly id: string;
  readonly name: string;
}

export class Pools {
  /** Milliseconds since 1970. */
  readonly #now: () => number;
  readonly #pools = new Map<string, { readonly pool: Pool; readonly at: number }>();

  constructor(now: () => number) {
    this.#now = now;
  }

  get(id: string): Pool | null {
    this.#expire();
    return this.#pools.get(id)?.pool ?? null;
  }

  add(pool: Pool): void {
    this.#pools.set(pool.id, { pool, at: this.#now() });
  }

  remove(id: string): void {
    this.#pools.delete(id);
  }

  /** The pools that were given for a network. Throws `INVALID` or `NOT_FOUND`. */
  of({ id, options, subnets }: WantedNetwork): Pool[] {
    this.#expire();
    if (subnets.some(({ space }) => space !== ADDRESS_SPACE) || subnets.length === 0) {
      const managed = 'a managed plugin is packetweave:latest there, and a swarm needs --config-from';
      const advice = `add --ipam-driver packetweave --ipam-opt network=NAME; ${managed}`;
      const why = 'each engine would give the same addresses by itself';
      const what = `Docker network ${id.slice(0, 12)} has another IPAM driver`;
      throw new ControlError('INVALID', `${what}: ${advice} (${why})`);
    }
    const all = [...this.#pools.values()].map(({ pool }) => pool).reverse();
    const pools = subnets.map(({ cidr }) => {
      const found = all.filter(({ subnet }) => subnet.cidr === canonical(cidr));
      const pool = found.find(({ name }) => name === options.network) ?? found[0];
      if (pool !== undefined) return pool;
      throw new ControlError('NOT_FOUND', `the pool ${cidr} was given back meanwhile: try again`);
    });
    const names = new Set([...pools.map(({ name }) => name), options.network ?? pools[0].name]);
    if (names.size === 1) return pools;
    const list = [...names].join(' and ');
    throw new ControlError(
      'INVALID',
      `several networks are named (${list}): name one, by --ipam-opt network=`,
    );
  }

  #expire(): void {
    const now = this.#now();
    for (const [id, { at }] of this.#pools) if (now - at > KEPT) this.#pools.delete(id);
  }
}
