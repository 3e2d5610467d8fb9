/** One connection of a client, as the server has it. */
import type { Socket } from 'node:net';
import type { Log } from 'packetweave';
import { ControlError } from '../errors.ts';
import type { LeasingStore } from './gate.ts';
import type { ServerLimits } from './limits.ts';
import {
  type Answered,
  type Asked,
  type Method,
  PROTOCOL,
  type Question,
  type Reply,
  readQuestion,
  wireError,
} from './protocol.ts';
import { type Identity, isNodeId } from './psk.ts';
import type { Entry, Operation } from './store.ts';
import { Subscriptions } from './subscriptions.ts';
import { Wire } from './wire.ts';

/** What a session asks of its server. */
export interface SessionHost {
  readonly store: LeasingStore;
  /** Id of the cluster. */
  readonly cluster: string;
  readonly limits: ServerLimits;
  readonly log: Log;
  /** Whether a node is part of the cluster, or about to become one. */
  admits(node: string): Promise<boolean>;
  /** The key of a node that joins. Rejects with `CONFLICT` where its id is another's. */
  enroll(node: string): Promise<Buffer>;
}

/** Characters of entries in one part of a list. */
const PART = 256 << 10;

type Answers = { readonly [M in Method]: (asked: Asked<M>, id: number) => Promise<Answered<M>> };

export class Session {
  readonly identity: Identity;
  readonly #host: SessionHost;
  readonly #wire: Wire;
  readonly #subscriptions: Subscriptions;
  readonly #answers: Answers;
  readonly #onGreeted: () => void;
  #greeted = false;
  /** Questions that came while as many as may be were under way. */
  #waiting: Question[] = [];
  #underWay = 0;
  #strikes = 0;
  #ended = false;

  constructor(
    socket: Socket,
    identity: Identity,
    host: SessionHost,
    on: { greeted(): void; closed(): void },
  ) {
    const { limits, store } = host;
    this.identity = identity;
    this.#host = host;
    this.#onGreeted = on.greeted;
    this.#wire = new Wire(socket, {
      limit: limits.greetingFrame,
      beat: limits.beat,
      onMessage: (message) => this.#receive(message),
      onClose: () => {
        this.#ended = true;
        this.#waiting = [];
        this.#subscriptions.close();
        on.closed();
      },
    });
    this.#subscriptions = new Subscriptions(store, limits, (reply) => this.#wire.send(reply));
    this.#answers = this.#methods();
  }

  /** Ends it, and tells why. */
  end(why: ControlError): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#waiting = [];
    this.#subscriptions.close();
    this.#wire.end({ bye: wireError(why) } satisfies Reply);
  }

  destroy(): void {
    this.#wire.destroy();
  }

  /** Ends it where its node was not of the cluster at this call and the one before: a node that was removed has the time
   * between to see that. */
  async review(): Promise<void> {
    const { identity } = this;
    if (identity.type !== 'node' || !this.#greeted) return;
    this.#strikes = (await this.#host.admits(identity.id)) ? 0 : this.#strikes + 1;
    if (this.#strikes >= 2) this.end(notAdmitted(identity.id));
  }

  #receive(message: object): void {
    if (this.#ended) return;
    this.#waiting.push(readQuestion(message));
    this.#next();
  }

  #next(): void {
    const { inFlight } = this.#host.limits;
    while (this.#waiting.length > 0 && this.#underWay < inFlight) {
      this.#underWay++;
      void this.#answer(this.#waiting.shift()!).then(() => {
        this.#underWay--;
        this.#next();
      });
    }
    this.#wire.reading = this.#waiting.length === 0;
  }

  /** Resolves when the peer has taken the answer, or most of what waits for it. */
  async #answer(question: Question): Promise<void> {
    const { id } = question;
    try {
      this.#permit(question.method);
      const answer = this.#answers[question.method] as (asked: unknown, id: number) => Promise<never>;
      await this.#wire.send({ id, result: await answer(question.asked, id) } satisfies Reply);
    } catch (error) {
      if (!(error instanceof ControlError)) this.#host.log.error(`the store: ${(error as Error).message}`);
      await this.#wire.send({ id, error: wireError(error) } satisfies Reply);
      if (!this.#greeted) this.end(error as ControlError);
    }
  }

  #permit(method: Method): void {
    if (this.#greeted === (method === 'hello')) {
      throw new ControlError('INVALID', 'a connection begins with one hello');
    }
    if (method === 'hello' || (this.identity.type === 'token') === (method === 'enroll')) return;
    const can = this.identity.type === 'token' ? 'join, and nothing else' : 'not join again';
    throw new ControlError('FORBIDDEN', `with what this connection has shown it can ${can}`);
  }

  #methods(): Answers {
    const { store } = this.#host;
    return {
      hello: (asked) => this.#hello(asked),
      enroll: ({ node }) => this.#enroll(node),
      get: ({ key }) => store.get(key),
      list: ({ prefix }, id) => this.#list(prefix, id),
      delete: ({ key }) => store.delete(key),
      compareAndSet: async ({ conditions, operations }) => {
        const real = operations.map((operation): Operation => {
          if (operation.type === 'delete' || operation.lease === undefined) return operation as Operation;
          return { ...operation, lease: store.lease(operation.lease.id, operation.lease.ttl) };
        });
        const { done, revision } = await store.compareAndSet(conditions, real);
        return { done, revision };
      },
      watch: async ({ prefix, revision }, id) => {
        this.#subscriptions.add(id, prefix, revision);
        return null;
      },
      unwatch: async ({ watch }) => {
        this.#subscriptions.remove(watch);
        return null;
      },
      grant: async ({ ttl }) => {
        const lease = await store.grant(ttl);
        return { id: lease.id, ttl: lease.ttl };
      },
      keepAlive: async ({ lease: { id, ttl } }) => {
        await store.lease(id, ttl).keepAlive();
        return null;
      },
      revoke: async ({ lease: { id, ttl } }) => {
        await store.lease(id, ttl).revoke();
        return null;
      },
    };
  }

  async #hello({ version, cluster }: Asked<'hello'>): Promise<Answered<'hello'>> {
    const { identity } = this;
    if (version !== PROTOCOL) {
      const advice = 'use the same version of the program on all hosts';
      throw new ControlError('VERSION', `the store speaks protocol ${PROTOCOL}, not ${version}: ${advice}`);
    }
    if (cluster !== this.#host.cluster) {
      const advice = 'leave and join again';
      throw new ControlError('CONFLICT', `the store carries cluster ${this.#host.cluster}: ${advice}`);
    }
    if (identity.type === 'node') {
      if (!(await this.#host.admits(identity.id))) throw notAdmitted(identity.id);
      this.#wire.limit = this.#host.limits.frame;
      this.#onGreeted();
    }
    this.#greeted = true;
    return { version: PROTOCOL };
  }

  async #enroll(node: string): Promise<Answered<'enroll'>> {
    if (!isNodeId(node)) {
      throw new ControlError('INVALID', `a node's id has 12 hexadecimal digits, got ${JSON.stringify(node)}`);
    }
    return { key: (await this.#host.enroll(node)).toString('base64') };
  }

  async #list(prefix: string, id: number): Promise<Answered<'list'>> {
    const { entries, revision } = await this.#host.store.list(prefix);
    let part: Entry[] = [];
    let size = 0;
    for (const entry of entries) {
      if (size > PART) {
        await this.#wire.send({ id, part } satisfies Reply);
        part = [];
        size = 0;
      }
      part.push(entry);
      size += entry.key.length + entry.value.length + 100;
    }
    if (part.length > 0) await this.#wire.send({ id, part } satisfies Reply);
    return { revision };
  }
}

function notAdmitted(node: string): ControlError {
  return new ControlError('FORBIDDEN', `node ${node} was removed from the cluster: leave and join again`);
}
