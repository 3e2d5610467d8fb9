/**
 * Endpoints of a Docker engine: an address is given, then an endpoint is made of it, then a device for it that the
 * engine moves into the container's namespace. The dataplane goes on holding the device there; a daemon that starts
 * again finds it by its MAC address in the namespace that the engine named.
 *
 * Every step can come twice, and steps back come for what is not there.
 */
import { runIn } from '../attach/system.ts';
import { ControlError } from '../control/errors.ts';
import type { Endpoint, EndpointChange, PublishedPort } from '../control/model.ts';
import { interfaceOf, type Place } from '../daemon/desired.ts';
import { Addresses, type AddressesOptions, hasAddress } from './addresses.ts';
import { findDevice } from './devices.ts';
import { type NetworkRecord, short } from './networks.ts';
import type { Shelf } from './shelf.ts';

/** What this plugin's devices are called before the engine moves them, and after they came back. */
const PREFIX = 'pwd';
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

export interface EndpointsOptions extends AddressesOptions {
  readonly shelf: Shelf<EndpointRecord>;
}

export class Endpoints {
  readonly #options: EndpointsOptions;
  readonly addresses: Addresses;
  /** By id in the overlay: where devices are. */
  readonly #places = new Map<string, Place>();
  /** By the engine's id: those whose devices are being taken away. Never rejects. */
  readonly #going = new Map<string, Promise<void>>();

  constructor(options: EndpointsOptions) {
    this.#options = options;
    this.addresses = new Addresses(options);
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

  /** Takes an address back, and the endpoint that has it. */
  async release(network: NetworkRecord, address: string): Promise<void> {
    await this.addresses.release(network, address);
    for (const endpoint of this.#options.here().control.own()) {
      if (!hasAddress(endpoint, address)) continue;
      const record = this.all().find((one) => one.endpoint === endpoint.id && one.network === network.id);
      if (record !== undefined) await this.remove(record.id);
    }
  }

  /** Makes an endpoint of an address; answers its MAC address. */
  async create(wanted: WantedEndpoint): Promise<string> {
    const { shelf, networks, here, now } = this.#options;
    const known = shelf.get(wanted.id);
    if (known !== undefined) return known.mac;
    const network = networks.get(wanted.network);
    let endpoint = this.addresses.waiting(network, wanted.address);
    if (wanted.mac !== '' && wanted.mac.toLowerCase() !== endpoint.mac) {
      endpoint = await this.addresses.again(network, endpoint, { mac: wanted.mac });
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
    this.addresses.taken(id);
    return mac;
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
    await this.end(id);
    await this.#going.get(id);
  }

  /** Begins to remove an endpoint: the overlay knows it no more, and its device goes by itself. Nobody waits for that
   * who waits for the end of a container. */
  async end(id: string): Promise<void> {
    const record = this.#options.shelf.get(id);
    if (record === undefined) return;
    await this.addresses.detach(record.endpoint);
    if (this.#going.has(id)) return;
    this.#places.delete(record.endpoint);
    const going = this.#takeAway(record).finally(() => this.#going.delete(id));
    this.#going.set(id, going);
  }

  /** Resolves when all that was ended is gone. */
  async idle(): Promise<void> {
    await Promise.all(this.#going.values());
  }

  async #takeAway({ id, device }: EndpointRecord): Promise<void> {
    const { shelf, log } = this.#options;
    await this.#withdraw(device);
    await shelf.remove(id).catch((error: Error) => log.warn(error.message));
  }

  /** Takes a device away that the dataplane is to let go of. */
  async #withdraw(device: string): Promise<void> {
    const { here, log } = this.#options;
    try {
      await here().plumbing.run();
    } catch (error) {
      log.warn((error as Error).message);
    }
    // It may have gone with its namespace.
    await runIn(null, 'ip', ['link', 'del', 'dev', device]).catch((error: Error) => log.debug(error.message));
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
    this.addresses.forget();
    this.#places.clear();
  }

  /** Takes back addresses that no endpoint was made of, here or before an earlier daemon ended. */
  sweep(): Promise<void> {
    return this.addresses.sweep(new Set(this.all().map(({ endpoint }) => endpoint)));
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
