/** The gateways of this node's networks, kept as long as the networks are here. */
import { type Gateway, Gateways, listGateways } from '../attach/gateway.ts';
import type { Network } from '../control/model.ts';
import type { NetworkService } from './plumbing.ts';

export class GatewayService implements NetworkService {
  readonly #gateways: Gateways;
  readonly #node: string;
  /** By id of the network. */
  readonly #open = new Map<string, Gateway>();

  /** `node`: id of this node. */
  constructor(node: string) {
    this.#node = node;
    this.#gateways = new Gateways(node);
  }

  /** The gateway of a network; null where it is not there. */
  of(network: string): Gateway | null {
    return this.#open.get(network) ?? null;
  }

  /** Those that are there. */
  all(): readonly Gateway[] {
    return [...this.#open.values()];
  }

  async prepare({ id, vni, internal, ipv6 }: Network): Promise<void> {
    this.#open.set(id, await this.#gateways.make(vni, { internal, ipv6 }));
  }

  async open(): Promise<void> {}

  async close({ id, vni }: Network): Promise<void> {
    this.#open.delete(id);
    await this.#gateways.remove(vni);
  }

  /** Takes away what an earlier daemon of this node left, but for these VNIs. */
  async sweep(kept: ReadonlySet<number>): Promise<void> {
    for (const vni of listGateways(this.#node)) if (!kept.has(vni)) await this.#gateways.remove(vni);
  }

  /** Leaves no rules on this host. */
  clear(): Promise<void> {
    return this.#gateways.close();
  }
}
