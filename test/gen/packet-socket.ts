/**
 * A packet socket (packet(7)) of the tests' own, as plain as there can be: one system call a frame, no header in
 * front, no offloads. It is the far side of ports that are devices: it sees what the device's stack sees.
 */
import * as c from '../../lib/io/native/constants.ts';
import { portError } from '../../lib/io/native/errors.ts';
import { libc } from '../../lib/io/native/libc.ts';
import { inNamespace } from '../../lib/io/native/link.ts';
import { Slab } from '../../lib/io/native/slab.ts';
import { buffer, setter } from '../../lib/io/native/socket-options.ts';

const LARGEST = 65536;
/** Bytes that wait to be read. */
const BUFFER = 32 << 20;

export class PacketSocket {
  readonly #fd: number;
  readonly #slab = new Slab(LARGEST + 64);

  /** Opens a socket on a device of a namespace. */
  constructor(namespace: string, device: string) {
    this.#fd = inNamespace(namespace, () => this.#open(device));
    const set = setter(libc(), this.#fd);
    buffer(set, c.SO_RCVBUFFORCE, c.SO_RCVBUF, BUFFER);
    buffer(set, c.SO_SNDBUFFORCE, c.SO_SNDBUF, BUFFER);
    set(c.SOL_PACKET, c.PACKET_IGNORE_OUTGOING, 1);
    // A device's queue is asleep for a moment after it came up.
    set(c.SOL_PACKET, c.PACKET_QDISC_BYPASS, 1);
  }

  #open(device: string): number {
    const native = libc();
    const { view } = this.#slab;
    const fd = native.socket(c.AF_PACKET, c.SOCK_RAW | c.SOCK_NONBLOCK | c.SOCK_CLOEXEC, 0);
    view.setUint16(0, c.AF_PACKET, true);
    view.setUint16(2, c.ETH_P_ALL);
    view.setInt32(4, native.ifNameToIndex(device), true);
    if (fd < 0 || native.bind(fd, this.#slab.address(0), 20) < 0) {
      throw portError(native.errno(), `no packet socket on ${device}`);
    }
    return fd;
  }

  /** Sends frames; what the device does not take is the device's to count. */
  readonly deliver = (frames: readonly Uint8Array[]): void => {
    for (const frame of frames) {
      this.#slab.bytes.set(frame);
      libc().write(this.#fd, this.#slab.address(0), frame.length);
    }
  };

  /** Takes what came since the last call. */
  readonly collect = (): Uint8Array[] => {
    const got: Uint8Array[] = [];
    for (;;) {
      const n = libc().read(this.#fd, this.#slab.address(0), LARGEST);
      if (n < 0 && libc().errno() !== c.ENETDOWN) return got;
      if (n >= 0) got.push(this.#slab.bytes.slice(0, n));
    }
  };

  readonly close = (): void => {
    libc().close(this.#fd);
  };
}
