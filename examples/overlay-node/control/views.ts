/** The views of the networks that this node takes part in, and who is told when they change. */
import type { NetworkView } from './control.ts';
import { Feed } from './feed.ts';
import { Group } from './group.ts';
import type { Link } from './link.ts';
import { Listeners } from './listeners.ts';
import type { Endpoint, Network, NodeState } from './model.ts';
import { readEndpoint } from './records.ts';

export class Views {
  readonly #link: Link;
  readonly #self: string;
  readonly #nodes: ReadonlyMap<string, NodeState>;
  readonly #groups = new Map<string, { readonly group: Group; readonly feed: Feed<Endpoint> }>();
  readonly #listeners = new Listeners();
  readonly #dirty = new Set<string>();
  /** Networks that are left when the timer has run out. */
  readonly #leaving = new Map<string, NodeJS.Timeout>();
  #views: ReadonlyMap<string, NetworkView> = new Map();

  constructor(link: Link, self: string, nodes: ReadonlyMap<string, NodeState>) {
    this.#link = link;
    this.#self = self;
    this.#nodes = nodes;
  }

  get current(): ReadonlyMap<string, NetworkView> {
    if (this.#dirty.size > 0) {
      const views = new Map(this.#views);
      for (const id of this.#dirty) {
        const hosted = this.#groups.get(id);
        if (hosted === undefined) views.delete(id);
        else views.set(id, hosted.group.view());
      }
      this.#dirty.clear();
      this.#views = views;
    }
    return this.#views;
  }

  group(network: string): Group | null {
    return this.#groups.get(network)?.group ?? null;
  }

  /** Takes part in a network; resolves when its view is as the store has it. */
  async host(network: Network): Promise<void> {
    this.#stay(network.id);
    if (this.#groups.has(network.id)) return;
    const group = new Group(network, this.#self, this.#nodes);
    const { id } = network;
    // Endpoints of this node are put and removed by hand: what the store says late or not at all matters nothing.
    const theirs = (endpoint: Endpoint | undefined) => endpoint !== undefined && endpoint.node !== this.#self;
    const feed = new Feed<Endpoint>(
      {
        prefix: `endpoints/${id}/`,
        read: readEndpoint(id),
        onPut: (_, endpoint, before) => {
          if (theirs(before)) group.remove(before!);
          if (theirs(endpoint)) group.put(endpoint);
          this.touch(id);
        },
        onRemove: (_, before) => {
          if (!theirs(before)) return;
          group.remove(before);
          this.touch(id);
        },
      },
      this.#link,
    );
    this.#groups.set(id, { group, feed });
    this.touch(id);
    await this.#link.follow(feed);
  }

  /** Takes no part any more, after so many milliseconds in which the network was not hosted again. */
  unhostAfter(network: string, ms: number): void {
    this.#stay(network);
    if (ms === 0) this.#unhost(network);
    else this.#leaving.set(network, setTimeout(() => this.#unhost(network), ms).unref());
  }

  /** The network was removed: nothing of it will be wanted again. */
  removed(network: string): void {
    if (this.#leaving.has(network)) this.#unhost(network);
  }

  #stay(network: string): void {
    clearTimeout(this.#leaving.get(network));
    this.#leaving.delete(network);
  }

  #unhost(network: string): void {
    this.#stay(network);
    const hosted = this.#groups.get(network);
    if (hosted === undefined) return;
    this.#groups.delete(network);
    this.#link.unfollow(hosted.feed);
    this.touch(network);
  }

  /** A node is another than before. */
  refresh(node: string): void {
    for (const [id, { group }] of this.#groups) if (group.refresh(node)) this.touch(id);
  }

  /** A network's view has changed; null: something else that listeners hear of. */
  touch(network: string | null): void {
    if (network !== null) this.#dirty.add(network);
    this.#listeners.touch();
  }

  onChange(listener: () => void): () => void {
    return this.#listeners.add(listener);
  }

  close(): void {
    for (const network of [...this.#leaving.keys()]) this.#stay(network);
    this.#listeners.close();
  }
}
