/**
 * Published ports, on the addresses of the host. Packets to one go by rules of the kernel alone: in the host to the
 * gateway of the endpoint's network, and in the gateway to the endpoint. A client's address stays what it is; that of
 * the host's own loopback becomes the host's on the link.
 *
 * The daemon holds a socket a port, so that the port is taken, unless somebody else does. Nothing reaches it but TCP from
 * the host itself to ::1, which the kernel cannot redirect: that is relayed. Ports go on while the daemon is away, and
 * when it opens anew: until all that is to be published is, and the rest is swept.
 */
import { isIPv6 } from 'node:net';
import { ControlError } from '../control/errors.ts';
import type { Protocol, PublishedPort } from '../control/model.ts';
import type { Gateway } from './gateway.ts';
import { PortMap } from './port-map.ts';
import { allocated, type Reservation, type ReservedPort, reserve } from './reservation.ts';
import type { Redirection } from './rules.ts';

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
  readonly #host = new PortMap(null);
  /** By namespace of a gateway. */
  readonly #gateways = new Map<string, Promise<PortMap>>();

  /** Finds what an earlier daemon had published: it goes on until {@link sweep}. */
  open(): Promise<void> {
    return this.#host.open();
  }

  /** Takes back whatever an earlier daemon had published, in the host and in these gateways, and this one has not. */
  async sweep(gateways: readonly Gateway[]): Promise<void> {
    const maps = await Promise.all(gateways.map(({ namespace }) => this.#gateway(namespace)));
    await Promise.all([this.#host, ...maps].map((map) => map.sweep()));
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
    notes.push(...wanted.flatMap((port) => addressNote(target, port)));
    const needed = published.flatMap(sockets);
    const taken = needed.find((one) => this.#has(one));
    if (taken !== undefined) throw allocated(taken);
    // The place is kept while the sockets are made.
    this.#entries.set(id, { published, reservation: { close: async () => {} } });
    const reservation = await reserve(held ? [] : needed).catch((error: unknown) => {
      // Nothing is written yet, and the same ports may be another endpoint's.
      this.#entries.delete(id);
      throw error;
    });
    this.#entries.set(id, { published, reservation });
    try {
      await this.#apply(published, 'set');
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
    await this.#apply(entry.published, 'remove').finally(() => entry.reservation.close());
  }

  /** Whether a port of the host can be published; of SCTP all can. */
  async isFree(protocol: Protocol, hostAddress: string | null, port: number): Promise<boolean> {
    if (protocol === 'sctp') return true;
    const wanted = { protocol, address: hostAddress ?? '0.0.0.0', port };
    if (this.#has(wanted)) return false;
    if (hostAddress !== null) return (await refusal(protocol, hostAddress, port)) === null;
    const codes = [await refusal(protocol, '0.0.0.0', port), await refusal(protocol, '::', port)];
    // A host without IPv6 has nobody who takes the port there.
    return codes[0] === null && codes[1] !== 'CONFLICT';
  }

  /** Gives back the sockets alone: the ports go on for the next daemon. */
  async stop(): Promise<void> {
    const entries = [...this.#entries.values()];
    this.#entries.clear();
    await Promise.all(entries.map(({ reservation }) => reservation.close()));
  }

  /** Takes back all. */
  async close(): Promise<void> {
    await Promise.all([...this.#entries.keys()].map((id) => this.withdraw(id)));
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
      const at = hostAddress === '0.0.0.0' || hostAddress === '::' ? null : hostAddress;
      for (const local of gateway.link!.gateway) {
        const address = addressOf(addresses, isIPv6(local));
        if (address === undefined || !leadsTo(hostAddress, isIPv6(local))) continue;
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
    const found = places.find((from) => from + count <= 65536 && fits(from));
    if (found !== undefined) return found;
    throw new ControlError(
      'FULL',
      `all ports are allocated: the gateway ${gateway} has no ${count} free in a row`,
    );
  }

  async #apply(published: readonly Published[], change: 'set' | 'remove'): Promise<void> {
    const maps = new Set([this.#host]);
    for (const { gateway, outer, inner } of published) {
      const map = await this.#gateway(gateway);
      map[change](inner);
      this.#host[change](outer);
      maps.add(map);
    }
    await Promise.all([...maps].map((map) => map.apply()));
  }

  #gateway(namespace: string): Promise<PortMap> {
    const known = this.#gateways.get(namespace);
    if (known !== undefined) return known;
    const map = new PortMap(namespace);
    const opened = map.open().then(() => map);
    this.#gateways.set(namespace, opened);
    return opened;
  }
}

/** Why a port cannot be taken now; null where it can. */
async function refusal(protocol: 'tcp' | 'udp', address: string, port: number): Promise<string | null> {
  try {
    const one = await reserve([{ protocol, address, port }]);
    await one.close();
    return null;
  } catch (error) {
    return (error as ControlError).code;
  }
}

/** What the host's ports are taken with. */
function sockets({ outer }: Published): ReservedPort[] {
  const ipv6 = isIPv6(outer.address);
  return Array.from({ length: outer.count }, (_, i) => ({
    protocol: outer.protocol,
    address: outer.at ?? (ipv6 ? '::' : '0.0.0.0'),
    port: outer.from + i,
    ...(ipv6 && { relayTo: { host: outer.address, port: outer.to + i } }),
  }));
}

/** The endpoint's address of a family, without prefix length. */
function addressOf(addresses: readonly string[], ipv6: boolean): string | undefined {
  return addresses.map((one) => one.split('/')[0]).find((one) => isIPv6(one) === ipv6);
}

/** Whether what comes to an address of the host can go on in a family. */
function leadsTo(hostAddress: string | null, ipv6: boolean): boolean {
  return hostAddress === null || isIPv6(hostAddress) === ipv6;
}

/** What is to be said where a port is not published at the address that it is meant for. */
function addressNote({ gateway, addresses }: PublishTarget, port: PublishedPort): string[] {
  const { hostAddress, published, protocol } = port;
  if (hostAddress === null) return [];
  const begin = `port ${published}/${protocol} is not published at ${hostAddress}`;
  const ipv6 = isIPv6(hostAddress);
  const carried = [addresses, gateway.link!.gateway].every((all) => addressOf(all, ipv6) !== undefined);
  if (!carried) return [`${begin}: the network has no ${ipv6 ? 'IPv6' : 'IPv4'}`];
  return hostAddress === '::1' && protocol === 'udp' ? [`${begin}: from there, only tcp can be relayed`] : [];
}

function sctpNote({ port }: PublishedPort): string {
  return `port ${port}/sctp is reached on the overlay only: the host publishes tcp and udp`;
}
