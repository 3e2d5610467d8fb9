/**
 * The containers of this node: a namespace each, its attachments, and the command in it. What is begun is written down
 * before it is done, so that a daemon that starts again finds what it must go on with or take back.
 */
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import type { ConnectRequest, Container, RunRequest } from '../api/api.ts';
import {
  attachNamespace,
  detachNamespace,
  devicesOf,
  hasDefaultRoute,
  removeDevice,
} from '../attach/foreign.ts';
import { existing, makeNamespace, namespaceName, removeNamespace } from '../attach/namespace.ts';
import { isNamespace } from '../attach/nsfs.ts';
import { choosePorts, type IsFree, parsePort } from '../attach/ports.ts';
import { startTimeOf } from '../attach/processes.ts';
import { cidr, overlap } from '../control/cidr.ts';
import type { Control } from '../control/control.ts';
import { ControlError } from '../control/errors.ts';
import { type Endpoint, type Network, OWNER } from '../control/model.ts';
import { Queues } from '../control/queue.ts';
import type { Commands } from './commands.ts';
import type { Place } from './desired.ts';
import type { Logger } from './log.ts';
import type { Attachment, ContainerRecord, Records } from './records.ts';

/** What brings devices, ports and names in line with what control and the records say. */
export interface Plumbing {
  /** Resolves when everything is as it should be now. Rejects with what failed of these endpoints. */
  run(of?: readonly Endpoint[]): Promise<void>;
}

export interface ContainersParts {
  readonly records: Records;
  readonly control: Control;
  readonly plumbing: Plumbing;
  readonly commands: Commands;
  /** Whether a port of the host can be published. */
  readonly isFree: IsFree;
  readonly log: Logger;
}

/** Digits of an id that tell it well enough. */
const SHORT = 12;
const NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/;
/** What the kernel takes for a device's name (IFNAMSIZ), but for "." and "..". */
const DEVICE = /^(?!\.{1,2}$)[^\s/:]{1,15}$/;

export class Containers {
  readonly #records: Records;
  readonly #control: Control;
  readonly #plumbing: Plumbing;
  readonly #commands: Commands;
  readonly #isFree: IsFree;
  readonly #log: Logger;
  /** Names of containers that are being made. */
  readonly #making = new Set<string>();
  /** One thing at a time with each container, by id. */
  readonly #turns = new Queues();
  #closed = false;

  constructor({ records, control, plumbing, commands, isFree, log }: ContainersParts) {
    this.#records = records;
    this.#control = control;
    this.#plumbing = plumbing;
    this.#commands = commands;
    this.#isFree = isFree;
    commands.onExit = (container, code) => this.exited(container, code);
    this.#log = log;
  }

  /** Where an endpoint of this node is; null where no container has it. */
  place({ id, container }: Endpoint): Place | null {
    const record = this.#records.get(container);
    const attachment = record?.attachments.find(({ endpoint }) => endpoint === id);
    if (record === undefined || attachment === undefined) return null;
    return {
      namespace: record.namespace,
      device: attachment.device,
      main: record.defaultRoute !== false && this.#main(record) === attachment,
    };
  }

  /** The first attachment to a network with a way out, or the first of all. */
  #main({ attachments }: ContainerRecord): Attachment | undefined {
    const leadsOut = ({ network }: Attachment) =>
      this.#control.views.get(network)?.network.internal === false;
    return attachments.find(leadsOut) ?? attachments[0];
  }

  /** Makes a container. Rejects with everything as it was. */
  async run(request: RunRequest): Promise<Container> {
    if (this.#closed) throw new ControlError('NOT_JOINED', 'this host is leaving its overlay');
    const record = this.#begin(request);
    try {
      return await this.#turns.run(record.id, () => this.#run(record, request));
    } finally {
      this.#making.delete(record.name);
    }
  }

  async #run(record: ContainerRecord, request: RunRequest): Promise<Container> {
    try {
      await this.#make(record, request);
      await this.#plumbing.run(this.#endpoints(record.id));
      await this.#commands.prepare(this.#record(record.id));
      if (request.detach && record.command.length > 0) {
        await this.#commands.start(this.#record(record.id));
      } else if (record.command.length === 0) {
        await this.#records.put({ ...this.#record(record.id), state: 'running' });
      }
      return this.describe(this.#record(record.id));
    } catch (error) {
      await this.#tryTakeBack(record.id);
      throw error;
    }
  }

  /** Checks what was asked for, and reserves its name. */
  #begin(request: RunRequest): ContainerRecord {
    const { networks, command, namespace, detach = false, pid = null } = request;
    if (!Array.isArray(networks) || networks.length === 0) {
      throw new ControlError('INVALID', 'no network was named: give --network NAME');
    }
    if (namespace === undefined && (!Array.isArray(command) || command.length === 0)) {
      throw new ControlError('INVALID', 'no command was given: packetweave run --network NAME -- COMMAND');
    }
    if (request.device !== undefined && !DEVICE.test(request.device)) {
      throw new ControlError('INVALID', `"device" expected 1 to 15 characters, got "${request.device}"`);
    }
    if (namespace?.includes('/') && !isNamespace(namespace)) {
      throw new ControlError('INVALID', `there is no network namespace at ${namespace}`);
    }
    const id = randomBytes(32).toString('hex');
    const name = request.name ?? id.slice(0, SHORT);
    if (!NAME.test(name)) {
      throw new ControlError(
        'INVALID',
        `invalid container name (${name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed`,
      );
    }
    this.#records.checkName(name);
    if (this.#making.has(name)) throw new ControlError('CONFLICT', `a container "/${name}" is being made`);
    this.#making.add(name);
    const pidStarted = pid === null ? null : startTimeOf(pid);
    const foreign = namespace !== undefined && /^\d+$/.test(namespace) ? Number(namespace) : null;
    return {
      id,
      name,
      hostname: request.hostname ?? id.slice(0, SHORT),
      namespace: namespace === undefined || foreign !== null ? namespaceName(id) : namespace,
      foreign,
      command: command ?? [],
      environment: request.environment ?? {},
      directory: request.directory ?? null,
      dns: request.dns ?? [],
      aliases: request.aliases ?? [],
      labels: request.labels ?? {},
      created: new Date().toISOString(),
      detached: detach,
      // A command in the foreground leaves nothing that could be looked at: no log.
      remove: request.remove ?? !detach,
      attachments: [],
      ...(request.defaultRoute !== undefined && { defaultRoute: request.defaultRoute }),
      ...(request.portsHeld === true && { portsHeld: true }),
      state: 'created',
      exitCode: null,
      pid,
      pidStarted,
      ...(pid !== null && pidStarted !== null && { caller: { pid, started: pidStarted } }),
    };
  }

  async #make(record: ContainerRecord, request: RunRequest): Promise<void> {
    await this.#records.put(record);
    const { namespace, foreign } = record;
    this.#log.debug({ container: record.name, namespace }, 'a container is made');
    if (request.namespace !== undefined && foreign === null) checkThere(namespace);
    if (foreign !== null) await attachNamespace(record.id, foreign);
    else if (request.namespace === undefined) await makeNamespace(record.id);
    if (isForeign(record) && record.defaultRoute === undefined) {
      await this.#records.put({ ...record, defaultRoute: !(await hasDefaultRoute(namespace)) });
    }
    for (const [i, network] of request.networks.entries()) {
      const first = i === 0;
      await this.#attach(record.id, {
        network,
        aliases: record.aliases,
        publish: first ? (request.publish ?? []) : [],
        ...(first && request.ip !== undefined && { ip: request.ip }),
        ...(first && request.ip6 !== undefined && { ip6: request.ip6 }),
        ...(first && request.mac !== undefined && { mac: request.mac }),
        ...(first && request.device !== undefined && { device: request.device }),
      });
    }
  }

  /** Attaches a container to one more network. */
  async #attach(
    id: string,
    wanted: {
      readonly network: string;
      readonly aliases: readonly string[];
      readonly publish: readonly string[];
      readonly ip?: string;
      readonly ip6?: string;
      readonly mac?: string;
      readonly device?: string;
    },
  ): Promise<void> {
    const { name, hostname, labels, attachments } = this.#record(id);
    const { publish, device: named, ...request } = wanted;
    const network = await this.#control.network(wanted.network);
    if (attachments.some((attachment) => attachment.network === network.id)) {
      throw new ControlError('CONFLICT', `container ${name} is already attached to network ${network.name}`);
    }
    this.#checkApart(name, network, attachments);
    const device = await this.#device(this.#record(id), named);
    const ports = await choosePorts(publish.map(parsePort), this.#isFree);
    const endpoint = await this.#control.attach({ ...request, container: id, name, hostname, labels, ports });
    const attachment = { network: network.id, endpoint: endpoint.id, device, publish };
    try {
      const record = this.#record(id);
      await this.#records.put({ ...record, attachments: [...record.attachments, attachment] });
    } catch (error) {
      await this.#detach(endpoint.id);
      throw error;
    }
  }

  /** A device that is not there yet: the one that was named, or the next. */
  async #device(record: ContainerRecord, named: string | undefined): Promise<string> {
    const { namespace, attachments } = record;
    const own = attachments.map(({ device }) => device);
    const taken = new Set(isForeign(record) ? [...own, ...(await devicesOf(namespace))] : own);
    if (named === undefined) return freeDevice(taken);
    if (!taken.has(named)) return named;
    throw new ControlError(
      'CONFLICT',
      `there is a device ${named} in the network namespace ${namespace} already`,
    );
  }

  /** A namespace has one route to a subnet. */
  #checkApart(name: string, network: Network, attachments: readonly Attachment[]): void {
    for (const attachment of attachments) {
      const other = this.#control.views.get(attachment.network)?.network;
      const subnet = other?.subnets.find((one) =>
        network.subnets.some((own) => overlap(cidr(own.cidr), cidr(one.cidr))),
      );
      if (subnet === undefined) continue;
      throw new ControlError(
        'CONFLICT',
        `container ${name} is on network ${other!.name}, whose subnet ${subnet.cidr} network ${network.name} has, too`,
      );
    }
  }

  async connect(network: string, request: ConnectRequest): Promise<Container> {
    const { id } = this.#records.find(request.container);
    return this.#turns.run(id, () => this.#connect(id, network, request));
  }

  async #connect(id: string, network: string, request: ConnectRequest): Promise<Container> {
    const { name, state, attachments } = this.#record(id);
    const { aliases = [], ip, ip6 } = request;
    if (state === 'exited') throw new ControlError('CONFLICT', `container ${name} is not running`);
    await this.#attach(id, {
      network,
      aliases,
      publish: [],
      ...(ip !== undefined && { ip }),
      ...(ip6 !== undefined && { ip6 }),
    });
    const attachment = this.#record(id).attachments[attachments.length];
    try {
      await this.#plumbing.run(this.#endpoints(id));
    } catch (error) {
      await this.#separate(id, attachment);
      throw error;
    }
    await this.#commands.prepare(this.#record(id));
    return this.describe(this.#record(id));
  }

  async disconnect(network: string, container: string): Promise<Container> {
    const { id } = this.#records.find(container);
    return this.#turns.run(id, () => this.#disconnect(id, network));
  }

  async #disconnect(id: string, network: string): Promise<Container> {
    const record = this.#record(id);
    const { id: networkId, name } = await this.#control.network(network);
    const attachment = record.attachments.find((one) => one.network === networkId);
    if (attachment === undefined) {
      throw new ControlError('NOT_FOUND', `container ${record.name} is not connected to network ${name}`);
    }
    await this.#separate(id, attachment);
    await this.#commands.prepare(this.#record(id));
    return this.describe(this.#record(id));
  }

  /** Takes one attachment back. Whatever of it is gone already does no harm. */
  async #separate(id: string, attachment: Attachment): Promise<void> {
    await this.#detach(attachment.endpoint);
    const record = this.#record(id);
    const attachments = record.attachments.filter(({ endpoint }) => endpoint !== attachment.endpoint);
    await this.#records.note({ ...record, attachments });
    await this.#plumbing.run().catch((error: Error) => this.#log.error(error.message));
    await removeDevice(record.namespace, attachment.device).catch(() => {});
  }

  /** Removes a container; ends its command where that is forced. */
  async remove(nameOrId: string, force: boolean): Promise<void> {
    const { id } = this.#records.find(nameOrId);
    await this.#turns.run(id, async () => {
      const record = this.#record(id);
      if (record.state === 'running' && record.command.length > 0 && !force) {
        throw new ControlError(
          'CONFLICT',
          `container ${record.name} is running: end its command first, or use rm --force`,
        );
      }
      await this.#commands.end(record);
      await this.#takeBack(id);
    });
  }

  /** Removes all, and makes no more. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#turns.idle();
    for (const { id } of this.#records.all()) {
      await this.remove(id, true).catch((error: Error) => this.#log.error(error.message));
    }
  }

  /** A command in the foreground was started by who asked for it. */
  async started(nameOrId: string, pid: number): Promise<void> {
    const { id } = this.#records.find(nameOrId);
    await this.#turns.run(id, () => this.#commands.adopt(this.#record(id), pid));
  }

  /** A command has ended: its addresses are free, and what it said stays until the container is removed. */
  async exited(nameOrId: string, code: number): Promise<void> {
    const { id } = this.#records.find(nameOrId);
    await this.#turns.run(id, async () => {
      const record = this.#records.get(id);
      if (record === undefined || record.state === 'exited') return;
      await this.#records.note({ ...record, state: 'exited', exitCode: code, pid: null });
      if (record.remove) return this.#tryTakeBack(id);
      await this.#detachAll(id);
      this.#commands.tell(id, code);
    });
  }

  list(all: boolean): Container[] {
    const records = this.#records.all().filter(({ state }) => all || state !== 'exited');
    return records.sort((a, b) => b.created.localeCompare(a.created)).map((record) => this.describe(record));
  }

  /** The endpoint by which a container answers whoever is outside: that of its default route. */
  route(endpoint: Endpoint): Endpoint {
    const record = this.#records.get(endpoint.container);
    const main = record === undefined ? undefined : this.#main(record);
    return this.#control.own().find(({ id }) => id === main?.endpoint) ?? endpoint;
  }

  #endpoints(id: string): Endpoint[] {
    const own = new Map(this.#control.own().map((endpoint) => [endpoint.id, endpoint]));
    const { attachments } = this.#record(id);
    return attachments.flatMap(({ endpoint }) => own.get(endpoint) ?? []);
  }

  describe(record: ContainerRecord): Container {
    const own = new Map(this.#control.own().map((endpoint) => [endpoint.id, endpoint]));
    const endpoints = record.attachments.flatMap(({ endpoint }) => own.get(endpoint) ?? []);
    const { id, name, hostname, namespace, command, created, state, exitCode, pid, labels, detached } =
      record;
    return {
      id,
      name,
      hostname,
      namespace,
      command,
      created,
      state,
      exitCode,
      pid,
      detached,
      endpoints,
      ports: endpoints.flatMap(({ ports }) => ports),
      labels,
    };
  }

  /** After a start: goes on with what an earlier daemon was at, and takes back what it had half-made. */
  async restore(): Promise<void> {
    for (const { id, state, pid, remove, attachments } of this.#records.all()) {
      if ((state === 'created' && pid === null) || (state === 'exited' && remove))
        await this.#tryTakeBack(id);
      else if (state === 'exited' && attachments.length > 0) await this.#detachAll(id);
    }
  }

  /** Releases the endpoints of this node that nobody has. */
  async release(): Promise<void> {
    for (const endpoint of this.#control.own()) {
      const owned = endpoint.labels[OWNER] !== undefined || this.#turns.has(endpoint.container);
      if (owned || this.place(endpoint) !== null) continue;
      this.#log.warn(
        { endpoint: endpoint.id, name: endpoint.name },
        'an endpoint that nobody has is released',
      );
      await this.#detach(endpoint.id);
    }
  }

  #record(id: string): ContainerRecord {
    const record = this.#records.get(id);
    if (record === undefined) throw new ControlError('NOT_FOUND', `container ${id} was removed meanwhile`);
    return record;
  }

  /** What the store cannot be told now it is told when it is back. */
  async #detach(endpoint: string): Promise<void> {
    await this.#control.detach(endpoint).catch((error: Error) => this.#log.warn(error.message));
  }

  async #detachAll(id: string): Promise<void> {
    const { attachments = [] } = this.#records.get(id) ?? {};
    for (const { endpoint } of attachments) await this.#detach(endpoint);
    const record = this.#records.get(id);
    if (record !== undefined) await this.#records.note({ ...record, attachments: [] });
    await this.#plumbing.run().catch((error: Error) => this.#log.error(error.message));
    for (const { device } of attachments) await removeDevice(record?.namespace ?? '', device).catch(() => {});
  }

  /** Leaves nothing of a container. What is left where this rejects can be removed again. */
  async #takeBack(id: string): Promise<void> {
    const record = this.#records.get(id);
    if (record === undefined) return;
    await this.#detachAll(id);
    const made = record.namespace === namespaceName(id);
    if (record.foreign !== null) await detachNamespace(record.namespace).catch(() => {});
    else if (made) await removeNamespace(record.namespace);
    await this.#commands.forget(record);
    await this.#records.remove(id);
    this.#commands.tell(id, record.exitCode ?? 137);
  }

  async #tryTakeBack(id: string): Promise<void> {
    const name = this.#records.get(id)?.name;
    await this.#takeBack(id).catch((error: Error) => this.#log.error({ container: name }, error.message));
  }
}

/** A namespace that somebody else made has to be there. */
function checkThere(namespace: string): void {
  const there = namespace.includes('/') ? existsSync(namespace) : existing().includes(namespace);
  if (!there) throw new ControlError('INVALID', `there is no network namespace ${namespace}: see "ip netns"`);
}

/** Whether somebody else made the namespace of a container. */
function isForeign({ id, namespace, foreign }: ContainerRecord): boolean {
  return foreign !== null || namespace !== namespaceName(id);
}

function freeDevice(taken: ReadonlySet<string>): string {
  for (let i = 0; ; i++) if (!taken.has(`eth${i}`)) return `eth${i}`;
}
