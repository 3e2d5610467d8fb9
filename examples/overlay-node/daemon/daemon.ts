/** The daemon of a host: in a cluster or not yet, and what can be asked of it. Everything else is its parts' work. */
import type {
  Check,
  ConnectRequest,
  Container,
  Info,
  InitRequest,
  JoinRequest,
  MigrateRequest,
  NetworkDetail,
  PeerRow,
  RunRequest,
  Stats,
  TokenAnswer,
} from '../api/api.ts';
import type { Daemon } from '../api/server.ts';
import type { Control } from '../control/control.ts';
import { ControlError } from '../control/errors.ts';
import { type Network, type NetworkRequest, type NodeState, OWNER } from '../control/model.ts';
import { Queue } from '../control/queue.ts';
import { StaticControl } from '../control/static-control.ts';
import { nodeIdOf } from '../control/static-place.ts';
import { findHost } from './host.ts';
import { removeLeftovers } from './leftovers.ts';
import type { Logger } from './log.ts';
import { type Applicant, Member, type MemberParts } from './member.ts';
import { forgetMembership, readMembership } from './membership.ts';
import { Observer } from './observer.ts';
import { type DaemonOptions, readSecret } from './options.ts';
import { forgetViews } from './remembered.ts';
import { Running } from './running.ts';
import { StateFolder } from './state.ts';
import { VERSION } from './version.ts';

/** Codes of what a store answers to who is in its cluster no more. */
const OUT = ['NOT_JOINED', 'CONFLICT', 'FORBIDDEN'];

export class NodeDaemon implements Daemon {
  readonly #options: DaemonOptions;
  readonly #state: StateFolder;
  readonly #log: Logger;
  readonly #began = performance.now();
  readonly #observer: Observer;
  #member: Member | null = null;
  #running: Running | null = null;
  /** Why this node, though it was in a cluster, is in none. */
  #trouble: ControlError | null = null;
  /** Init, join and leave, one after another. */
  readonly #queue = new Queue();
  /** Called when nothing can be carried any more. */
  onFailure: (error: Error) => void = () => {};
  #tellRunning: (running: Running | null) => void = () => {};

  /** Opens the state folder and goes on where an earlier daemon ended. */
  static async open(options: DaemonOptions, log: Logger): Promise<NodeDaemon> {
    const state = await StateFolder.open(options.state);
    await state.lock().catch((error: Error) => {
      if (error instanceof ControlError) throw error;
      // As where the disk is full: what was begun earlier goes on all the same.
      log.warn(`the state folder ${state.path} cannot be locked: ${error.message}`);
    });
    const daemon = new NodeDaemon(options, state, log);
    try {
      await daemon.#reopen();
    } catch (error) {
      await daemon.close();
      throw error;
    }
    return daemon;
  }

  private constructor(options: DaemonOptions, state: StateFolder, log: Logger) {
    this.#options = options;
    this.#state = state;
    this.#log = log;
    this.#observer = new Observer({ running: () => this.#running, state: state.path, log });
  }

  async #reopen(): Promise<void> {
    const record = await readMembership(this.#state);
    if (this.#options.peers.length > 0) {
      if (record === null) return this.#runStatic();
      throw new ControlError(
        'CONFLICT',
        'this host is in an overlay with a store: "packetweave leave" it, or start without --peer',
      );
    }
    if (record === null) return;
    try {
      const applicant = this.#applicant(this.#options.advertise ?? record.advertise ?? null);
      this.#member = await Member.reopen(this.#memberParts(), applicant, record);
    } catch (error) {
      if (!(error instanceof ControlError) || !OUT.includes(error.code)) throw error;
      this.#trouble = new ControlError(
        error.code,
        `${error.message}; "packetweave leave --force" forgets it`,
      );
      this.#log.error(this.#trouble.message);
      return;
    }
    await this.#run(this.#member.control, this.#member.secret, false);
  }

  async #runStatic(): Promise<void> {
    const { peers, secretFile } = this.#options;
    const state = this.#state;
    const applicant = this.#applicant(null);
    const control = await StaticControl.open({
      identity: { ...applicant, id: nodeIdOf(applicant.address), joined: new Date().toISOString() },
      peers,
      state: { read: () => state.read('static'), write: (saved) => state.write('static', saved) },
    });
    const secret = secretFile === null ? null : readSecret(secretFile);
    await this.#run(control, secret, true);
  }

  async #run(control: Control, secret: string | null, learning: boolean): Promise<void> {
    this.#running = await Running.start({
      control,
      secret,
      learning,
      options: this.#options,
      state: this.#state,
      log: this.#log,
      onError: (error) => this.onFailure(error),
    });
    this.#tellRunning(this.#running);
  }

  async init({ store, advertise }: InitRequest): Promise<TokenAnswer> {
    const applicant = () => this.#applicant(advertise ?? null);
    await this.#enter(() => Member.init(this.#memberParts(), applicant(), { url: store ?? null, advertise }));
    return this.#inCluster().token();
  }

  async join({ token, store }: JoinRequest): Promise<Info> {
    await this.#enter(() => Member.join(this.#memberParts(), this.#applicant(null), token, store));
    return this.info();
  }

  /** Becomes a member, or stays none. */
  #enter(become: () => Promise<Member>): Promise<void> {
    return this.#queue.run(async () => {
      if (this.#trouble !== null) throw this.#trouble;
      if (this.#running !== null) {
        throw new ControlError(
          'CONFLICT',
          this.#member === null
            ? 'this host has a static overlay: start the daemon without --peer'
            : 'this host is in an overlay already: "packetweave leave" it first',
        );
      }
      const member = await become();
      try {
        await this.#run(member.control, member.secret, false);
        this.#member = member;
      } catch (error) {
        await member.leave();
        throw error;
      }
    });
  }

  leave(force: boolean): Promise<void> {
    return this.#queue.run(async () => {
      if (this.#trouble !== null && force) {
        await removeLeftovers(this.#state, this.#log);
        this.#trouble = null;
        await forgetMembership(this.#state);
        await forgetViews(this.#state);
        await this.#state.clear('store');
        return;
      }
      const member = this.#inCluster();
      const running = this.#here();
      if (!force) await this.#mayLeave(member, running);
      await running.containers.close();
      this.#running = null;
      this.#member = null;
      this.#tellRunning(null);
      await running.clear();
      // Where the store is away, who stays removes this node.
      if (force && member.control.health.state === 'away') await member.forget();
      else await member.leave();
    });
  }

  async #mayLeave(member: Member, running: Running): Promise<void> {
    const others = running.control.own().filter(({ labels }) => labels[OWNER] !== undefined);
    const busy = [...running.containers.list(false), ...others].map(({ name }) => name);
    if (busy.length > 0) {
      throw new ControlError(
        'CONFLICT',
        `containers still run here (${busy.join(', ')}): end them, or leave --force`,
      );
    }
    const nodes = (await member.control.nodes()).length - 1;
    if (member.carriesStore && nodes > 0) {
      throw new ControlError(
        'CONFLICT',
        `this host carries the store of ${nodes} more: move it with "packetweave store migrate", ` +
          'or leave --force, and nothing can be changed any more',
      );
    }
  }

  async info(): Promise<Info> {
    const control = this.#running?.control ?? null;
    if (this.#trouble !== null) throw this.#trouble;
    return {
      version: VERSION,
      node: control?.node ?? null,
      control: control?.health ?? null,
      carriesStore: this.#member?.carriesStore ?? false,
      networks: control?.views.size ?? 0,
      endpoints: control?.own().length ?? 0,
      uptime: Math.floor((performance.now() - this.#began) / 1000),
    };
  }

  async token(): Promise<TokenAnswer> {
    return this.#inCluster().token();
  }
  async rotateToken(): Promise<TokenAnswer> {
    return this.#inCluster().rotateToken();
  }
  async migrate({ to }: MigrateRequest): Promise<void> {
    await this.#queue.run(() => this.#inCluster().migrate(to));
  }

  async nodes(): Promise<readonly NodeState[]> {
    return this.#here().control.nodes();
  }
  async removeNode(node: string, force: boolean): Promise<void> {
    const { control } = this.#here();
    if (node === control.node.id) {
      throw new ControlError('INVALID', 'this is the host itself: say "packetweave leave"');
    }
    await control.removeNode(node, force);
  }

  async networks(): Promise<readonly Network[]> {
    return this.#here().control.networks();
  }
  async createNetwork(request: NetworkRequest): Promise<Network> {
    return this.#here().control.createNetwork(request);
  }
  async network(name: string): Promise<NetworkDetail> {
    const { control } = this.#here();
    const network = await control.network(name);
    return { network, endpoints: await control.endpoints(network.id) };
  }
  async removeNetwork(name: string): Promise<Network> {
    return this.#here().control.removeNetwork(name);
  }

  async connect(network: string, request: ConnectRequest): Promise<Container> {
    return this.#here().containers.connect(network, request);
  }
  async disconnect(network: string, container: string): Promise<Container> {
    return this.#here().containers.disconnect(network, container);
  }
  async run(request: RunRequest): Promise<Container> {
    return this.#here().containers.run(request);
  }
  async containers(all: boolean): Promise<readonly Container[]> {
    return this.#here().containers.list(all);
  }
  async container(name: string): Promise<Container> {
    const { containers, records } = this.#here();
    return containers.describe(records.find(name));
  }
  async removeContainer(name: string, force: boolean): Promise<void> {
    await this.#here().containers.remove(name, force);
  }
  async started(name: string, pid: number): Promise<void> {
    await this.#here().containers.started(name, pid);
  }
  async exited(name: string, code: number): Promise<void> {
    await this.#here().containers.exited(name, code);
  }
  async wait(name: string, signal: AbortSignal): Promise<number> {
    const { commands, records } = this.#here();
    return commands.wait(records.find(name), signal);
  }
  async logs(name: string, follow: boolean, signal: AbortSignal): Promise<AsyncIterable<Uint8Array>> {
    const { commands, records } = this.#here();
    return commands.logs(records.find(name), follow, signal);
  }

  async peers(): Promise<readonly PeerRow[]> {
    this.#here();
    return this.#observer.peers();
  }
  async stats(): Promise<Stats> {
    this.#here();
    return this.#observer.stats();
  }
  async doctor(): Promise<readonly Check[]> {
    const trouble = this.#trouble;
    const found = await this.#observer.doctor();
    if (trouble === null) return found;
    const advice = '"packetweave leave --force" forgets it; then join again';
    return [...found, { name: 'membership', ok: false, found: trouble.message, advice }];
  }
  async capture(query: Record<string, string>, signal: AbortSignal): Promise<AsyncIterable<Uint8Array>> {
    this.#here();
    return this.#observer.capture(query, signal);
  }
  async trace(query: Record<string, string>, signal: AbortSignal): Promise<AsyncIterable<string>> {
    this.#here();
    return this.#observer.trace(query, signal);
  }
  async metrics(): Promise<{ readonly type: string; readonly text: string }> {
    return this.#observer.metrics();
  }

  health(): { readonly ok: boolean; readonly [detail: string]: unknown } {
    const control = this.#running?.control;
    if (this.#trouble !== null) return { ok: false, error: this.#trouble.message };
    if (control === undefined) return { ok: true, joined: false };
    const { state, error } = control.health;
    // Traffic goes on without the store: the node is well, and says what it cannot do.
    return { ok: true, joined: true, store: state, ...(error !== null && { error }) };
  }

  /** Ends this process's part: what it made stays for the next one. */
  async close(): Promise<void> {
    await this.#queue.idle();
    await this.#running?.stop();
    if (this.#member !== null) await this.#member.close();
    else await this.#running?.control.close();
    await this.#state.unlock();
  }

  /** Tells one listener what runs here, now and whenever that changes; null: nothing. */
  followRunning(listener: (running: Running | null) => void): void {
    this.#tellRunning = listener;
    listener(this.#running);
  }

  /** What runs here. Throws `NOT_JOINED` where this host is in no overlay. */
  here(): Running {
    return this.#here();
  }

  #here(): Running {
    if (this.#trouble !== null) throw this.#trouble;
    if (this.#running !== null) return this.#running;
    throw new ControlError(
      'NOT_JOINED',
      'this host is in no overlay: "packetweave init" makes one, "packetweave join" enters one',
    );
  }

  #inCluster(): Member {
    this.#here();
    if (this.#member !== null) return this.#member;
    throw new ControlError('NOT_JOINED', 'this host has a static overlay (--peer), without a store or token');
  }

  #memberParts(): MemberParts {
    return { state: this.#state, storePort: this.#options.storePort, log: this.#log };
  }

  #applicant(advertise: string | null): Applicant {
    const { dataPort, espPort, mtu } = this.#options;
    const host = findHost(advertise ?? this.#options.advertise, mtu);
    return { name: host.name, address: host.address, mtu: host.mtu, dataPort, espPort, version: VERSION };
  }
}
