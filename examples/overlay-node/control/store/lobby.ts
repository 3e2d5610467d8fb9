/** Connections of which it is not known whose they are. They are few, and not here for long. */
import type { Socket } from 'node:net';

interface Guest {
  socket: Socket;
  readonly timer: NodeJS.Timeout;
}

export class Lobby {
  readonly #capacity: number;
  readonly #patience: number;
  /** By the peer's address and port, oldest first: the TLS socket does not tell which TCP socket it is made of. */
  readonly #guests = new Map<string, Guest>();

  /** `patience` in ms. */
  constructor(capacity: number, patience: number) {
    this.#capacity = capacity;
    this.#patience = patience;
  }

  /** Takes a TCP connection in. The oldest goes where there are too many: whoever has a key is not here for long. */
  enter(socket: Socket): void {
    for (const [peer, { socket }] of this.#guests) {
      if (this.#guests.size < this.#capacity) break;
      this.#leave(peer);
      socket.destroy();
    }
    const peer = name(socket);
    const guest: Guest = { socket, timer: setTimeout(() => guest.socket.destroy(), this.#patience).unref() };
    this.#guests.set(peer, guest);
    socket.once('close', () => {
      if (this.#guests.get(peer) === guest) this.#leave(peer);
    });
  }

  /** Goes on with the TLS socket of a connection; what to call when it is known. */
  follow(socket: Socket): () => void {
    const peer = name(socket);
    const guest = this.#guests.get(peer);
    if (guest === undefined) return () => {};
    guest.socket = socket;
    const leave = () => {
      if (this.#guests.get(peer) === guest) this.#leave(peer);
    };
    socket.once('close', leave);
    return leave;
  }

  clear(): void {
    for (const [peer, { socket }] of this.#guests) {
      this.#leave(peer);
      socket.destroy();
    }
  }

  #leave(peer: string): void {
    clearTimeout(this.#guests.get(peer)?.timer);
    this.#guests.delete(peer);
  }
}

function name({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress} ${remotePort}`;
}
