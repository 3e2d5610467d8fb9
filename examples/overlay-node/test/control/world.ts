/** Nodes over one store in this process: for the tests of control. */
import { randomBytes } from 'node:crypto';
import type { Log } from 'packetweave';
import { createCluster } from '../../control/cluster.ts';
import type { EndpointRequest, Node } from '../../control/model.ts';
import { MemoryStore } from '../../control/store/memory.ts';
import { StoreControl, type StoreControlOptions } from '../../control/store-control.ts';

export const hex = (digits: number) => randomBytes(digits / 2).toString('hex');

/** What was said to the log. */
export class Said implements Log {
  readonly lines: string[] = [];
  debug(): void {}
  info(text: string): void {
    this.lines.push(text);
  }
  warn(text: string): void {
    this.lines.push(text);
  }
  error(text: string): void {
    this.lines.push(text);
  }
}

/** Timing for what must not be withdrawn on a busy machine. */
export const LASTING = { ttl: 3, beat: 100, backOff: 10 };

export class World {
  readonly store = new MemoryStore();
  readonly said = new Said();
  readonly #open = new Set<StoreControl>();
  #count = 0;

  static async make(): Promise<World> {
    const world = new World();
    await createCluster(world.store);
    return world;
  }

  identity(id = hex(12)): Node {
    const n = ++this.#count;
    const address = `192.0.${2 + (n >> 8)}.${n & 255}`;
    const ports = { dataPort: 4789, espPort: 4500, mtu: 1500 };
    return { id, name: `host${n}`, address, ...ports, version: '1', joined: '2026-01-01T00:00:00.000Z' };
  }

  /** A node, with a client of its own to the store. */
  async node(
    options: Partial<StoreControlOptions> = {},
  ): Promise<{ control: StoreControl; store: MemoryStore }> {
    const store = (options.store as MemoryStore | undefined) ?? this.store.client();
    const identity = options.identity ?? this.identity();
    // Short, so that tests need not wait; the order of things is what is tested.
    const timing = { ttl: 0.5, beat: 100, backOff: 10 };
    const control = await StoreControl.open({
      joining: true,
      log: this.said,
      timing,
      ...options,
      store,
      identity,
    });
    this.#open.add(control);
    return { control, store };
  }

  async close(): Promise<void> {
    for (const control of this.#open) await control.close();
  }
}

export function ask(network: string, request: Partial<EndpointRequest> = {}): EndpointRequest {
  return { network, container: hex(64), name: `c${hex(6)}`, ...request };
}

/** Waits until something holds; the test's own limit ends what never does. */
export async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await holds())) await new Promise((resolve) => setTimeout(resolve, 5));
}
