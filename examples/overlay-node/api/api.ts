/**
 * What the daemon answers on its control socket: HTTP with JSON, one type a route. Errors are
 * `{ "code": "NOT_FOUND", "message": "network nope not found" }` with a status of 400 to 503.
 */
import type { ControlHealth } from '../control/control.ts';
import type { Endpoint, Network, NetworkRequest, NodeState, PublishedPort } from '../control/model.ts';

/** `POST /v1/init`: makes a cluster, with this node as its first. Answers {@link TokenAnswer}. */
export interface InitRequest {
  /** `etcd://a:2379,b:2379[/prefix]`, `etcds://user:password@a:2379?ca=FILE&cert=FILE&key=FILE`; absent: embedded. */
  readonly store?: string;
  /** Address or interface that the other hosts reach this one by; absent: as the daemon was told, or what it finds. */
  readonly advertise?: string;
}
export interface TokenAnswer {
  readonly token: string;
  /** The line to type on the other hosts. */
  readonly line: string;
}
/** `POST /v1/join`. Answers {@link Info}. `POST /v1/leave` with `{ force }`. `POST /v1/token/rotate`, `GET /v1/token`
 * answer {@link TokenAnswer}. */
export interface JoinRequest {
  readonly token: string;
  /** `HOST[:2377]`, or an etcd address as in {@link InitRequest}. */
  readonly store: string;
}
/** `GET /v1/info`. */
export interface Info {
  readonly version: string;
  /** Null before init or join. */
  readonly node: NodeState | null;
  readonly control: ControlHealth | null;
  /** Whether this node carries the embedded store. */
  readonly carriesStore: boolean;
  readonly networks: number;
  readonly endpoints: number;
  /** Seconds since the daemon began. */
  readonly uptime: number;
}

/** `GET /v1/nodes` answers NodeState[]; `DELETE /v1/nodes/:id?force=true`. */

/** `GET /v1/networks` answers Network[]; `POST /v1/networks` takes a NetworkRequest and answers a Network;
 * `GET /v1/networks/:name` answers {@link NetworkDetail}; `DELETE /v1/networks/:name`. */
export type { NetworkRequest };
export interface NetworkDetail {
  readonly network: Network;
  readonly endpoints: readonly Endpoint[];
}
/** `POST /v1/networks/:name/connect` and `/disconnect`. */
export interface ConnectRequest {
  /** Name or id of the container. */
  readonly container: string;
  readonly aliases?: readonly string[];
  readonly ip?: string;
  readonly ip6?: string;
}

/** `POST /v1/containers`: makes a namespace with its attachments. Who asked starts the command in it, or with `detach`
 * the daemon does. Answers {@link Container}. */
export interface RunRequest {
  readonly name?: string;
  /** The first is eth0 and has the default route. */
  readonly networks: readonly string[];
  /** In every network. */
  readonly aliases?: readonly string[];
  readonly ip?: string;
  readonly ip6?: string;
  readonly mac?: string;
  readonly hostname?: string;
  readonly dns?: readonly string[];
  /** As on the command line: `8080:80/udp`. */
  readonly publish?: readonly string[];
  /** Whoever asks holds the ports of the host by sockets of its own: the daemon takes none. */
  readonly portsHeld?: boolean;
  readonly labels?: Readonly<Record<string, string>>;
  readonly command: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  readonly directory?: string;
  readonly detach?: boolean;
  /** Gone with its command. */
  readonly remove?: boolean;
  /** A foreground command's process: when it is gone, so is the container. */
  readonly pid?: number;
  /** `packetweave attach`: a namespace that somebody else made, by name, path or process id; `command` is empty. */
  readonly namespace?: string;
  /** Name of the first network's device; absent: the first of eth0, eth1 and so on that is free. */
  readonly device?: string;
  /** Whether the default route leads to the first network that has a way out. Absent: it does, but in a namespace that
   * somebody else made only where there is none yet. */
  readonly defaultRoute?: boolean;
}

export interface Container {
  /** 64 hexadecimal digits. */
  readonly id: string;
  readonly name: string;
  readonly hostname: string;
  /** Network namespace, as in `ip netns`, or a path. */
  readonly namespace: string;
  /** A file of JSON that tells {@link namespace}'s /etc and more; for `exec`. */
  readonly command: readonly string[];
  /** ISO 8601. */
  readonly created: string;
  readonly state: 'created' | 'running' | 'exited';
  readonly exitCode: number | null;
  readonly pid: number | null;
  readonly endpoints: readonly Endpoint[];
  readonly ports: readonly PublishedPort[];
  readonly labels: Readonly<Record<string, string>>;
  readonly detached: boolean;
}
/** `GET /v1/containers?all=true` answers Container[]; `GET /v1/containers/:name`; `DELETE /v1/containers/:name?force=true`
 * ends the command (SIGTERM, after 10 s SIGKILL) and removes it; `GET /v1/containers/:name/logs?follow=true` streams
 * text; `POST /v1/containers/:name/started` with `{ pid }` and `/exited` with `{ code }` for commands in the foreground;
 * `GET /v1/containers/:name/wait` answers `{ code }`. */

/** `GET /v1/peers`. */
export interface PeerRow {
  readonly node: string;
  readonly name: string;
  readonly address: string;
  readonly alive: boolean;
  /** Names of the networks that both take part in. */
  readonly networks: readonly string[];
  /** Whether there are keys to send with; null where nothing is encrypted between them. */
  readonly encrypted: boolean | null;
}

/** `GET /v1/stats`: counters since the daemon began. */
export interface Stats {
  readonly at: number;
  readonly ports: readonly {
    readonly name: string;
    readonly network: string | null;
    readonly rxPackets: number;
    readonly txPackets: number;
    readonly rxBytes: number;
    readonly txBytes: number;
    readonly dropped: number;
  }[];
  /** By reason. */
  readonly drops: Readonly<Record<string, { readonly count: number; readonly text: string }>>;
}

/** `GET /v1/doctor` answers Check[]. */
export interface Check {
  readonly name: string;
  readonly ok: boolean;
  /** What was found. */
  readonly found: string;
  /** What to do; null where all is well. */
  readonly advice: string | null;
}

/** `GET /v1/capture?what=NETWORK|ENDPOINT|underlay&decrypt=true&count=N` streams pcapng. `GET /v1/trace?...` streams lines
 * of JSON, {@link TraceLine}. */
export interface TraceLine {
  /** Milliseconds since 1970. */
  readonly at: number;
  /** Element or port that dropped it. */
  readonly where: string;
  /** Name and sentence of the reason. */
  readonly reason: string;
  readonly text: string;
  /** The frame in words. */
  readonly frame: string;
}

/** `POST /v1/store/migrate`. Answers when every living node has moved. */
export interface MigrateRequest {
  readonly to: string;
}
