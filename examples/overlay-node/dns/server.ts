/**
 * The name server of this node, in the way of Docker's embedded one: it listens at addresses inside of networks, knows
 * the endpoints of each client's networks, and asks others for the rest. Sockets are made in the namespace of a network
 * and served by this process, so what it asks others leaves by the host; only a client's own servers that are members of
 * its network are asked out of the namespace.
 */
import { isIP } from 'node:net';
import { inNamespace } from 'packetweave';
import { ControlError } from '../control/errors.ts';
import { Answerer, type AnswererOptions } from './answerer.ts';
import type { ServedNetwork } from './resolver.ts';
import { TCP_LIMITS, type TcpLimits, TcpListener } from './tcp-listener.ts';
import { type Answer, UdpListener } from './udp-listener.ts';

export interface NameServerOptions extends AnswererOptions {
  readonly tcp?: Partial<TcpLimits>;
}

export interface ListenOptions {
  /** Name (as in `ip netns`) or path of the network namespace; null for the one of this process. */
  readonly namespace: string | null;
  readonly addresses: readonly string[];
  /** 53 where it is absent; 0 for one that is free. */
  readonly port?: number;
  readonly network: ServedNetwork;
}

interface Listening {
  readonly network: string;
  readonly answerer: Answerer;
  readonly udp: UdpListener[];
  readonly tcp: TcpListener[];
}

export class NameServer {
  readonly #options: NameServerOptions;
  readonly #listening = new Set<Listening>();
  /** Of those that are not listened for any more. */
  readonly #counted: Record<string, number> = {
    queries: 0,
    local: 0,
    forwarded: 0,
    failed: 0,
    refused: 0,
    ignored: 0,
  };

  constructor(options: NameServerOptions) {
    this.#options = options;
  }

  /** Answers the clients of a network at these addresses; the port. Several calls for one network add up. Rejects with
   * `INVALID` for what makes no sense and `CONFLICT` where somebody else listens there, and nothing is left then. */
  async listen(options: ListenOptions): Promise<number> {
    check(options);
    const answerer = new Answerer(this.#options, options.network, options.namespace);
    const listening: Listening = { network: options.network.id, answerer, udp: [], tcp: [] };
    this.#listening.add(listening);
    try {
      const port = inNamespace(options.namespace, () => this.#bind(listening, options));
      await Promise.all(listening.tcp.map((listener) => listener.ready));
      return port;
    } catch (error) {
      this.#stop(listening);
      throw refused(options, error as NodeJS.ErrnoException);
    }
  }

  /** Listens no more for a network. Questions that wait for others are not answered. */
  close(networkId: string): void {
    for (const listening of this.#listening) if (listening.network === networkId) this.#stop(listening);
  }

  /** Listens nowhere any more. The forwarder is closed by who made it. */
  stop(): void {
    for (const listening of this.#listening) this.#stop(listening);
  }

  /** Sums over the networks that are listened for, or were, and what was forwarded. */
  counters(): Record<string, number> {
    const sums = { ...this.#counted };
    for (const { answerer } of this.#listening) add(sums, answerer.counters);
    for (const [name, n] of Object.entries(this.#options.forwarder.counters())) sums[`forward.${name}`] = n;
    return sums;
  }

  /** Makes all sockets; the port, which the first one chooses for all. */
  #bind(listening: Listening, options: ListenOptions): number {
    const answer: Answer = (bytes, from, transport) => listening.answerer.answer(bytes, from, transport);
    const limits = { ...TCP_LIMITS, ...this.#options.tcp };
    let port = options.port ?? 53;
    for (const address of options.addresses) {
      const udp = new UdpListener(address, port, answer);
      listening.udp.push(udp);
      port = udp.port;
      listening.tcp.push(new TcpListener(address, port, answer, limits));
    }
    return port;
  }

  #stop(listening: Listening): void {
    if (this.#listening.delete(listening)) add(this.#counted, listening.answerer.counters);
    for (const listener of [...listening.udp, ...listening.tcp]) listener.close();
  }
}

function add(sums: Record<string, number>, counters: Readonly<Record<string, number>>): void {
  for (const [name, n] of Object.entries(counters)) sums[name] += n;
}

function check({ addresses, network }: ListenOptions): void {
  const wrong = addresses.find((address) => isIP(address) === 0);
  if (addresses.length === 0 || wrong !== undefined) {
    const said = wrong === undefined ? 'no address was given' : `"${wrong}" is no IP address`;
    throw new ControlError('INVALID', `names of network ${network.name} cannot be answered: ${said}`);
  }
}

function refused(
  { namespace, addresses, port = 53, network }: ListenOptions,
  error: NodeJS.ErrnoException,
): Error {
  const where = `${addresses.join(', ')} port ${port}${namespace === null ? '' : ` in namespace ${namespace}`}`;
  const why = {
    EADDRINUSE: 'another program listens there: stop it, or choose another address or port',
    EADDRNOTAVAIL: 'no device has the address (yet): give it to one first',
    EACCES: 'ports below 1024 need CAP_NET_BIND_SERVICE',
  }[error.code ?? ''];
  return new ControlError(
    error.code === 'EADDRINUSE' ? 'CONFLICT' : 'INVALID',
    `names of network ${network.name} cannot be answered at ${where}: ${why ?? error.message}`,
  );
}
