/**
 * The one door to the operating system's C library, through `koffi`. Nothing else under lib/ calls native code.
 *
 * Addresses go out as plain numbers, because that is what calls are fastest with (some 25 ns beside the call
 * itself). Whoever hands one out keeps two promises: the memory cannot move, so it is an ArrayBuffer of its own and never
 * a small typed array, which V8 keeps on its heap; and it is referenced for as long as native code may use it.
 * {@link Slab} keeps both for structures, a pool for packets.
 *
 * Calls answer as in C: a negative number is a failure, and `errno()` right after it says which.
 */
import { createRequire } from 'node:module';
import { PortError } from '../port.ts';

/** The functions that are used. Addresses are numbers, 0 for none. */
export interface Libc {
  open(path: string, flags: number): number;
  close(fd: number): number;
  read(fd: number, to: number, bytes: number): number;
  write(fd: number, from: number, bytes: number): number;
  readv(fd: number, iovecs: number, count: number): number;
  writev(fd: number, iovecs: number, count: number): number;
  ioctl(fd: number, request: number, argument: number): number;
  socket(family: number, type: number, protocol: number): number;
  bind(fd: number, address: number, bytes: number): number;
  getsockname(fd: number, address: number, bytes: number): number;
  setsockopt(fd: number, level: number, option: number, value: number, bytes: number): number;
  getsockopt(fd: number, level: number, option: number, value: number, bytes: number): number;
  sendmmsg(fd: number, messages: number, count: number, flags: number): number;
  recvmmsg(fd: number, messages: number, count: number, flags: number, timeout: number): number;
  epollCreate(flags: number): number;
  epollControl(fd: number, operation: number, other: number, event: number): number;
  epollWait(fd: number, events: number, most: number, ms: number): number;
  /** The same on a thread of its own; `done` is called on the event loop. */
  epollWaitAsync(
    fd: number,
    events: number,
    most: number,
    ms: number,
    done: (error: unknown, count: number) => void,
  ): void;
  schedYield(): number;
  eventfd(value: number, flags: number): number;
  setns(fd: number, type: number): number;
  ifNameToIndex(name: string): number;
  errno(): number;
  /** Where memory lies. It must be an ArrayBuffer's or SharedArrayBuffer's, larger than 64 bytes. */
  addressOf(memory: Uint8Array): number;
}

let loaded: Libc | null = null;

/** The C library. Throws a PortError where there is none that could be called. */
export function libc(): Libc {
  loaded ??= bind();
  return loaded;
}

/** Bits of descriptors that are noted, and the most of them. */
let noted: Uint8Array | null = null;

/**
 * Notes in a bitmap which descriptors this thread has open: where a thread dies it cannot close them, and nobody else
 * knows them. See {@link closeNoted}.
 */
export function noteDescriptors(bitmap: Uint8Array): void {
  noted = bitmap;
}

/** Closes what is left of the descriptors that a thread noted. The thread must have ended. */
export function closeNoted(bitmap: Uint8Array): void {
  for (let fd = 0; fd < bitmap.length * 8; fd++) {
    if ((bitmap[fd >> 3] & (1 << (fd & 7))) === 0) continue;
    libc().close(fd);
    bitmap[fd >> 3] &= ~(1 << (fd & 7));
  }
}

/** The same call, whose descriptor is noted. */
function opening<A extends readonly unknown[]>(call: (...args: A) => number): (...args: A) => number {
  return (...args) => {
    const fd = call(...args);
    if (fd >= 0 && noted !== null) noted[fd >> 3] |= 1 << (fd & 7);
    return fd;
  };
}

function closing(call: (fd: number) => number): (fd: number) => number {
  return (fd) => {
    if (noted !== null) noted[fd >> 3] &= ~(1 << (fd & 7));
    return call(fd);
  };
}

function bind(): Libc {
  if (process.platform !== 'linux') {
    throw new PortError('NOT_SUPPORTED', `native ports need Linux, this is ${process.platform}`);
  }
  const koffi = load();
  const library = koffi.load(null);
  const p = 'uintptr_t';
  const int = 'int';
  const epollWait = library.func('epoll_wait', int, [int, p, int, int]);
  // What reads and writes returns fits 31 bits: none of ours is asked for more.
  return {
    open: opening(library.func('open', int, ['str', int])),
    close: closing(library.func('close', int, [int])),
    read: library.func('read', int, [int, p, 'size_t']),
    write: library.func('write', int, [int, p, 'size_t']),
    readv: library.func('readv', int, [int, p, int]),
    writev: library.func('writev', int, [int, p, int]),
    ioctl: library.func('ioctl', int, [int, 'ulong', p]),
    socket: opening(library.func('socket', int, [int, int, int])),
    bind: library.func('bind', int, [int, p, 'uint']),
    getsockname: library.func('getsockname', int, [int, p, p]),
    setsockopt: library.func('setsockopt', int, [int, int, int, p, 'uint']),
    getsockopt: library.func('getsockopt', int, [int, int, int, p, p]),
    sendmmsg: library.func('sendmmsg', int, [int, p, 'uint', int]),
    recvmmsg: library.func('recvmmsg', int, [int, p, 'uint', int, p]),
    epollCreate: opening(library.func('epoll_create1', int, [int])),
    epollControl: library.func('epoll_ctl', int, [int, int, int, p]),
    epollWait,
    epollWaitAsync: (fd, events, most, ms, done) => epollWait.async(fd, events, most, ms, done),
    schedYield: library.func('sched_yield', int, []),
    eventfd: opening(library.func('eventfd', int, ['uint', int])),
    setns: library.func('setns', int, [int, int]),
    ifNameToIndex: library.func('if_nametoindex', 'uint', ['str']),
    errno: () => koffi.errno(),
    addressOf: (memory) => Number(koffi.address(memory)),
  };
}

function load(): typeof import('koffi') {
  try {
    return createRequire(import.meta.url)('koffi');
  } catch (cause) {
    throw new PortError(
      'NOT_INSTALLED',
      'native ports need the package "koffi": run npm install koffi',
      cause,
    );
  }
}
