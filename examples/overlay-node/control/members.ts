/**
 * The nodes of the cluster, and which of them are heard of. A node is dead when its lease is gone, but where the store
 * itself was away all leases may have run out for that alone: for one time to live after its return only lives are
 * believed, and deaths wait.
 */
import { Feed, type FeedHost } from './feed.ts';
import type { Node, NodeState } from './model.ts';
import { readAlive, readNode } from './records.ts';

export interface MembersOptions {
  readonly host: FeedHost;
  /** This node, which is alive for itself. */
  readonly self: Node;
  /** In seconds. */
  readonly ttl: number;
  /** A node came, went, or is another than before. */
  readonly onChange: (id: string) => void;
}

export class Members {
  readonly nodes: Feed<Node>;
  readonly alive: Feed<true>;
  readonly #options: MembersOptions;
  readonly #states = new Map<string, NodeState>();
  readonly #living = new Set<string>();
  /** Gone from the store, though not yet believed to be dead. */
  readonly #doubtful = new Set<string>();
  /** Deaths wait. */
  #grace = true;
  #timer: NodeJS.Timeout | null = null;

  constructor(options: MembersOptions) {
    this.#options = options;
    const { host, self } = options;
    const onNode = (id: string) => this.#update(id);
    this.nodes = new Feed({ prefix: 'nodes/', read: readNode, onPut: onNode, onRemove: onNode }, host);
    this.alive = new Feed(
      {
        prefix: 'alive/',
        read: readAlive,
        onPut: (id) => {
          this.#doubtful.delete(id);
          this.#living.add(id);
          this.#update(id);
        },
        onRemove: (id) => {
          this.#doubtful.add(id);
          if (!this.#grace) this.#settle();
        },
      },
      host,
    );
    this.#states.set(self.id, { ...self, alive: true });
  }

  /** By id. Alters as nodes come and go. */
  get states(): ReadonlyMap<string, NodeState> {
    return this.#states;
  }

  get self(): NodeState {
    return this.#states.get(this.#options.self.id) ?? { ...this.#options.self, alive: true };
  }

  /** The store is there, and all was listed. */
  up(): void {
    this.close();
    this.#timer = setTimeout(() => {
      this.#grace = false;
      this.#settle();
    }, this.#options.ttl * 1000).unref();
  }

  /** The store is away. */
  down(): void {
    this.close();
    this.#grace = true;
  }

  close(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }

  /** Believes deaths. */
  #settle(): void {
    for (const id of this.#doubtful) {
      this.#living.delete(id);
      this.#update(id);
    }
    this.#doubtful.clear();
  }

  #update(id: string): void {
    const node = this.nodes.get(id);
    const mine = id === this.#options.self.id;
    if (node !== undefined) this.#states.set(id, { ...node, alive: mine || this.#living.has(id) });
    else if (!mine && !this.#states.delete(id)) return;
    this.#options.onChange(id);
  }
}
