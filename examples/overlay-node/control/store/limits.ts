/** How much a server of the store takes from those who connect. */
import { MAX_FRAME } from './protocol.ts';
import type { SubscriptionLimits } from './subscriptions.ts';

export interface ServerLimits extends SubscriptionLimits {
  /** Connections at a time; further ones are closed at once. */
  readonly connections: number;
  /** Of these, how many may be unknown as yet; the oldest goes for a new one. */
  readonly unknown: number;
  /** How long a connection may be unknown, and one that joins may take, in ms. */
  readonly greeting: number;
  /** Of a message, in bytes: before a node is known, and after. */
  readonly greetingFrame: number;
  readonly frame: number;
  /** Questions of one connection that are worked on at a time; it is not read from while there are more. */
  readonly inFlight: number;
  /** Between two heartbeats, in ms. */
  readonly beat: number;
  /** How often it is asked whether a node is still of the cluster, in ms. */
  readonly review: number;
  /** How long a node that has its key may take to write its record, in ms. */
  readonly joining: number;
}

export const serverLimits: ServerLimits = {
  connections: 4096,
  unknown: 256,
  greeting: 5000,
  greetingFrame: 4096,
  frame: MAX_FRAME,
  inFlight: 64,
  beat: 1000,
  review: 10_000,
  joining: 600_000,
  watches: 10_000,
  // More than the store's history: who watches from far back is not cut for it.
  backlog: 32 << 20,
};
