/** Ports of the host that are really taken, by a socket each, so that nobody else gets them, nor has them already. */
import { createSocket } from 'node:dgram';
import { connect, createServer, isIPv6, type Socket } from 'node:net';
import { ControlError } from '../control/errors.ts';

/** A port that is taken. */
export interface Reservation {
  /** Resolves when somebody else can have it. */
  close(): Promise<void>;
}

export interface ReservedPort {
  readonly protocol: 'tcp' | 'udp';
  readonly address: string;
  readonly port: number;
  /** Where connections go that come to the socket itself; they are reset where this is absent. */
  readonly relayTo?: RelayTarget;
}

interface RelayTarget {
  readonly host: string;
  readonly port: number;
}

/** Takes ports, all of them or none, for as long as this process runs: it may end with them. Rejects with a ControlError in
 * the words of Docker. */
export async function reserve(ports: readonly ReservedPort[]): Promise<Reservation> {
  const results = await Promise.allSettled(ports.map(bind));
  const bound = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
  const close = async () => void (await Promise.all(bound.map((one) => one.close())));
  const refused = results.find((result) => result.status === 'rejected');
  if (refused === undefined) return { close };
  await close();
  throw refused.reason;
}

async function bind(wanted: ReservedPort): Promise<Reservation> {
  try {
    return await (wanted.protocol === 'tcp' ? bindTcp(wanted) : bindUdp(wanted));
  } catch (error) {
    throw failure(wanted, error as NodeJS.ErrnoException);
  }
}

/** Packets are redirected before a socket could see them, but for those that cannot be. */
function bindTcp({ address, port, relayTo }: ReservedPort): Promise<Reservation> {
  const relayed = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    if (relayTo === undefined) socket.resetAndDestroy();
    else relay(socket, relayTo, relayed);
  }).unref();
  const close = () => {
    for (const socket of relayed) socket.destroy();
    return new Promise<void>((resolve) => server.close(() => resolve()));
  };
  return new Promise((resolve, reject) => {
    // Also what comes later, such as a connection for which there is no descriptor, is no more than that.
    server.on('error', reject);
    const options = { host: address, port, ipv6Only: isIPv6(address), exclusive: true };
    server.listen(options, () => resolve({ close }));
  });
}

/** Passes bytes both ways until both sides have ended, or one fails. */
function relay(socket: Socket, to: RelayTarget, open: Set<Socket>): void {
  const onward = connect({ ...to, allowHalfOpen: true });
  for (const [one, other] of [
    [socket, onward],
    [onward, socket],
  ]) {
    open.add(one);
    one.on('error', () => other.resetAndDestroy());
    one.on('close', () => open.delete(one));
    one.pipe(other);
  }
}

function bindUdp({ address, port }: ReservedPort): Promise<Reservation> {
  const ipv6 = isIPv6(address);
  const socket = createSocket({ type: ipv6 ? 'udp6' : 'udp4', ipv6Only: ipv6, recvBufferSize: 1 }).unref();
  const close = () => new Promise<void>((resolve) => socket.close(() => resolve()));
  return new Promise((resolve, reject) => {
    const refused = (error: Error) => {
      socket.close();
      reject(error);
    };
    socket.once('error', refused);
    socket.bind({ address, port, exclusive: true }, () => {
      socket.off('error', refused).on('error', () => {});
      resolve({ close });
    });
  });
}

/** What a port that somebody has is refused with. */
export function allocated({ address, port }: ReservedPort): ControlError {
  return new ControlError('CONFLICT', `Bind for ${address}:${port} failed: ${REASONS.EADDRINUSE}`);
}

const REASONS: Readonly<Record<string, string>> = {
  EADDRINUSE: 'port is already allocated',
  EADDRNOTAVAIL: 'this host has no such address',
  EACCES: 'ports below 1024 need root, or the capability CAP_NET_BIND_SERVICE',
  EMFILE: 'too many files are open: raise the limit (ulimit -n)',
};

function failure({ address, port }: ReservedPort, { code, message }: NodeJS.ErrnoException): ControlError {
  const reason = REASONS[code ?? ''] ?? message;
  return new ControlError(
    code === 'EADDRINUSE' ? 'CONFLICT' : 'INVALID',
    `Bind for ${address}:${port} failed: ${reason}`,
  );
}
