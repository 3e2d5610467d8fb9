/** What becomes of packets that the system refuses to send: they are counted, and now and then it is told. */
import * as drops from '../../core/drop.ts';
import { Seldom } from '../../core/log.ts';
import type { PortHost } from '../port.ts';
import * as c from './constants.ts';
import { nameOf, textOf } from './errors.ts';

/** Milliseconds between two lines about packets that the system refuses. */
const AUDIT = 10_000;

/** The reason to drop a packet that was refused with an error number. */
export function reasonOf(errno: number): drops.Drop {
  if (errno === c.EAGAIN || errno === c.ENOBUFS || errno === c.ENOMEM) return drops.PORT_FULL;
  return errno === c.EMSGSIZE ? drops.TOO_BIG : drops.PORT_ERROR;
}

/** Tells of refused packets, at most every ten seconds. */
export class Refusals {
  readonly #name: string;
  #host: PortHost | null = null;
  readonly #audit = new Seldom(1, AUDIT);

  /** `name` is that of the port. */
  constructor(name: string) {
    this.#name = name;
  }

  open(host: PortHost): void {
    this.#host = host;
  }

  /** Whether one is to be told now: ask before words are made for it. It counts as told then. */
  due(): boolean {
    return this.#audit.due(0, this.#host!.clock.now);
  }

  /** `what` was refused, as `a datagram of 1400 bytes to 192.0.2.1`. */
  tell(errno: number, what: string): void {
    this.#host!.log.warn(`"${this.#name}": ${what} was refused: ${textOf(errno)} (${nameOf(errno)})`);
  }
}
