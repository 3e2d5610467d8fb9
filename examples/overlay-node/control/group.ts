/**
 * A network that this node takes part in: its endpoints by node, and those that are to be seen. A change costs what it
 * changes, not what is there: the map of endpoints is altered in place, and the view around it is new.
 */
import type { NetworkView } from './control.ts';
import type { Endpoint, Network, NodeState } from './model.ts';

export class Group {
  readonly network: Network;
  readonly #self: string;
  readonly #nodes: ReadonlyMap<string, NodeState>;
  readonly #byNode = new Map<string, Map<string, Endpoint>>();
  /** On living nodes. */
  readonly #seen = new Map<string, Endpoint>();
  #peers: readonly NodeState[] | null = null;

  constructor(network: Network, self: string, nodes: ReadonlyMap<string, NodeState>) {
    this.network = network;
    this.#self = self;
    this.#nodes = nodes;
  }

  put(endpoint: Endpoint): void {
    let there = this.#byNode.get(endpoint.node);
    if (there === undefined) {
      this.#byNode.set(endpoint.node, (there = new Map()));
      this.#peers = null;
    }
    there.set(endpoint.id, endpoint);
    if (this.#lives(endpoint.node)) this.#seen.set(endpoint.id, endpoint);
  }

  remove({ id, node }: Endpoint): void {
    const there = this.#byNode.get(node);
    if (!there?.delete(id)) return;
    this.#seen.delete(id);
    if (there.size > 0) return;
    this.#byNode.delete(node);
    this.#peers = null;
  }

  /** Takes notice of a node that is another than before. Whether that matters here. */
  refresh(node: string): boolean {
    const there = this.#byNode.get(node);
    if (there === undefined) return false;
    const lives = this.#lives(node);
    for (const [id, endpoint] of there) {
      if (lives) this.#seen.set(id, endpoint);
      else this.#seen.delete(id);
    }
    this.#peers = null;
    return true;
  }

  /** Those of dead nodes, too. */
  *all(): Iterable<Endpoint> {
    for (const there of this.#byNode.values()) yield* there.values();
  }

  view(): NetworkView {
    this.#peers ??= [...this.#byNode.keys()]
      .filter((id) => id !== this.#self && this.#lives(id))
      .map((id) => this.#nodes.get(id)!);
    return { network: this.network, endpoints: this.#seen, peers: this.#peers };
  }

  #lives(node: string): boolean {
    return node === this.#self || this.#nodes.get(node)?.alive === true;
  }
}
