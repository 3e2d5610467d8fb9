/** Names inside of each network, at its gateways. */
import { performance } from 'node:perf_hooks';
import { gatewayNamespace } from '../attach/gateway.ts';
import type { Network } from '../control/model.ts';
import { Forwarder } from '../dns/forwarder.ts';
import type { Names } from '../dns/names.ts';
import { NameServer } from '../dns/server.ts';
import { systemServers } from '../dns/upstream/server-address.ts';
import type { NetworkService } from './plumbing.ts';

export interface NameServiceOptions {
  readonly names: Names;
  /** Id of this node. */
  readonly node: string;
  /** Servers for other names; none: the host's. */
  readonly upstream: readonly string[];
  /** Servers of a client of its own (`--dns`); null: none. */
  readonly servers: (network: string, from: string) => readonly string[] | null;
}

export class NameService implements NetworkService {
  readonly #node: string;
  readonly #forwarder: Forwarder;
  readonly #server: NameServer;

  constructor({ names, node, upstream, servers }: NameServiceOptions) {
    this.#node = node;
    const now = () => performance.now();
    const system = systemServers(now);
    this.#forwarder = new Forwarder({ servers: () => (upstream.length > 0 ? upstream : system()), now });
    this.#server = new NameServer({ names, forwarder: this.#forwarder, random: Math.random, servers });
  }

  async prepare(): Promise<void> {}

  async open(network: Network): Promise<void> {
    const { id, name, internal, subnets } = network;
    await this.#server.listen({
      namespace: gatewayNamespace(network.vni, this.#node),
      addresses: subnets.map(({ gateway }) => gateway),
      network: { id, name, internal, subnets: subnets.map(({ cidr }) => cidr) },
    });
  }

  async close({ id }: Network): Promise<void> {
    this.#server.close(id);
  }

  counters(): Record<string, number> {
    return this.#server.counters();
  }

  stop(): void {
    this.#server.stop();
    this.#forwarder.close();
  }
}
