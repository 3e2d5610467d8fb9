/**
 * Addresses that were given to a Docker engine, and that it has made no endpoint of as yet. Each is an endpoint of the
 * overlay already: so no other host can have it.
 */
import { randomBytes } from 'node:crypto';
import { isIP } from 'node:net';
import { parseAddress } from '../control/cidr.ts';
import { ControlError } from '../control/errors.ts';
import { type Endpoint, type EndpointRequest, OWNER } from '../control/model.ts';
import type { Logger } from '../daemon/log.ts';
import { withoutLength } from '../daemon/names.ts';
import type { Running } from '../daemon/running.ts';
import type { NetworkRecord, Networks } from './networks.ts';
import { checkUnchanged } from './overlay-network.ts';

/** Milliseconds after which an address that no endpoint was made of is taken back. */
const KEPT = 60_000;

export interface AddressesOptions {
  readonly networks: Networks;
  /** Throws where this host is in no overlay. */
  readonly here: () => Running;
  readonly log: Logger;
  /** Milliseconds since 1970. */
  readonly now: () => number;
}

interface Pending {
  readonly endpoint: Endpoint;
  /** The engine's id of its network. */
  readonly network: string;
  readonly at: number;
  /** Whether its IPv6 address was asked for. */
  six: boolean;
}

export class Addresses {
  readonly #options: AddressesOptions;
  /** By id in the overlay. */
  readonly #pending = new Map<string, Pending>();
  /** How many addresses are being asked for. */
  #attaching = 0;

  constructor(options: AddressesOptions) {
    this.#options = options;
  }

  /** Gives an address of a network, with prefix length; `wanted` is empty for any. */
  async request(network: NetworkRecord, family: 4 | 6, wanted: string, name: string): Promise<string> {
    const found =
      family === 4 ? await this.#first(network, wanted, name) : await this.#second(network, wanted);
    return found.addresses.find((address) => isIP(withoutLength(address)) === family)!;
  }

  async #first(network: NetworkRecord, ip: string, name: string): Promise<Endpoint> {
    const container = randomBytes(32).toString('hex');
    return this.#attach(network, {
      container,
      // Until the engine tells another.
      name: /^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/.test(name) ? name : `docker-${container.slice(0, 8)}`,
      ...(ip !== '' && { ip }),
    });
  }

  /** The IPv6 address of an endpoint is there with the IPv4 one, which the engine asks for first. */
  async #second(network: NetworkRecord, ip6: string): Promise<Endpoint> {
    const waiting = [...this.#pending.values()].filter((one) => one.network === network.id && !one.six);
    const last = waiting.at(-1);
    if (last === undefined) {
      throw new ControlError('INVALID', 'an endpoint has an IPv4 address: ask for that first');
    }
    last.six = true;
    if (ip6 === '' || hasAddress(last.endpoint, ip6)) return last.endpoint;
    const endpoint = await this.again(network, last.endpoint, { ip6 });
    this.#pending.get(endpoint.id)!.six = true;
    return endpoint;
  }

  async #attach(
    network: NetworkRecord,
    wanted: Pick<EndpointRequest, 'container' | 'name' | 'ip' | 'ip6' | 'mac'>,
  ): Promise<Endpoint> {
    const { here, networks, now } = this.#options;
    const { control } = here();
    const request = { network: network.request.name, labels: { [OWNER]: 'docker' }, ...wanted };
    this.#attaching++;
    try {
      const endpoint = await control.attach(request).catch(async (error: ControlError) => {
        if (error.code !== 'NOT_FOUND') throw error;
        await networks.ensure(network);
        return control.attach(request);
      });
      this.#pending.set(endpoint.id, { endpoint, network: network.id, at: now(), six: false });
      await this.#check(network, endpoint);
      return endpoint;
    } finally {
      this.#attaching--;
    }
  }

  /** Takes an endpoint back where its network is not what the engine takes it for. */
  async #check(network: NetworkRecord, endpoint: Endpoint): Promise<void> {
    const { here } = this.#options;
    try {
      checkUnchanged(network.request, here().control.views.get(endpoint.network)!.network);
    } catch (error) {
      await this.detach(endpoint.id);
      throw error;
    }
  }

  /** Attaches an endpoint anew with something else that it must have. */
  async again(
    network: NetworkRecord,
    { id, container, name, addresses }: Endpoint,
    wanted: { readonly ip6?: string; readonly mac?: string },
  ): Promise<Endpoint> {
    const plain = addresses.map(withoutLength);
    const ip = plain.find((address) => isIP(address) === 4)!;
    const ip6 = wanted.ip6 ?? plain.find((address) => isIP(address) === 6);
    this.#pending.delete(id);
    await this.#options.here().control.detach(id);
    return this.#attach(network, { container, name, ip, ...wanted, ...(ip6 !== undefined && { ip6 }) });
  }

  /** The endpoint that has an address, of which none of the engine's was made. Throws `NOT_FOUND`. */
  waiting(network: NetworkRecord, address: string): Endpoint {
    for (const { endpoint, network: of } of this.#pending.values()) {
      if (of === network.id && endpoint.addresses.includes(address)) return endpoint;
    }
    throw new ControlError(
      'NOT_FOUND',
      `the address ${address || 'of an endpoint'} was not asked for in network ${network.request.name}: start it again`,
    );
  }

  /** An endpoint was made of it. */
  taken(id: string): void {
    this.#pending.delete(id);
  }

  /** Takes back an address that no endpoint was made of. */
  async release(network: NetworkRecord, address: string): Promise<void> {
    for (const { endpoint, network: of } of [...this.#pending.values()]) {
      if (of === network.id && hasAddress(endpoint, address)) await this.detach(endpoint.id);
    }
  }

  /** Takes back what is too old, and what an earlier daemon left; `known` are those that endpoints were made of. */
  async sweep(known: ReadonlySet<string>): Promise<void> {
    const { here, now, log } = this.#options;
    const at = now();
    for (const [id, pending] of this.#pending) if (at - pending.at > KEPT) await this.detach(id);
    if (this.#attaching > 0) return;
    for (const { id, labels, name } of here().control.own()) {
      if (labels[OWNER] !== 'docker' || known.has(id) || this.#pending.has(id)) continue;
      log.info({ endpoint: name }, 'an endpoint that no container has is released');
      await this.detach(id);
    }
  }

  forget(): void {
    this.#pending.clear();
  }

  /** Takes an endpoint back. Where the store is away it is told when that is back. */
  async detach(id: string): Promise<void> {
    const { here, log } = this.#options;
    this.#pending.delete(id);
    try {
      await here().control.detach(id);
    } catch (error) {
      if (!['AWAY', 'NOT_FOUND', 'NOT_JOINED'].includes((error as ControlError).code)) throw error;
      log.debug((error as Error).message);
    }
  }
}

export function hasAddress({ addresses }: Endpoint, address: string): boolean {
  return addresses.some((one) => sameAddress(withoutLength(one), address));
}

function sameAddress(a: string, b: string): boolean {
  const [one, other] = [parseAddress(a), parseAddress(b)];
  return one !== null && other !== null && one.family === other.family && one.value === other.value;
}
