/** What carries the frames of this node, as the daemon sees it: an overlay in a thread of its own, or one in this thread. */
import type {
  CaptureRequest,
  DropTraceOptions,
  EncryptedPeer,
  KeyChannel,
  OnBytes,
  OnDrops,
  PortCounts,
  RunningCapture,
  RunningTrace,
} from 'packetweave';
import type { PublishedPort } from '../control/model.ts';

/** A local port of a network. */
export interface LocalPort {
  /** Name of the device inside the namespace, such as `eth0`. */
  readonly device: string;
  /** Name of the network namespace (as in `ip netns`) or its path; null for the daemon's own: there the device is left
   * down, for somebody to move it elsewhere. The port goes with it. */
  readonly namespace: string | null;
  /** What tells it from all others: id of the endpoint, or `gateway`. */
  readonly id: string;
  readonly mac: string;
  /** Without prefix length. */
  readonly addresses: readonly string[];
  /** Whether it forwards what others send. */
  readonly router: boolean;
  readonly ports: readonly PublishedPort[];
}

export interface RemoteEndpoint {
  readonly mac: string;
  /** Address of the node that it is on. */
  readonly remote: string;
  /** Without prefix length. */
  readonly addresses: readonly string[];
}

export interface DataplaneNetwork {
  readonly vni: number;
  readonly mtu: number | null;
  readonly encrypted: boolean;
  readonly remotes: readonly { readonly address: string; readonly port: number }[];
  readonly endpoints: readonly RemoteEndpoint[];
  readonly ports: readonly LocalPort[];
  /** Nobody tells who is where: addresses are learned, and unknown ones flooded. */
  readonly learning: boolean;
}

export interface DataplaneLocal {
  readonly address: string;
  readonly dataPort: number;
  readonly mtu: number;
  /** Null where nothing can be encrypted: there is no secret. */
  readonly esp: {
    readonly secret: string;
    readonly port: number;
    readonly keys: KeyChannel | null;
    /** Milliseconds after which keys are replaced. Default: the library's. */
    readonly period?: number;
  } | null;
}

export interface Dataplane {
  /** Changes what is carried to this, touching only the difference. Rejects with everything as it was. */
  apply(networks: readonly DataplaneNetwork[]): Promise<void>;
  /** Largest IP packet inside a network. */
  mtu(vni: number): number;
  counters(): Record<string, Record<string, number>>;
  drops(): Record<string, number>;
  /** What every port has carried; local ones are called by their `id`. */
  ports(): Promise<PortCounts[]>;
  encryptedPeers(): Promise<EncryptedPeer[]>;
  /** Hands out what comes by somewhere as pcapng; local ports are known by their `id`. Rejects with a RangeError where
   * there is no such network or port. */
  capture(request: CaptureRequest, onBytes: OnBytes): Promise<RunningCapture>;
  /** Tells what is dropped, in words. */
  trace(onDrops: OnDrops, options?: DropTraceOptions): Promise<RunningTrace>;
  stop(): Promise<void>;
}
