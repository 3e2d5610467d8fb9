/** This node as a member of a cluster: how it became one, the store that it shares, and how it ceases to be one. */
import { randomBytes } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { createCluster, findCluster } from '../control/cluster.ts';
import type { Control } from '../control/control.ts';
import { ControlError } from '../control/errors.ts';
import { followKey } from '../control/follow-key.ts';
import { currentJoinKey, newJoinKey } from '../control/join-key.ts';
import type { Node } from '../control/model.ts';
import { enroll } from '../control/store/enroll.ts';
import { isStoreUrl, openEtcd, redact } from '../control/store/locate.ts';
import { copyStore, leased, MOVED, readMoved } from '../control/store/migrate.ts';
import { RemoteStore } from '../control/store/remote.ts';
import type { Store } from '../control/store/store.ts';
import { makeToken, parseToken } from '../control/store/token.ts';
import { StoreControl } from '../control/store-control.ts';
import { Carrier } from './carrier.ts';
import { type Logger, libraryLog } from './log.ts';
import { forgetMembership, type Membership, type StorePlace, writeMembership } from './membership.ts';
import { forgetViews, RememberedControl } from './remembered.ts';
import type { StateFolder } from './state.ts';

/** Milliseconds that the other nodes have to follow the cluster to another store. */
const FOLLOW = 15_000;
/** Milliseconds between looks at who has, and before another attempt to follow. */
const LOOK = 250;

/** Milliseconds that the gateway of a network stays when the last container there has gone: to make it again takes 30 ms,
 * for which the next container would wait. */
const LINGER = 10_000;

export interface MemberParts {
  readonly state: StateFolder;
  /** TCP port that the embedded store is served on. */
  readonly storePort: number;
  readonly log: Logger;
}

/** Who this node is, before it is in a cluster. */
export type Applicant = Omit<Node, 'id' | 'joined'>;

/** What a store is reached by; `close` closes all of it. */
interface Opened {
  readonly store: Store;
  readonly carrier: Carrier | null;
}

export class Member {
  readonly #parts: MemberParts;
  readonly #control: StoreControl;
  readonly #remembered: RememberedControl;
  readonly #carrier: Carrier | null;
  #record: Membership;
  #store: Store;
  #unfollow = (): void => {};
  #closed = false;

  /** Makes a cluster with this node as its first. `url`: of an etcd; null: this node carries the store. `advertise`: what
   * was asked for, to be remembered. */
  static async init(
    parts: MemberParts,
    applicant: Applicant,
    { url, advertise }: { readonly url: string | null; readonly advertise?: string | undefined },
  ): Promise<Member> {
    const master = url === null ? randomBytes(32).toString('base64') : null;
    const opened = await (url === null ? createEmbedded(parts, master!) : createEtcd(url));
    try {
      return await Member.#enter(parts, applicant, opened, {
        cluster: (await findCluster(opened.store)).id,
        secret: randomBytes(32).toString('base64'),
        store: url === null ? { kind: 'embedded' } : { kind: 'etcd', url },
        master,
        node: newNodeId(),
        ...(advertise !== undefined && { advertise }),
      });
    } catch (error) {
      await shut(opened);
      throw error;
    }
  }

  /** Joins a cluster. `where`: host and port of the node that carries the store, or the address of an etcd. */
  static async join(parts: MemberParts, applicant: Applicant, text: string, where: string): Promise<Member> {
    const token = parseToken(text);
    const node = newNodeId();
    let place: StorePlace;
    if (isStoreUrl(where)) place = { kind: 'etcd', url: where };
    else {
      const { host, port } = hostAndPort(where, parts.storePort);
      const key = await enroll({ host, port, token: text, nodeId: node });
      place = { kind: 'served', host, port, key: key.toString('base64') };
    }
    const opened = await open(parts, place, { node, master: null, cluster: token.cluster });
    try {
      await findCluster(opened.store, token.cluster);
      const current = await currentJoinKey(opened.store);
      if (current.id !== token.id || !current.key.equals(token.key)) throw oldToken();
      return await Member.#enter(parts, applicant, opened, {
        cluster: token.cluster,
        secret: token.secret,
        store: place,
        master: null,
        node,
      });
    } catch (error) {
      await shut(opened);
      throw error;
    }
  }

  static async #enter(
    parts: MemberParts,
    applicant: Applicant,
    opened: Opened,
    about: Omit<Membership, 'joined'>,
  ): Promise<Member> {
    const record = { ...about, joined: new Date().toISOString() };
    const control = await StoreControl.open({
      store: opened.store,
      identity: { ...applicant, id: record.node, joined: record.joined },
      joining: true,
      cluster: record.cluster,
      timing: { linger: LINGER },
      log: libraryLog(parts.log),
    });
    await writeMembership(parts.state, record);
    return Member.#made(parts, record, opened, control);
  }

  /** Goes on where this node was before. The store may be away. Rejects with `NOT_JOINED` where it was removed. */
  static async reopen(parts: MemberParts, applicant: Applicant, record: Membership): Promise<Member> {
    const opened = await open(parts, record.store, record);
    try {
      const control = await StoreControl.open({
        store: opened.store,
        identity: { ...applicant, id: record.node, joined: record.joined },
        cluster: record.cluster,
        timing: { linger: LINGER },
        log: libraryLog(parts.log),
      });
      return await Member.#made(parts, record, opened, control);
    } catch (error) {
      await shut(opened);
      throw error;
    }
  }

  static async #made(
    parts: MemberParts,
    record: Membership,
    opened: Opened,
    control: StoreControl,
  ): Promise<Member> {
    return new Member(parts, record, opened, control, await RememberedControl.open(control, parts.state));
  }

  private constructor(
    parts: MemberParts,
    record: Membership,
    { store, carrier }: Opened,
    control: StoreControl,
    remembered: RememberedControl,
  ) {
    this.#parts = parts;
    this.#record = record;
    this.#store = store;
    this.#carrier = carrier;
    this.#control = control;
    this.#remembered = remembered;
    if (record.store.kind === 'etcd') return;
    this.#unfollow = followKey(store, MOVED, (value) => {
      if (value !== null) void this.#follow(readMoved(value).to);
    });
  }

  get control(): Control {
    return this.#remembered;
  }

  get secret(): string {
    return this.#record.secret;
  }

  get carriesStore(): boolean {
    return this.#record.store.kind === 'embedded';
  }

  /** What other hosts join with, and the line to type there. */
  async token(): Promise<{ readonly token: string; readonly line: string }> {
    const { cluster, secret, store } = this.#record;
    const { id, key } = await currentJoinKey(this.#store);
    const token = makeToken({ cluster, id, key, secret });
    return { token, line: `packetweave join ${token} ${this.#where(store)}` };
  }

  async rotateToken(): Promise<{ readonly token: string; readonly line: string }> {
    await newJoinKey(this.#store);
    return this.token();
  }

  /** Moves the cluster from this node's store to an etcd. Resolves when every living node has moved. */
  async migrate(url: string): Promise<void> {
    const carrier = this.#carrier;
    if (!this.carriesStore || carrier === null) throw this.#cannotMove();
    const target = openEtcd(url);
    this.#unfollow();
    const living = (await carrier.store.list('alive/')).entries.map(({ key }) => key);
    try {
      await carrier.freeze();
      await copyStore(carrier.store, target, leased);
      await carrier.moved(url);
    } catch (error) {
      carrier.thaw();
      await target.close();
      throw error;
    }
    // From here on there is no way back.
    try {
      await this.#use(target, url);
    } catch (error) {
      await target.close();
      void this.#follow(url);
      throw error;
    }
    await this.#awaitNodes(living);
  }

  /** Leaves the cluster: nothing of this node is left in the store, nor of the cluster here. */
  async leave(): Promise<void> {
    this.#unfollow();
    await this.#remembered.leave();
    await this.#end();
  }

  /** Forgets the cluster without a word to it. */
  async forget(): Promise<void> {
    this.#unfollow();
    await this.#remembered.close();
    await this.#end();
  }

  /** Ends for now. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#unfollow();
    await this.#remembered.close();
    await shut({ store: this.#store, carrier: this.#carrier });
  }

  async #end(): Promise<void> {
    this.#closed = true;
    await shut({ store: this.#store, carrier: this.#carrier });
    await forgetMembership(this.#parts.state);
    await forgetViews(this.#parts.state);
    await this.#parts.state.clear('store');
  }

  /** Goes on with the store that the cluster has moved to, as soon as that can be reached. */
  async #follow(url: string): Promise<void> {
    this.#unfollow();
    while (!this.#closed && this.#record.store.kind !== 'etcd') {
      const target = openEtcd(url);
      try {
        await this.#use(target, url);
      } catch (error) {
        await target.close();
        this.#parts.log.warn(`the cluster has moved to ${redact(url)}: ${(error as Error).message}`);
        await pause(LOOK * 4, undefined, { ref: false });
      }
    }
  }

  async #use(target: Store, url: string): Promise<void> {
    const { state } = this.#parts;
    const former = this.#store;
    await this.#control.use(target);
    this.#unfollow();
    this.#store = target;
    this.#record = { ...this.#record, store: { kind: 'etcd', url } };
    await writeMembership(state, this.#record);
    // What this node carried goes on telling others where the cluster is.
    if (this.#carrier === null) await former.close();
  }

  async #awaitNodes(living: readonly string[]): Promise<void> {
    const end = Date.now() + FOLLOW;
    for (;;) {
      const { entries } = await this.#store.list('alive/');
      const there = new Set(entries.map(({ key }) => key));
      const missing = living.filter((key) => !there.has(key)).map((key) => key.slice('alive/'.length));
      if (missing.length === 0) return;
      if (Date.now() > end) {
        throw new ControlError(
          'AWAY',
          `the cluster has moved, and these nodes have not followed in ${FOLLOW / 1000} s: ` +
            `${missing.join(', ')}. They follow when they can reach both this node and the new store`,
        );
      }
      await pause(LOOK);
    }
  }

  #cannotMove(): ControlError {
    const { store } = this.#record;
    return store.kind === 'served'
      ? new ControlError('INVALID', `say this on ${store.host}, the host that carries the store`)
      : new ControlError('CONFLICT', 'the cluster is in an etcd already: its own tools move it');
  }

  #where(store: StorePlace): string {
    if (store.kind === 'etcd') return store.url;
    const { address } = this.#control.node;
    const [host, port] =
      store.kind === 'served' ? [store.host, store.port] : [address, this.#parts.storePort];
    const shown = host.includes(':') ? `[${host}]` : host;
    return port === 2377 ? shown : `${shown}:${port}`;
  }
}

function newNodeId(): string {
  return randomBytes(6).toString('hex');
}

function oldToken(): ControlError {
  return new ControlError(
    'FORBIDDEN',
    'the token is not the one that lets hosts in now: ask for it with "packetweave token" on a host of the overlay',
  );
}

/** `HOST`, `HOST:PORT`, `[ADDRESS]:PORT` or an IPv6 address alone. */
function hostAndPort(text: string, usual: number): { readonly host: string; readonly port: number } {
  const [, six, name, port] = /^(?:\[([^\]]+)\]|([^:]+))(?::(\d{1,5}))?$/.exec(text) ?? [];
  const host = six ?? name ?? (/^[0-9a-f:.]+$/i.test(text) ? text : undefined);
  if (host === undefined || host === '' || Number(port ?? usual) > 65535) {
    throw new ControlError('INVALID', `"${text}" is no HOST[:PORT] and no etcd address`);
  }
  return { host, port: Number(port ?? usual) };
}

async function open(
  { state, storePort, log }: MemberParts,
  place: StorePlace,
  { node, master, cluster }: Pick<Membership, 'node' | 'master' | 'cluster'>,
): Promise<Opened> {
  let carrier: Carrier | null = null;
  if (master !== null && (place.kind === 'embedded' || (await state.has('store')))) {
    const options = { folder: await state.folder('store'), port: storePort, log };
    carrier = await Carrier.open({ ...options, master: Buffer.from(master, 'base64') });
  }
  if (place.kind === 'embedded') return { store: carrier!.store, carrier };
  if (place.kind === 'etcd') {
    await carrier?.freeze();
    return { store: openEtcd(place.url), carrier };
  }
  const { host, port, key } = place;
  const identity = { node, key: Buffer.from(key, 'base64') };
  return { store: new RemoteStore({ host, port, identity, cluster }), carrier };
}

async function createEmbedded({ state, storePort: port, log }: MemberParts, key: string): Promise<Opened> {
  // Of an init that was interrupted.
  await state.clear('store');
  const master = Buffer.from(key, 'base64');
  const carrier = await Carrier.create({ folder: await state.folder('store'), port, master, log });
  return { store: carrier.store, carrier };
}

async function createEtcd(url: string): Promise<Opened> {
  const store = openEtcd(url);
  try {
    await createCluster(store);
    await newJoinKey(store);
    return { store, carrier: null };
  } catch (error) {
    await store.close();
    throw error;
  }
}

async function shut({ store, carrier }: Opened): Promise<void> {
  await store.close();
  await carrier?.close();
}
