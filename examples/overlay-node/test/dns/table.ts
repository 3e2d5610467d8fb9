/** Names that a test says, and programs that ask for them. */
import { execFile } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { decode, encode, type Packet } from 'dns-packet';
import type { Test } from 'tap';
import { Forwarder, type ForwarderOptions } from '../../dns/forwarder.ts';
import type { Named, Names } from '../../dns/names.ts';
import type { ServedNetwork } from '../../dns/resolver.ts';
import { NameServer, type NameServerOptions } from '../../dns/server.ts';

export class NameTable implements Names {
  version = 1;
  /** Who asked: `network address`. */
  readonly asked: string[] = [];
  #endpoints: readonly Named[];

  constructor(...endpoints: Named[]) {
    this.#endpoints = endpoints;
  }

  set(...endpoints: Named[]): void {
    this.#endpoints = endpoints;
    this.version++;
  }

  lookup(network: string, from: string, name: string): readonly Named[] {
    this.asked.push(`${network} ${from}`);
    const wanted = name.toLowerCase();
    return this.#endpoints.filter((named) =>
      named.names.some((own) => [own, `${own}.${named.network}`].includes(wanted)),
    );
  }

  reverse(_network: string, _from: string, address: string): Named | null {
    return this.#endpoints.find((named) => named.addresses.includes(address)) ?? null;
  }
}

export function named(names: string[], ...addresses: string[]): Named {
  return { names, network: 'front', addresses };
}

export const FRONT: ServedNetwork = {
  id: 'f00d',
  name: 'front',
  internal: false,
  subnets: ['10.0.1.0/24', 'fd00:1::/64'],
};

export function forwarder(
  t: Test,
  options: Partial<ForwarderOptions> & { servers: () => string[] },
): Forwarder {
  const made = new Forwarder({ now: () => performance.now(), ...options });
  t.teardown(() => made.close());
  return made;
}

/** A name server on loopback; its address as one writes it. */
export async function serve(
  t: Test,
  options: Partial<NameServerOptions> & { names: Names },
  network = FRONT,
) {
  const server = new NameServer({
    forwarder: options.forwarder ?? forwarder(t, { servers: () => [] }),
    random: () => 0.5,
    ...options,
  });
  t.teardown(() => server.stop());
  const port = await onFreePort((port) =>
    server.listen({ namespace: null, addresses: ['127.0.0.1'], port, network }),
  );
  return { server, port, address: `127.0.0.1:${port}` };
}

/** A port that UDP has free may be another program's by TCP. */
async function onFreePort(listen: (port: number) => Promise<number>): Promise<number> {
  for (let tries = 5; ; tries--) {
    try {
      return await listen(0);
    } catch (error) {
      if (tries === 1 || (error as { code?: string }).code !== 'CONFLICT') throw error;
    }
  }
}

/** A name server by UDP that does what it is told: null is silence. */
export async function scripted(t: Test, answer: (query: Packet, n: number) => Packet | Packet[] | null) {
  const socket = createSocket({ type: 'udp4', recvBufferSize: 4 << 20 });
  const ids: number[] = [];
  const ports = new Set<number>();
  socket.on('message', (bytes, { port, address }) => {
    const query = decode(bytes);
    ids.push(query.id!);
    ports.add(port);
    const replies = answer(query, ids.length) ?? [];
    for (const reply of [replies].flat()) {
      socket.send(
        encode({ type: 'response', id: query.id!, questions: query.questions!, ...reply }),
        port,
        address,
      );
    }
  });
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  t.teardown(() => new Promise<void>((resolve) => socket.close(resolve)));
  return { address: `127.0.0.1:${socket.address().port}`, ids, ports };
}

/** What a program prints. */
export function output(command: string, args: readonly string[]): Promise<string> {
  return new Promise((resolve) => {
    execFile(command, args, { timeout: 20_000 }, (_error, stdout, stderr) => resolve(stdout + stderr));
  });
}

/** Asks a server on loopback with dig. */
export function dig(port: number, ...args: string[]): Promise<string> {
  return output('dig', ['@127.0.0.1', '-p', String(port), '+tries=1', ...args]);
}
