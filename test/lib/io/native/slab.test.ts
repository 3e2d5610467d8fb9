/** Memory for native calls: where it lies, and that it stays there. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import t from 'tap';
import { parse } from '../../../../codecs/ip.ts';
import { HEADROOM } from '../../../../lib/core/packet.ts';
import { DebugPool } from '../../../../lib/core/pool.ts';
import * as c from '../../../../lib/io/native/constants.ts';
import { portError } from '../../../../lib/io/native/errors.ts';
import { libc } from '../../../../lib/io/native/libc.ts';
import { IOVEC, Iovecs } from '../../../../lib/io/native/memory.ts';
import { Messages } from '../../../../lib/io/native/messages.ts';
import { addresses, Slab } from '../../../../lib/io/native/slab.ts';
import * as sockaddr from '../../../../lib/io/native/sockaddr.ts';
import { VtepTable } from '../../../../lib/tables/vtep.ts';
import { noNative, skip } from '../../../gen/skip.ts';
import { putTrain } from '../../../gen/trains.ts';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

/** What the kernel finds at an address: it goes through an eventfd, whose count is what was written. */
function peek(address: number): bigint {
  const native = libc();
  const slab = new Slab(128);
  const fd = native.eventfd(0, c.EFD_NONBLOCK);
  native.write(fd, address, 8);
  native.read(fd, slab.address(0), 8);
  native.close(fd);
  return slab.view.getBigUint64(0, true);
}

function slabs(): void {
  t.test('the kernel finds a slab where we say, however much is collected', async (t) => {
    const slab = new Slab(256);
    const at = slab.address(128);
    for (let i = 1n; i <= 20n; i++) {
      slab.view.setBigUint64(128, i, true);
      new Array(10_000).fill(0).map(() => new Uint8Array(32));
      collect();
      if (peek(at) !== i) t.fail('it has moved');
    }
  });

  t.test('places and strings', async (t) => {
    const slab = new Slab(64);
    t.same([slab.reserve(3), slab.reserve(8), slab.reserve(1)], [0, 8, 16], 'aligned to 8');
    t.throws(() => slab.reserve(41), { message: 'a slab of 64 bytes has no room for 41 more' });
    slab.writeString(0, 'tap0');
    slab.bytes[5] = 7;
    t.equal(slab.readString(0, 16), 'tap0');
    t.equal(slab.readString(0, 2), 'ta', 'without an end');
    slab.writeAddress(24, 0x7fff_1234_5678);
    t.equal(slab.view.getBigUint64(24, true), 0x7fff_1234_5678n);
    slab.point(32, 8);
    t.equal(slab.view.getBigUint64(32, true), BigInt(slab.address(8)));
    t.same(addresses(1, 2 ** 40), [1, 2 ** 40]);
  });
}

function structures(): void {
  t.test('iovecs of packets', async (t) => {
    const pool = new DebugPool({ count: 2, slot: 1024 });
    const slab = new Slab(16 * IOVEC + 8);
    const iovecs = new Iovecs(slab, 16);
    const read = (i: number) => {
      const at = iovecs.at + i * IOVEC;
      return [slab.view.getBigUint64(at, true), slab.view.getUint32(at + 8, true)] as const;
    };
    const [, p] = [pool.take()!, pool.take()!];
    p.set(new Uint8Array(40).fill(3));
    p.view.setBigUint64(HEADROOM + 8, 77n, true);
    iovecs.set(0, p, HEADROOM + 8, 8);
    t.equal(peek(Number(read(0)[0])), 77n, 'lie where the packet lies');
    t.equal(iovecs.setFrame(1, p, 10), 2);
    t.equal(read(1)[0], read(0)[0] - 18n);
    t.equal(read(1)[1], 50);
    putTrain(p, [new Uint8Array(20), new Uint8Array(20), new Uint8Array(7)], 5);
    t.equal(iovecs.setFrame(2, p, 0), 5, 'one each where there are gaps');
    const first = BigInt(read(0)[0]) - 8n;
    t.same([2, 3, 4].map(read), [
      [first, 20],
      [first + 25n, 20],
      [first + 50n, 7],
    ]);
    iovecs.setOwn(15, 8, 4);
    t.equal(read(15)[0], BigInt(slab.address(8)));
  });

  t.test('messages: ancillary data, there and back', async (t) => {
    const slab = new Slab(Messages.size(2) + IOVEC + 64);
    const messages = new Messages(slab, 2, new Iovecs(slab, 1));
    messages.sendTo(1, 4096, 16);
    messages.addControl(1, c.IPPROTO_UDP, c.UDP_SEGMENT, 1400, 2);
    messages.addControl(1, c.IPPROTO_IP, c.IP_TOS, 3, 4);
    t.equal(slab.view.getUint16(messages.control(1, c.IPPROTO_UDP, c.UDP_SEGMENT), true), 1400);
    t.equal(slab.view.getInt32(messages.control(1, c.IPPROTO_IP, c.IP_TOS), true), 3);
    t.equal(messages.control(1, c.IPPROTO_IP, c.IP_RECVTOS), -1, 'what is not there');
    t.equal(messages.control(0, c.IPPROTO_IP, c.IP_TOS), -1, 'not of another');
    // A kernel says no such thing, but the loop has to end.
    slab.words[(messages.control(1, c.IPPROTO_UDP, c.UDP_SEGMENT) - 16) >> 2] = 0;
    t.equal(messages.control(1, c.IPPROTO_IP, c.IP_TOS), -1);
  });

  t.test('addresses of sockets', async (t) => {
    const slab = new Slab(128);
    const peers = new VtepTable();
    const four = peers.set({ address: parse('192.0.2.7'), port: 1 });
    const six = peers.set({ address: parse('2001:db8::7'), port: 1 });
    t.equal(sockaddr.write(slab, 0, parse('192.0.2.7'), 4789), 16);
    t.equal(sockaddr.write(slab, 32, parse('2001:db8::7'), 4790), 28);
    t.same([sockaddr.portOf(slab, 0), sockaddr.portOf(slab, 32)], [4789, 4790]);
    t.same([sockaddr.peerOf(slab, 0, peers), sockaddr.peerOf(slab, 32, peers)], [four, six]);
    slab.view.setUint16(32, c.AF_UNIX, true);
    t.equal(sockaddr.peerOf(slab, 32, peers), -1, 'another family');
  });
}

t.test('errors say what to do', async (t) => {
  const one = (errno: number) => portError(errno, '"x" cannot be opened');
  t.match(one(c.EPERM), {
    code: 'PERMISSION',
    message: /^"x" cannot be opened: .*CAP_NET_ADMIN.* \(EPERM\)$/,
  });
  t.match(one(c.ENODEV), { code: 'NO_SUCH_DEVICE' });
  t.match(one(c.EBUSY), { code: 'STATE' });
  t.match(one(c.EINVAL), { code: 'IO', message: '"x" cannot be opened: invalid argument (EINVAL)' });
  t.match(one(9999), { code: 'IO', message: /unknown/i });
});

const reason = noNative();
if (reason !== null) skip(t, reason);
else {
  slabs();
  structures();
}
