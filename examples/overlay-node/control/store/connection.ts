/** One connection to a server of the store, as the client has it. */
import { connect, type TLSSocket } from 'node:tls';
import { ControlError } from '../errors.ts';
import { Call } from './call.ts';
import { controlError, MAX_FRAME, PROTOCOL, type Reply, type WireError } from './protocol.ts';
import { connectError, type Identity, nodeIdentity, tlsOptions, tokenIdentity } from './psk.ts';
import type { RemoteWatch } from './remote-watch.ts';
import { Wire } from './wire.ts';

export interface Target {
  readonly host: string;
  readonly port: number;
  readonly identity: Identity;
  /** Of the identity, 32 bytes. */
  readonly key: Buffer;
  /** Id of the cluster that it should carry. */
  readonly cluster: string;
  /** `HOST:PORT`, for messages. */
  readonly at: string;
  /** For the handshake, and for the greeting, in ms. */
  readonly timeout: number;
  /** Between two heartbeats, in ms. */
  readonly beat: number;
}

export class Connection {
  readonly #at: string;
  readonly #wire: Wire;
  readonly #calls = new Map<number, Call>();
  readonly #watches = new Map<number, RemoteWatch>();
  #last = 0;
  #bye: WireError | null = null;
  #closed: ControlError | null = null;

  private constructor(socket: TLSSocket, { at, beat }: Target) {
    this.#at = at;
    this.#wire = new Wire(socket, {
      limit: MAX_FRAME,
      beat,
      onMessage: (message) => this.#receive(message as Reply),
      onClose: (error) => this.#end(error),
    });
  }

  /** Resolves when the server has said that it is the one that is meant. Rejects with a ControlError: `FORBIDDEN` where the
   * key is wrong or the node was removed, `CONFLICT` where it carries another cluster, `VERSION`, `AWAY`. */
  static async open(target: Target): Promise<Connection> {
    const { cluster, timeout, at } = target;
    const connection = new Connection(await shakeHands(target), target);
    const hello = new Call('hello', { version: PROTOCOL, cluster }, timeout, at);
    connection.ask(hello);
    try {
      await hello.answer;
    } catch (error) {
      connection.close();
      throw error;
    }
    return connection;
  }

  get open(): boolean {
    return this.#closed === null;
  }

  /** Sends a question; what is answered goes to the call. */
  ask(call: Call): void {
    if (call.settled) return;
    if (this.#closed !== null) {
      call.reject(this.#closed);
      return;
    }
    const id = ++this.#last;
    this.#calls.set(id, call);
    call.onSettled = () => this.#calls.delete(id);
    void this.#wire.send({ id, ...call.question });
  }

  /** Sends the question that begins a watch; whose number is what the server knows it by. */
  watch(call: Call, watch: RemoteWatch): number {
    this.ask(call);
    if (this.#closed === null) this.#watches.set(this.#last, watch);
    return this.#last;
  }

  unwatch(id: number): void {
    this.#watches.delete(id);
    if (this.#closed === null)
      void this.#wire.send({ id: ++this.#last, method: 'unwatch', asked: { watch: id } });
  }

  close(): void {
    this.#wire.end();
    this.#end(new Error('the store is closed'));
  }

  #receive(reply: Reply): void {
    if ('bye' in reply) this.#bye = reply.bye;
    else if ('watch' in reply) this.#tell(reply);
    else if ('part' in reply) this.#calls.get(reply.id)?.add(reply.part);
    else if ('error' in reply) this.#calls.get(reply.id)?.reject(controlError(reply.error));
    else this.#calls.get(reply.id)?.resolve(reply.result);
  }

  #tell(reply: Extract<Reply, { readonly watch: number }>): void {
    const watch = this.#watches.get(reply.watch);
    if ('events' in reply) {
      watch?.tell(reply.events, reply.revision);
      return;
    }
    this.#watches.delete(reply.watch);
    watch?.end(reply.end);
  }

  #end(error: Error): void {
    if (this.#closed !== null) return;
    const why = new ControlError('AWAY', `the connection to ${this.#at} is gone: ${error.message}`);
    this.#closed = this.#bye === null ? why : controlError(this.#bye);
    for (const call of [...this.#calls.values()]) call.reject(this.#closed);
    for (const watch of [...this.#watches.values()]) watch.end('away');
    this.#watches.clear();
  }
}

function shakeHands({ host, port, identity, key, at, timeout }: Target): Promise<TLSSocket> {
  const shown = identity.type === 'token' ? tokenIdentity(identity.id) : nodeIdentity(identity.id);
  return new Promise((resolve, reject) => {
    const socket = connect({
      ...tlsOptions,
      host,
      port,
      pskCallback: () => ({ psk: key, identity: shown }),
      // There are no certificates: the key has shown whose the server is.
      checkServerIdentity: () => undefined,
    });
    const fail = (error: Error) => {
      clearTimeout(timer);
      socket.destroy();
      reject(connectError(error, at, identity.type));
    };
    const timer = setTimeout(() => fail(new Error(`no answer for ${timeout} ms`)), timeout);
    const closed = () => fail(new Error('it closes the connection'));
    socket.on('error', fail);
    socket.once('close', closed);
    socket.once('secureConnect', () => {
      clearTimeout(timer);
      socket.off('error', fail);
      socket.off('close', closed);
      resolve(socket);
    });
  });
}
