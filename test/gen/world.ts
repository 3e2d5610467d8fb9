/** Whole overlays in one process, on one virtual clock, one memory underlay and one pool that finds mistakes. */
import { VirtualClock } from '../../lib/core/clock.ts';
import { type Steppable, simulate } from '../../lib/core/engine.ts';
import { DebugPool } from '../../lib/core/pool.ts';
import { Random } from '../../lib/core/random.ts';
import { Endpoint } from '../../lib/io/endpoint.ts';
import { MemoryUnderlay } from '../../lib/io/memory.ts';
import type { Port } from '../../lib/io/port.ts';
import { type NetworkConfig, Overlay, type OverlayConfig, type OverlayParts } from '../../lib/overlay.ts';
import { seed } from './seed.ts';

export class World {
  readonly clock = new VirtualClock();
  readonly pool: DebugPool;
  readonly underlay = new MemoryUnderlay();
  readonly overlays: Overlay[] = [];
  readonly others: Steppable[] = [];
  readonly #parts: OverlayParts;

  constructor(packets = 2048, parts: OverlayParts = {}) {
    this.pool = new DebugPool({ count: packets });
    this.#parts = parts;
  }

  /** Makes a host and opens it. `wrap` puts something around its underlay port. */
  async host(
    address: string,
    networks: readonly NetworkConfig[],
    wrap: (port: Port) => Port = (port) => port,
  ): Promise<Overlay> {
    const overlay = new Overlay(this.config(address, networks, wrap(this.underlay.port(address))), {
      pool: this.pool,
      clock: this.clock,
      random: new Random(seed),
      ...this.#parts,
    });
    this.overlays.push(overlay);
    await overlay.open();
    return overlay;
  }

  config(address: string, networks: readonly NetworkConfig[], underlay: Port): OverlayConfig {
    return { local: { address, underlay }, networks };
  }

  /** The description of a host that runs, with other networks. */
  change(overlay: Overlay, address: string, networks: readonly NetworkConfig[]): Promise<void> {
    return overlay.apply(this.config(address, networks, overlay.underlay));
  }

  /** Lets time pass. */
  run(ms: number): void {
    simulate([...this.overlays, ...this.others], this.clock, ms);
  }

  /** Runs until a promise is settled, at most `ms` milliseconds of virtual time. */
  async until<T>(promise: Promise<T>, ms = 10_000): Promise<T> {
    let done = false;
    const finish = () => {
      done = true;
    };
    promise.then(finish, finish);
    for (let waited = 0; !done && waited <= ms; waited += 10) {
      this.run(10);
      for (let i = 0; i < 4; i++) await Promise.resolve();
    }
    if (!done) throw new Error(`nothing came within ${ms} ms`);
    return promise;
  }

  /** Stops all hosts and returns how many packets did not come home. */
  async end(): Promise<number> {
    for (const overlay of this.overlays) await overlay.stop();
    return this.pool.used;
  }
}

/** An endpoint 10.0.0.n and fd00::n with a MAC that follows from n (up to 65,535). */
export function endpoint(n: number, more: { mtu?: number; name?: string; capacity?: number } = {}): Endpoint {
  return new Endpoint({ ...identity(n), mtu: 1450, ...more });
}

/** What an endpoint made by {@link endpoint} may send from. */
export function identity(n: number): { mac: string; addresses: string[] } {
  const hex = (x: number) => x.toString(16).padStart(2, '0');
  return {
    mac: `02:42:0a:00:${hex(n >> 8)}:${hex(n & 0xff)}`,
    addresses: [`10.0.${n >> 8}.${n & 0xff}`, `fd00::${n.toString(16)}`],
  };
}
