/** Published ports as they are written on a command line, with Docker's syntax and Docker's words where it is wrong. */
import { isIP } from 'node:net';
import { ControlError } from '../control/errors.ts';
import type { Protocol, PublishedPort } from '../control/model.ts';

/** A published port as somebody asks for it: which one of the host's is not chosen yet. */
export interface PortWish {
  readonly protocol: Protocol;
  readonly hostAddress: string | null;
  /** First port of the container. */
  readonly port: number;
  /** How many. */
  readonly count: number;
  /** The host's: as many as `count`, or for one port of the container a range to choose from; null for any. */
  readonly published: PortRange | null;
}

export interface PortRange {
  readonly first: number;
  readonly last: number;
}

/** Whether a port of the host can be published. */
export type IsFree = (protocol: Protocol, hostAddress: string | null, port: number) => Promise<boolean>;

/** Ports that are chosen from where nobody names one (RFC 6335 section 6). */
const EPHEMERAL: PortRange = { first: 49153, last: 65535 };
const PROTOCOLS: readonly string[] = ['tcp', 'udp', 'sctp'];

/** Reads `[address:][host[-host]:]container[-container][/protocol]`. Throws a ControlError. */
export function parsePort(text: string): PortWish {
  const [, before, protocol = 'tcp'] = /^(.*?)(?:\/([^/]*))?$/.exec(text)!;
  const parts = before.split(':');
  const container = parts.pop()!;
  const host = parts.pop() ?? '';
  const address = parts.join(':').replace(/^\[(.*)\]$/, '$1');
  if (address !== '' && isIP(address) === 0) throw invalid(`invalid IP address: ${address}`);
  if (container === '') throw invalid(`no port specified: ${text}<empty>`);
  const inside = parseRange(container) ?? refuse(`invalid containerPort: ${container}`);
  if (inside.first === 0) throw invalid(`invalid containerPort: ${container}`);
  const outside = host === '' ? null : (parseRange(host) ?? refuse(`invalid hostPort: ${host}`));
  const count = size(inside);
  if (outside !== null && count > 1 && size(outside) !== count) {
    throw invalid(`invalid ranges specified for container and host Ports: ${container} and ${host}`);
  }
  if (!PROTOCOLS.includes(protocol.toLowerCase())) throw invalid(`invalid proto: ${protocol}`);
  return {
    protocol: protocol.toLowerCase() as Protocol,
    hostAddress: address === '' ? null : address,
    port: inside.first,
    count,
    published: outside?.first === 0 ? null : outside,
  };
}

/**
 * Chooses the host's ports for all wishes. Those that were named are taken as they are: whether they are free turns out
 * when they are published. Rejects with `FULL` where none is left to choose.
 */
export async function choosePorts(wishes: readonly PortWish[], isFree: IsFree): Promise<PublishedPort[]> {
  const chosen: PublishedPort[] = [];
  const named = (wish: PortWish) => wish.published !== null && size(wish.published) === wish.count;
  for (const wish of wishes) if (named(wish)) chosen.push(publishedAt(wish, wish.published!.first));
  const places = wishes.filter((wish) => !named(wish));
  for (const wish of places) {
    const free: IsFree = async (protocol, address, port) =>
      !chosen.some((other) => covers(other, protocol, port)) && (await isFree(protocol, address, port));
    const first = await firstFree(wish, wish.published ?? EPHEMERAL, free);
    if (first === null) throw new ControlError('FULL', `all ports are allocated: ${name(wish)}`);
    chosen.push(publishedAt(wish, first));
  }
  return chosen;
}

/** First of as many consecutive free ports as are wished for. */
async function firstFree(wish: PortWish, range: PortRange, isFree: IsFree): Promise<number | null> {
  let run = 0;
  for (let port = range.first; port <= range.last; port++) {
    run = (await isFree(wish.protocol, wish.hostAddress, port)) ? run + 1 : 0;
    if (run === wish.count) return port - run + 1;
  }
  return null;
}

function publishedAt({ protocol, port, count, hostAddress }: PortWish, published: number): PublishedPort {
  return { protocol, published, port, count, hostAddress };
}

function covers(other: PublishedPort, protocol: Protocol, port: number): boolean {
  return other.protocol === protocol && port >= other.published && port < other.published + other.count;
}

function name({ protocol, published }: PortWish): string {
  const { first, last } = published ?? EPHEMERAL;
  return `no port of ${first}-${last}/${protocol} is free on this host`;
}

function parseRange(text: string): PortRange | null {
  const [, first, last = first] = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(text) ?? [];
  const range = { first: Number(first), last: Number(last) };
  return range.first <= range.last && range.last <= 65535 ? range : null;
}

function size({ first, last }: PortRange): number {
  return last - first + 1;
}

function refuse(message: string): never {
  throw invalid(message);
}

function invalid(message: string): ControlError {
  return new ControlError('INVALID', message);
}
