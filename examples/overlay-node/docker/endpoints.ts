/**
 * Endpoints of a Docker engine: an address is given, then an endpoint is made of it, then a device for it that the
 * engine moves into the container's namespace. The dataplane goes on holding the device there; a daemon that starts
 * again finds it by its MAC address in the namespace that the engine named.
 *
 * Every step can come twice, and steps back come for what is not there.
 */
import { randomBytes } from 'node:crypto';
import { isIP } from 'node:net';
import { runIn } from '../attach/system.ts';
import { parseAddress } from '../control/cidr.ts';
import { ControlError } from '../control/errors.ts';
import { type Endpoint, type EndpointChange, OWNER, type PublishedPort } from '../control/model.ts';
import { interfaceOf, type Place } from '../daemon/desired.ts';
import type { Logger } from '../daemon/log.ts';
import { withoutLength } from '../daemon/names.ts';
import type { Running } from '../daemon/running.ts';
import { type NetworkRecord, type Networks, short } from './networks.ts';
import type { Shelf } from './shelf.ts';

/** What this plugin's devices are called before the engine moves them, and after they came back. */
const PREFIX = 'pwd';
/** Milliseconds after which an address that no endpoint was made of is taken back. */
const KEPT = 60_000;

export interface EndpointRecord {
  /** The engine's id. */
  readonly id: string;
  /** The engine's id of its network. */
  readonly network: string;
  /** Id in the overlay. */
  readonly endpoint: string;
  readonly mac: string;
  /** Name of its device in the host. */
  readonly device: string;
  /** Path of the namespace that the engine moved it to; null before. */
  readonly sandbox: string | null;
  /** Milliseconds since 1970. */
  readonly at: number;
}

/** What the engine says of an endpoint that it makes; empty where it says nothing. */
export interface WantedEndpoint {
  readonly id: string;
  readonly network: string;
  /** With prefix length. */
  readonly address: string;
  readonly mac: string;
  readonly ports: readonly PublishedPort[];
}

/** What the engine is to do with a device. */
export interface Joined {
  readonly device: string;
  /** Subnets that are reached on its link. */
  readonly onLink: readonly string[];
}

export interface EndpointsOptions {
  readonly shelf: Shelf<EndpointRecord>;
  readonly networks: Networks;
  /** Throws where this host is in no overlay. */
  readonly here: () => Running;
  readonly log: Logger;
  /** Milliseconds since 1970. */
  readonly now: () => number;
}

/** An address that no endpoint was made of as yet. */
interface Pending {
  readonly endpoint: Endpoint;
  /** The engine's id of its network. */
  readonly network: string;
  readonly at: number;
  /** Whether its IPv6 address was asked for. */
  six: boolean;
}

export class Endpoints {
  readonly #options: EndpointsOptions;
  /** By id in the overlay. */
  readonly #pending = new Map<string, Pending>();
  /** How many addresses are being asked for. */
  #attaching = 0;
  /** By id in the overlay: where devices are. */
  readonly #places = new Map<string, Place>();

  constructor(options: EndpointsOptions) {
    this.#options = options;
  }

  all(): EndpointRecord[] {
    return this.#options.shelf.all();
  }

  get(id: string): EndpointRecord | undefined {
    return this.#options.shelf.get(id);
  }

  /** Where an endpoint is, for the plumbing of the node. */
  place({ id }: Endpoint): Place | null {
    return this.#places.get(id) ?? null;
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
    const has = last.endpoint.addresses.some((address) => sameAddress(withoutLength(address), ip6));
    if (ip6 === '' || has) return last.endpoint;
    const endpoint = await this.#again(network, last.endpoint, { ip6 });
    this.#pending.get(endpoint.id)!.six = true;
    return endpoint;
  }

  async #attach(
    network: NetworkRecord,
    wanted: {
      readonly container: string;
      readonly name: string;
      readonly ip?: string;
      readonly ip6?: string;
    },
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
    const { here, networks } = this.#options;
    try {
      networks.checkUnchanged(network, here().control.views.get(endpoint.network)!.network);
    } catch (error) {
      await this.#detach(endpoint.id);
      throw error;
    }
  }

  /** Attaches an endpoint anew with something else that it must have. */
  async #again(
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

  /** Takes an address back, and the endpoint that has it. */
  async release(network: NetworkRecord, address: string): Promise<void> {
    const has = ({ addresses }: Endpoint) =>
      addresses.some((one) => sameAddress(withoutLength(one), address));
    const own = this.#options.here().control.own().filter(has);
    for (const { id } of own) {
      if (this.#pending.get(id)?.network === network.id) await this.#detach(id);
      const record = this.all().find((one) => one.endpoint === id && one.network === network.id);
      if (record !== undefined) await this.remove(record.id);
    }
  }

  /** Makes an endpoint of an address; answers its MAC address. */
  async create(wanted: WantedEndpoint): Promise<string> {
    const { shelf, networks, here, now } = this.#options;
    const known = shelf.get(wanted.id);
    if (known !== undefined) return known.mac;
    const network = networks.get(wanted.network);
    let endpoint = this.#waiting(network, wanted.address);
    if (wanted.mac !== '' && wanted.mac.toLowerCase() !== endpoint.mac) {
      endpoint = await this.#again(network, endpoint, { mac: wanted.mac });
    }
    const { id, mac } = endpoint;
    if (wanted.ports.length > 0) await here().control.update(id, { ports: wanted.ports });
    const device = `${PREFIX}${wanted.id.slice(0, 12)}`;
    await shelf.put({
      id: wanted.id,
      network: network.id,
      endpoint: id,
      mac,
      device,
      sandbox: null,
      at: now(),
    });
    this.#pending.delete(id);
    return mac;
  }

  #waiting(network: NetworkRecord, address: string): Endpoint {
    for (const { endpoint, network: of } of this.#pending.values()) {
      if (of === network.id && endpoint.addresses.includes(address)) return endpoint;
    }
    throw new ControlError(
      'NOT_FOUND',
      `the address ${address || 'of an endpoint'} was not asked for in network ${network.request.name}: start it again`,
    );
  }

  /** Makes the device of an endpoint; the engine moves it to the namespace. */
  async join(id: string, sandbox: string): Promise<Joined> {
    const { shelf, here } = this.#options;
    const { control, plumbing } = here();
    const record = this.#known(id);
    const endpoint = control.own().find((one) => one.id === record.endpoint);
    if (endpoint === undefined) throw unknown(id);
    const { device } = record;
    await shelf.put({ ...record, sandbox });
    const before = this.#places.get(endpoint.id);
    const place = { namespace: null, device, main: false, managed: true };
    this.#places.set(endpoint.id, before ?? place);
    try {
      await plumbing.run([endpoint]);
    } catch (error) {
      this.#places.delete(endpoint.id);
      await this.#withdraw(device);
      throw error;
    }
    const { network } = control.views.get(endpoint.network)!;
    return { device, onLink: interfaceOf(endpoint, network, place, 0).onLink };
  }

  /** Throws where there is no such endpoint. Its device stays until it is removed: the engine moves it back first. */
  leave(id: string): void {
    this.#known(id);
  }

  /** Leaves nothing of an endpoint. Where the store is away it is told when that is back. */
  async remove(id: string): Promise<void> {
    const { shelf } = this.#options;
    const record = shelf.get(id);
    if (record === undefined) return;
    await this.#detach(record.endpoint);
    this.#places.delete(record.endpoint);
    await this.#withdraw(record.device);
    await shelf.remove(id);
  }

  /** Takes a device away that the dataplane is to let go of. */
  async #withdraw(device: string): Promise<void> {
    const { here, log } = this.#options;
    await here()
      .plumbing.run()
      .catch((error: Error) => log.warn(error.message));
    // It may have gone with its namespace.
    await runIn(null, 'ip', ['link', 'del', 'dev', device]).catch((error: Error) => log.debug(error.message));
  }

  async #detach(id: string): Promise<void> {
    const { here, log } = this.#options;
    this.#pending.delete(id);
    try {
      await here().control.detach(id);
    } catch (error) {
      if (!['AWAY', 'NOT_FOUND'].includes((error as ControlError).code)) throw error;
      log.debug((error as Error).message);
    }
  }

  /** Tells the overlay who an endpoint is. */
  async rename(id: string, change: EndpointChange): Promise<void> {
    const record = this.get(id);
    if (record === undefined) return;
    const { control } = this.#options.here();
    const before = control.own().find((one) => one.id === record.endpoint);
    if (before === undefined) return;
    const same = Object.entries(change).every(
      ([name, value]) => JSON.stringify(before[name as keyof Endpoint]) === JSON.stringify(value),
    );
    if (!same) await control.update(before.id, change);
  }

  /** After a start: finds devices where they are. */
  async restore(): Promise<void> {
    for (const record of this.all()) {
      const place = this.#places.has(record.endpoint) ? null : await findDevice(record);
      if (place !== null) this.#places.set(record.endpoint, place);
    }
    await this.#options.here().plumbing.run();
  }

  /** Nothing runs any more: devices are looked for again. */
  forget(): void {
    this.#pending.clear();
    this.#places.clear();
  }

  /** Takes back addresses that no endpoint was made of, here or before an earlier daemon ended. */
  async sweep(): Promise<void> {
    const { here, now, log } = this.#options;
    const at = now();
    for (const [id, pending] of this.#pending) if (at - pending.at > KEPT) await this.#detach(id);
    if (this.#attaching > 0) return;
    const known = new Set([...this.all().map(({ endpoint }) => endpoint), ...this.#pending.keys()]);
    for (const { id, labels, name } of here().control.own()) {
      if (labels[OWNER] !== 'docker' || known.has(id)) continue;
      log.info({ endpoint: name }, 'an endpoint that no container has is released');
      await this.#detach(id);
    }
  }

  #known(id: string): EndpointRecord {
    const record = this.get(id);
    if (record === undefined) throw unknown(id);
    return record;
  }
}

function unknown(id: string): ControlError {
  return new ControlError(
    'NOT_FOUND',
    `endpoint ${short(id)} is not known to packetweave: start its container again`,
  );
}

/** Where the device of an endpoint is; null where it is gone. */
async function findDevice({ sandbox, mac, device }: EndpointRecord): Promise<Place | null> {
  const managed = { main: false, managed: true };
  const here = (await links(null)).some(({ ifname }) => ifname === device);
  if (here) return { namespace: null, device, ...managed };
  if (sandbox === null) return null;
  const found = (await links(sandbox)).find(({ address }) => address === mac);
  return found === undefined ? null : { namespace: sandbox, device: found.ifname, ...managed };
}

interface Link {
  readonly ifname: string;
  readonly address?: string;
}

/** Devices of a namespace; none where it is nobody's any more. */
async function links(namespace: string | null): Promise<readonly Link[]> {
  try {
    return JSON.parse(await runIn(namespace, 'ip', ['-j', 'link', 'show']));
  } catch {
    return [];
  }
}

function sameAddress(a: string, b: string): boolean {
  const [one, other] = [parseAddress(a), parseAddress(b)];
  return one !== null && other !== null && one.family === other.family && one.value === other.value;
}
