/** One client's connection: many questions, answered in any order (RFC 7766 section 6.2.1.1). What it can hold is
 * bounded: questions that wait for an answer, time without one, bytes that it does not read. */
import type { Socket } from 'node:net';
import { Frames, frame } from './frames.ts';
import type { Answer } from './udp-listener.ts';

export interface ClientLimits {
  /** Milliseconds without a whole question. */
  readonly idle: number;
  /** Questions that are not answered yet. */
  readonly pipelined: number;
}

/** Bytes of replies that a client has not read: no question is taken until it has. */
const UNREAD = 1 << 18;
/** Where it does not read what others answer to what was taken before. */
const UNREAD_MOST = 1 << 20;

export class TcpClient {
  readonly #socket: Socket;
  readonly #from: string;
  readonly #answer: Answer;
  readonly #limits: ClientLimits;
  readonly #frames = new Frames();
  readonly #idle: NodeJS.Timeout;
  /** Questions that were read and not taken. */
  #questions: Buffer[] = [];
  /** Questions that wait for an answer. */
  #open = 0;

  /** Serves a connection from an address until it is closed. */
  constructor(socket: Socket, from: string, answer: Answer, limits: ClientLimits) {
    this.#socket = socket;
    this.#from = from;
    this.#answer = answer;
    this.#limits = limits;
    this.#idle = setTimeout(() => this.#rest(), limits.idle);
    socket.on('data', (chunk) => this.#read(chunk));
    socket.on('drain', () => this.#take());
    socket.on('end', () => this.#take());
    socket.on('close', () => clearTimeout(this.#idle));
  }

  #rest(): void {
    if (this.#open > 0) this.#idle.refresh();
    else this.#socket.destroy();
  }

  #read(chunk: Buffer): void {
    const questions = this.#frames.push(chunk);
    if (questions.length > 0) this.#idle.refresh();
    this.#questions.push(...questions);
    this.#take();
  }

  /** Takes questions as far as there is room for their answers, and reads on when there are none left. */
  #take(): void {
    const socket = this.#socket;
    let n = 0;
    while (n < this.#questions.length && !this.#full() && !socket.destroyed) this.#ask(this.#questions[n++]);
    this.#questions = this.#questions.slice(n);
    if (this.#questions.length > 0) socket.pause();
    else if (socket.isPaused()) socket.resume();
    if (socket.readableEnded && this.#open === 0 && this.#questions.length === 0) socket.end();
  }

  #full(): boolean {
    return this.#open >= this.#limits.pipelined || this.#socket.writableLength >= UNREAD;
  }

  #ask(question: Buffer): void {
    const answer = this.#answer(question, this.#from, 'tcp');
    if (answer instanceof Promise) void this.#later(answer);
    else this.#reply(answer);
  }

  async #later(answer: Promise<Buffer | null>): Promise<void> {
    this.#open++;
    const bytes = await answer;
    this.#open--;
    this.#reply(bytes);
    this.#take();
  }

  #reply(bytes: Buffer | null): void {
    const socket = this.#socket;
    if (bytes === null || !socket.writable) return;
    if (socket.writableLength > UNREAD_MOST) socket.destroy();
    else socket.write(frame(bytes));
  }
}
