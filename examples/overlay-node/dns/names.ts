/** Who has which name, as a name server asks: a seam to the endpoints that control knows. */

/** An endpoint, as far as names go. */
export interface Named {
  /** First is the one that reverse look-ups answer: container name, aliases, short id, hostname. */
  readonly names: readonly string[];
  /** Name of its network. */
  readonly network: string;
  /** Without prefix length. */
  readonly addresses: readonly string[];
}

export interface Names {
  /** Another number after every change that can alter an answer: answers are kept encoded until then. */
  readonly version: number;
  /** The endpoints that a client at `from` (an address inside network `network`, an id) can reach and that have this
   * name, in any case of letters: those of every network that the client is on. `name` has no dot at its end; it can
   * be `name.network`. */
  lookup(network: string, from: string, name: string): readonly Named[];
  /** The endpoint with this address, for a client like that. */
  reverse(network: string, from: string, address: string): Named | null;
}
