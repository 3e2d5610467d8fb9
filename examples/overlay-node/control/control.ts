/**
 * Control, as the rest of the node sees it: networks, endpoints, peers and keys come out as they change, and what this
 * node attaches and wants goes in. A seam: `StoreControl` keeps them in a store that all hosts share; `StaticControl` is
 * told everything on the command line; a Docker Swarm or BGP EVPN can stand beside them.
 */
import type { KeyChannel } from 'packetweave';
import type {
  Endpoint,
  EndpointChange,
  EndpointRequest,
  Network,
  NetworkRequest,
  NodeState,
} from './model.ts';

/** A network that this node takes part in, as of now. A new object whenever something in it has changed. */
export interface NetworkView {
  readonly network: Network;
  /** Endpoints on living nodes, here and elsewhere, by id. */
  readonly endpoints: ReadonlyMap<string, Endpoint>;
  /** The other living nodes that take part in it: frames come from these and are flooded to these. */
  readonly peers: readonly NodeState[];
}

/** Whether changes are possible, and since when they are not. */
export interface ControlHealth {
  readonly state: 'connected' | 'away';
  /** Milliseconds since 1970. */
  readonly since: number;
  /** What the store answered last. */
  readonly error: string | null;
  /** Name of the store. */
  readonly store: string;
}

export interface Control {
  /** This node. */
  readonly node: NodeState;
  readonly health: ControlHealth;
  /** How the nodes tell each other their public keys; null for messages in band. */
  readonly keys: KeyChannel | null;
  /** The networks that this node takes part in, by id. The same map object until something changes. */
  readonly views: ReadonlyMap<string, NetworkView>;
  /** Calls back after `views` or `health` has changed, at most once a turn of the event loop; how to stop. */
  onChange(listener: () => void): () => void;

  networks(): Promise<readonly Network[]>;
  /** By name, id or the beginning of an id. Rejects with `NOT_FOUND`, or `CONFLICT` where several begin so. */
  network(nameOrId: string): Promise<Network>;
  createNetwork(request: NetworkRequest): Promise<Network>;
  /** The network as `createNetwork` would make it now; nothing is made or kept. */
  planNetwork(request: NetworkRequest): Promise<Network>;
  /** Rejects with `CONFLICT` where it still has endpoints. */
  removeNetwork(nameOrId: string): Promise<Network>;
  /** All endpoints of a network, also those of a network that this node takes no part in. */
  endpoints(nameOrId: string): Promise<readonly Endpoint[]>;

  /** Gives an endpoint of this node its addresses and tells the others. From then on this node takes part in the
   * network; it is in `views` when this resolves. */
  attach(request: EndpointRequest): Promise<Endpoint>;
  /** Changes an endpoint of this node and tells the others. Addresses stay. Rejects with everything as it was. */
  update(endpointId: string, change: EndpointChange): Promise<Endpoint>;
  /** Takes an endpoint of this node back. Its addresses are free, though not given again at once. */
  detach(endpointId: string): Promise<void>;
  /** Endpoints of this node, as the store has them: for a daemon that starts again. */
  own(): readonly Endpoint[];

  nodes(): Promise<readonly NodeState[]>;
  /** Removes a dead node, its endpoints and addresses. Rejects with `CONFLICT` where it lives, unless forced. */
  removeNode(nodeId: string, force?: boolean): Promise<void>;
  /** Tells the others that this node is gone, with all of its endpoints. */
  leave(): Promise<void>;
  close(): Promise<void>;
}
