/**
 * Published ports, on the addresses of the host. Packets to one go by rules of the kernel alone: in the host to the
 * gateway of the endpoint's network, and in the gateway to the endpoint. A client's address stays what it is; that of
 * the host's own loopback becomes the host's on the link.
 *
 * The daemon holds a socket a port, which nothing reaches, so that the port is taken, unless somebody else does. Connections that are established
 * go on while the daemon is away; rules go on too, until it opens anew.
 */
import { isIPv6 } from 'node:net';
import type { Protocol, PublishedPort } from '../control/model.ts';
import type { Gateway } from './gateway.ts';
import { existing } from './namespace.ts';
import { allocated, type Reservation, type ReservedPort, reserve } from './reservation.ts';
import { chain, type Redirection, redirections } from './rules.ts';
import { nft } from './system.ts';

/** Where published ports lead. */
export interface PublishTarget {
  /** The gateway of the network by which the endpoint answers: that of its default route. */
  readonly gateway: Gateway;
  /** The endpoint's addresses, with prefix length or without. */
  readonly addresses: readonly string[];
}

/** One port or range in one family. */
interface Published {
  readonly gateway: string;
  /** In the host. */
  readonly outer: Redirection;
  /** In the gateway. */
  readonly inner: Redirection;
}

interface Entry {
  readonly published: readonly Published[];
  readonly reservation: Reservation;
}

export class HostPorts {
  readonly #entries = new Map<string, Entry>();
  /** Gateways that have rules of ours. */
  readonly #gateways = new Set<string>();
  #applying: Promise<void> = Promise.resolve();
  /** What applies the changes that came while the last one is applied. */
  #next: Promise<void> | null = null;

  /** Takes back whatever an earlier daemon had published. */
  open(): Promise<void> {
    return this.#apply();
  }

  /**
   * Publishes an endpoint's ports, all or none, and returns what is to be said of those that cannot be. Rejects with
   * a ControlError in the words of Docker where one is taken. With `held`, somebody else has the sockets.
   */
  async publish(
    id: string,
    target: PublishTarget,
    ports: readonly PublishedPort[],
    held = false,
  ): Promise<string[]> {
    await this.withdraw(id);
    const notes = ports.filter(({ protocol }) => protocol === 'sctp').map(sctpNote);
    const wanted = ports.filter(({ protocol }) => protocol !== 'sctp');
    if (wanted.length === 0) return notes;
    const { link } = target.gateway;
    if (link === null) return [...notes, 'the network is internal: no port is published on the host'];
    const published = this.#place(target, wanted);
    const needed = published.flatMap(sockets);
    const taken = needed.find((one) => this.#has(one));
    if (taken !== undefined) throw allocated(taken);
    // The place is kept while the sockets are made.
    this.#entries.set(id, { published, reservation: { close: async () => {} } });
    try {
      this.#entries.set(id, { published, reservation: await reserve(held ? [] : needed) });
      await this.#apply();
    } catch (error) {
      await this.withdraw(id);
      throw error;
    }
    return notes;
  }

  /** Takes an endpoint's ports back. */
  async withdraw(id: string): Promise<void> {
    const entry = this.#entries.get(id);
    if (entry === undefined) return;
    this.#entries.delete(id);
    await this.#apply().finally(() => entry.reservation.close());
  }

  /** Whether a port of the host can be published; of SCTP all can. */
  async isFree(protocol: Protocol, hostAddress: string | null, port: number): Promise<boolean> {
    if (protocol === 'sctp') return true;
    const wanted = { protocol, address: hostAddress ?? '0.0.0.0', port };
    if (this.#has(wanted)) return false;
    try {
      const one = await reserve([wanted]);
      await one.close();
      return true;
    } catch {
      return false;
    }
  }

  /** Takes back all. */
  async close(): Promise<void> {
    const entries = [...this.#entries.values()];
    this.#entries.clear();
    await this.#apply().finally(() => Promise.all(entries.map(({ reservation }) => reservation.close())));
  }

  /** Whether a port is published here already, by a socket or without. */
  #has({ protocol, address, port }: ReservedPort): boolean {
    const any = address === '0.0.0.0' || address === '::';
    return [...this.#entries.values()]
      .flatMap(({ published }) => published)
      .map(({ outer }) => outer)
      .filter((outer) => outer.protocol === protocol && isIPv6(outer.address) === isIPv6(address))
      .filter(({ at }) => at === null || any || at === address)
      .some(({ from, count }) => port >= from && port < from + count);
  }

  /** Where packets go, for each port and family that endpoint, gateway and host address have. */
  #place({ gateway, addresses }: PublishTarget, ports: readonly PublishedPort[]): Published[] {
    const placed: Published[] = [];
    for (const { protocol, published, port, count, hostAddress } of ports) {
      for (const local of gateway.link!.gateway) {
        const address = addresses
          .map((one) => one.split('/')[0])
          .find((one) => isIPv6(one) === isIPv6(local));
        const at = hostAddress === '0.0.0.0' || hostAddress === '::' ? null : hostAddress;
        if (address === undefined || (hostAddress !== null && isIPv6(hostAddress) !== isIPv6(local)))
          continue;
        const kind = { protocol: protocol as 'tcp' | 'udp', count };
        const through = this.#free(gateway.namespace, kind, isIPv6(local), published, placed);
        const outer = { ...kind, from: published, address: local, to: through, at };
        const inner = { ...kind, from: through, address, to: port, at: null };
        placed.push({ gateway: gateway.namespace, outer, inner });
      }
    }
    return placed;
  }

  /** Ports of the gateway: the published ones, or others where another host address has these published already. */
  #free(
    gateway: string,
    { protocol, count }: { protocol: 'tcp' | 'udp'; count: number },
    ipv6: boolean,
    wanted: number,
    more: readonly Published[],
  ): number {
    const all = [...this.#entries.values()].flatMap(({ published }) => published);
    const taken = [...all, ...more]
      .filter((one) => one.gateway === gateway && one.inner.protocol === protocol)
      .filter(({ inner }) => isIPv6(inner.address) === ipv6)
      .map(({ inner }) => ({ first: inner.from, last: inner.from + inner.count - 1 }))
      .sort((a, b) => a.first - b.first);
    const fits = (from: number) => taken.every(({ first, last }) => last < from || from + count - 1 < first);
    const places = [wanted, 1, ...taken.map(({ last }) => last + 1)];
    return places.find((from) => from + count <= 65536 && fits(from)) ?? wanted;
  }

  /** Brings the rules to what the entries are, once for all changes that came meanwhile. */
  #apply(): Promise<void> {
    this.#next ??= this.#applying.then(() => {
      this.#next = null;
      return this.#write();
    });
    this.#applying = this.#next.catch(() => {});
    return this.#next;
  }

  async #write(): Promise<void> {
    const all = [...this.#entries.values()].flatMap(({ published }) => published);
    for (const { gateway } of all) this.#gateways.add(gateway);
    for (const gateway of this.#gateways) {
      if (!existing().includes(gateway)) {
        this.#gateways.delete(gateway);
        continue;
      }
      const inner = all.filter((one) => one.gateway === gateway).map((one) => one.inner);
      await nft(gateway, chain('ports', null, redirections(inner)));
    }
    await nft(null, chain('ports', null, redirections(all.map(({ outer }) => outer))));
  }
}

/** What the host's ports are taken with. */
function sockets({ outer }: Published): ReservedPort[] {
  const address = outer.at ?? (isIPv6(outer.address) ? '::' : '0.0.0.0');
  return Array.from({ length: outer.count }, (_, i) => ({
    protocol: outer.protocol,
    address,
    port: outer.from + i,
  }));
}

function sctpNote({ port }: PublishedPort): string {
  return `port ${port}/sctp is reached on the overlay only: the host publishes tcp and udp`;
}
