/**
 * What one connection watches. Events are sent one call at a time, each when the peer has taken those before it; until
 * then they wait here as the store has them. What waits is bounded: the watch that goes over it is ended as `away`, and
 * who watches lists again.
 */
import { ControlError } from '../errors.ts';
import type { Reply } from './protocol.ts';
import type { Event, Store, Watch } from './store.ts';

export interface SubscriptionLimits {
  /** Watches of one connection. */
  readonly watches: number;
  /** Characters of events that wait for one connection. */
  readonly backlog: number;
}

interface Waiting {
  readonly watch: number;
  readonly weight: number;
  readonly reply: Reply;
}

export class Subscriptions {
  readonly #store: Store;
  readonly #limits: SubscriptionLimits;
  readonly #send: (reply: Reply) => Promise<void>;
  readonly #watches = new Map<number, Watch>();
  #waiting: Waiting[] = [];
  #weight = 0;
  #sending = false;

  /** `send` resolves when there is room for more. */
  constructor(store: Store, limits: SubscriptionLimits, send: (reply: Reply) => Promise<void>) {
    this.#store = store;
    this.#limits = limits;
    this.#send = send;
  }

  /** Watches under a number that is new. Throws a ControlError: `FULL`, `INVALID`. */
  add(watch: number, prefix: string, revision: number): void {
    const { watches } = this.#limits;
    if (this.#watches.size >= watches) throw new ControlError('FULL', `a node has up to ${watches} watches`);
    if (this.#watches.has(watch)) throw new ControlError('INVALID', `the watch ${watch} is there already`);
    const watcher = {
      onEvents: (events: readonly Event[], revision: number) => {
        this.#push({ watch, weight: weight(events), reply: { watch, revision, events } });
      },
      onEnd: (end: 'compacted' | 'away') => {
        this.#watches.delete(watch);
        this.#push({ watch, weight: 0, reply: { watch, end } });
      },
    };
    this.#watches.set(watch, this.#store.watch(prefix, revision, watcher));
  }

  /** Nothing more is told of it. */
  remove(watch: number): void {
    this.#watches.get(watch)?.close();
    this.#watches.delete(watch);
    this.#waiting = this.#waiting.filter((waiting) => waiting.watch !== watch);
    this.#weight = this.#waiting.reduce((sum, { weight }) => sum + weight, 0);
  }

  close(): void {
    for (const watch of this.#watches.values()) watch.close();
    this.#watches.clear();
    this.#waiting = [];
  }

  #push(waiting: Waiting): void {
    this.#weight += waiting.weight;
    this.#waiting.push(waiting);
    if (this.#weight > this.#limits.backlog) {
      const { watch } = waiting;
      this.remove(watch);
      this.#waiting.push({ watch, weight: 0, reply: { watch, end: 'away' } });
    }
    void this.#flush();
  }

  async #flush(): Promise<void> {
    if (this.#sending) return;
    this.#sending = true;
    for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift()) {
      this.#weight -= next.weight;
      await this.#send(next.reply);
    }
    this.#sending = false;
  }
}

function weight(events: readonly Event[]): number {
  let sum = 0;
  for (const event of events) {
    sum +=
      100 + (event.type === 'put' ? event.entry.key.length + event.entry.value.length : event.key.length);
  }
  return sum;
}
