/**
 * Datagrams in bursts: an array of struct mmsghdr (recvmmsg(2), sendmmsg(2)), each with an address and ancillary
 * data of its own, all in one slab.
 */
import * as c from './constants.ts';
import { IOVEC, type Iovecs } from './memory.ts';
import { addresses, type Slab } from './slab.ts';

/** Bytes of struct mmsghdr, and where its parts lie. */
const MMSGHDR = 64;
const NAME_LENGTH = 8;
const IOV = 16;
const IOV_COUNT = 24;
const CONTROL = 32;
const CONTROL_LENGTH = 40;
const FLAGS = 48;
const LENGTH = 56;

/** Bytes of struct cmsghdr, and of the room for one with up to 8 bytes of data. */
const CMSGHDR = 16;
const CMSG = 24;
/** Bytes of ancillary data of a message. */
const CONTROL_ROOM = 128;

/** Bytes of the largest address, struct sockaddr_in6, rounded up; struct sockaddr_ll has 20. */
export const SOCKADDR = 32;

export class Messages {
  readonly #slab: Slab;
  readonly #iovecs: Iovecs;
  readonly #at: number;
  readonly #names: number;
  readonly #controls: number;
  /** Addresses of the messages. */
  readonly #addresses: readonly number[];

  constructor(slab: Slab, count: number, iovecs: Iovecs) {
    this.#slab = slab;
    this.#iovecs = iovecs;
    this.#at = slab.reserve(count * MMSGHDR);
    this.#names = slab.reserve(count * SOCKADDR);
    this.#controls = slab.reserve(count * CONTROL_ROOM);
    this.#addresses = addresses(
      ...Array.from({ length: count }, (_, i) => slab.address(this.#at + i * MMSGHDR)),
    );
    for (let i = 0; i < count; i++) {
      slab.point(this.#at + i * MMSGHDR, this.#names + i * SOCKADDR);
      slab.point(this.#at + i * MMSGHDR + CONTROL, this.#controls + i * CONTROL_ROOM);
    }
  }

  /** Bytes of the slab that `count` messages take, iovecs aside. */
  static size(count: number): number {
    return count * (MMSGHDR + SOCKADDR + CONTROL_ROOM) + 24;
  }

  /** The address of message `i` and those behind it, for the call. */
  address(i: number): number {
    return this.#addresses[i];
  }

  /** Makes the iovecs `from..to` those of message `i`. */
  setIovecs(i: number, from: number, to: number): void {
    const at = this.#at + i * MMSGHDR;
    this.#slab.point(at + IOV, this.#iovecs.at + from * IOVEC);
    this.#slab.words[(at + IOV_COUNT) >> 2] = to - from;
  }

  /** Makes message `i` ready to receive an address and ancillary data. */
  expect(i: number): void {
    const w = (this.#at + i * MMSGHDR) >> 2;
    const { words } = this.#slab;
    words[w + NAME_LENGTH / 4] = SOCKADDR;
    words[w + CONTROL_LENGTH / 4] = CONTROL_ROOM;
  }

  /** Bytes received into message `i`, or sent of it. */
  length(i: number): number {
    return this.#slab.words[(this.#at + i * MMSGHDR + LENGTH) >> 2];
  }

  /** Whether a received message did not fit its iovecs. */
  truncated(i: number): boolean {
    return (this.#slab.words[(this.#at + i * MMSGHDR + FLAGS) >> 2] & c.MSG_TRUNC) !== 0;
  }

  /** Where the address of message `i` lies that was received. */
  name(i: number): number {
    return this.#names + i * SOCKADDR;
  }

  /** Makes message `i` one to send to a socket's address of so many bytes, which lies at `sockaddr`. */
  sendTo(i: number, sockaddr: number, bytes: number): void {
    const at = this.#at + i * MMSGHDR;
    this.#slab.writeAddress(at, sockaddr);
    this.#slab.words[(at + NAME_LENGTH) >> 2] = bytes;
    this.#slab.words[(at + CONTROL_LENGTH) >> 2] = 0;
  }

  /** Makes message `i` one to send to the address of so many bytes that was written to `name(i)`. A message that
   * was given another by {@link sendTo} has lost its own. */
  sendToOwn(i: number, bytes: number): void {
    const at = (this.#at + i * MMSGHDR) >> 2;
    this.#slab.words[at + NAME_LENGTH / 4] = bytes;
    this.#slab.words[at + CONTROL_LENGTH / 4] = 0;
  }

  /** Adds ancillary data of 2 or 4 bytes to a message that is to be sent, behind {@link sendTo}. */
  addControl(i: number, level: number, type: number, value: number, bytes: 2 | 4): void {
    const { words } = this.#slab;
    const length = (this.#at + i * MMSGHDR + CONTROL_LENGTH) >> 2;
    const w = (this.#controls + i * CONTROL_ROOM + words[length]) >> 2;
    words[w] = CMSGHDR + bytes;
    words[w + 1] = 0;
    words[w + 2] = level;
    words[w + 3] = type;
    words[w + 4] = value;
    words[length] += CMSG;
  }

  /** Offset of the ancillary data of a type in a received message, or -1. */
  control(i: number, level: number, type: number): number {
    const { words } = this.#slab;
    const from = this.#controls + i * CONTROL_ROOM;
    const end = from + words[(this.#at + i * MMSGHDR + CONTROL_LENGTH) >> 2];
    for (let at = from; at + CMSGHDR <= end; ) {
      const w = at >> 2;
      if (words[w + 2] === level && words[w + 3] === type) return at + CMSGHDR;
      at += (words[w] + 7) & ~7;
      if (words[w] < CMSGHDR) return -1;
    }
    return -1;
  }
}
