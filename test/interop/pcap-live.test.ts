/** Live capture through libpcap: real datagrams on the loopback device, and a cable between two devices. */
import dgram from 'node:dgram';
import { once } from 'node:events';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import t from 'tap';
import * as ethernet from '../../codecs/ethernet.ts';
import * as ipv4 from '../../codecs/ipv4.ts';
import * as udp from '../../codecs/udp.ts';
import { Batch } from '../../lib/core/batch.ts';
import { PORT_ERROR, PORT_FULL, TOO_BIG } from '../../lib/core/drop.ts';
import { DebugPool } from '../../lib/core/pool.ts';
import { PcapLive, type PcapLiveOptions } from '../../lib/io/pcap-live.ts';
import { ETHERNET } from '../../lib/io/port.ts';
import { testContext, testHost } from '../gen/context.ts';
import { Namespaces } from '../gen/netns.ts';
import { has, noNamespaces, skip } from '../gen/skip.ts';
import { FarPort, portConformance, type Rig } from '../lib/io/conformance.ts';

/** Why nothing can be captured here, or null. */
function noCapture(): string | null {
  if (process.getuid?.() !== 0) return 'live capture needs root';
  try {
    createRequire(import.meta.url)('cap');
  } catch {
    return 'the package "cap" is not installed';
  }
  return null;
}

/** An open port on the loopback device, a socket that sends there, and what was received. */
class Listening {
  readonly context = testContext();
  readonly port: PcapLive;
  readonly socket = dgram.createSocket('udp4');
  readonly batch = new Batch();
  readonly frames: Buffer[] = [];
  wakes = 0;

  constructor(options: Partial<PcapLiveOptions> = {}) {
    this.port = new PcapLive({ device: 'lo', ...options });
  }

  async open(): Promise<this> {
    await this.port.open(testHost(this.context, () => this.wakes++));
    this.socket.bind(0, '127.0.0.1');
    await once(this.socket, 'listening');
    return this;
  }

  /** Sends a datagram and gives the event loop a turn. */
  async send(text: string, port = 9): Promise<void> {
    this.socket.send(text, port, '127.0.0.1');
    await new Promise((resolve) => setImmediate(resolve));
  }

  /** Receives until there are `count` frames, for ten seconds at the most. */
  async until(count: number): Promise<void> {
    const end = performance.now() + 10_000;
    while (this.frames.length < count && performance.now() < end) {
      await new Promise((resolve) => setImmediate(resolve));
      this.port.receive(this.batch);
      for (let i = 0; i < this.batch.length; i++)
        this.frames.push(Buffer.from(this.batch.packets[i].frame()));
      this.batch.release();
    }
  }

  async close(): Promise<void> {
    this.socket.close();
    await this.port.close();
  }
}

/** A datagram's payload, where the frame holds one over IPv4. */
function payload(frame: Buffer): string {
  const v = new DataView(frame.buffer, frame.byteOffset, frame.length);
  return frame.toString('latin1', ethernet.SIZE + ipv4.headerLength(v, ethernet.SIZE) + udp.SIZE);
}

/** A frame that no stack takes for itself. */
function local(length: number): Buffer {
  const frame = Buffer.alloc(length, 7);
  ethernet.write(new DataView(frame.buffer, frame.byteOffset), 0, 0x0200, 1, 0x0200, 2, 0x88b5);
  return frame;
}

async function loopback(): Promise<void> {
  await t.test('receives datagrams of the loopback device', async (t) => {
    const l = await new Listening({ filter: 'udp dst port 9' }).open();
    t.equal(l.port.medium, ETHERNET);
    const texts = Array.from({ length: 100 }, (_, i) => `datagram ${i}`);
    for (const text of texts) {
      await l.send(text);
      await l.send('for somebody else', 10);
    }
    await l.until(100);
    t.same(l.frames.map(payload), texts);
    t.ok(l.wakes > 0);
    t.same([l.port.stats.rxPackets, l.port.stats.dropped, l.port.cut], [100, 0, 0]);
    await l.close();
    t.equal(l.context.pool.used, 0);
  });

  await t.test('cuts at the snap length, and drops what does not fit', async (t) => {
    const l = await new Listening({ filter: 'udp dst port 9', snaplen: 64 }).open();
    await l.send('x'.repeat(500));
    await l.until(1);
    t.same([l.frames[0]?.length, l.port.cut], [64, 1]);
    await l.close();
    const big = await new Listening({ filter: 'udp dst port 9', promiscuous: false }).open();
    await big.send('x'.repeat(3000));
    await big.send('small');
    await big.until(1);
    t.same(big.frames.map(payload), ['small']);
    t.equal(big.port.stats.droppedFor(TOO_BIG), 1);
    await big.close();
    const full = await new Listening({ filter: 'udp dst port 9', capacity: 2 }).open();
    for (let i = 0; i < 5; i++) await full.send(`${i}`);
    const end = performance.now() + 10_000;
    while (full.port.stats.droppedFor(PORT_FULL) < 3 && performance.now() < end) {
      await new Promise((resolve) => setImmediate(resolve));
    }
    await full.until(2);
    t.same(full.frames.map(payload), ['0', '1']);
    t.equal(full.port.stats.droppedFor(PORT_FULL), 3);
    await full.close();
  });

  await t.test('sends frames', async (t) => {
    const l = await new Listening({ filter: 'ether proto 0x88b5', mtu: 65549 }).open();
    for (const length of [60, 1514, 0])
      l.batch.add(l.context.pool.take()!.set(local(1514).subarray(0, length)));
    l.port.send(l.batch);
    await l.until(2);
    t.same(
      l.frames.map((frame) => frame.length),
      [60, 1514],
    );
    t.same(
      [l.port.stats.txPackets, l.port.stats.droppedFor(PORT_ERROR)],
      [2, 1],
      'an empty frame is refused',
    );
    await l.close();
    t.equal(l.context.pool.used, 0);
  });

  await t.test('says what is missing', async (t) => {
    const refused = (options: Partial<PcapLiveOptions>, code: string, message: RegExp) =>
      t.rejects(new Listening(options).open(), { name: 'PortError', code, message });
    await refused(
      { device: 'nosuch0' },
      'NO_SUCH_DEVICE',
      /^there is no device "nosuch0"; there are: .*\blo\b/,
    );
    await refused(
      { device: 'any' },
      'NOT_SUPPORTED',
      /"any" gives frames of LINKTYPE_LINUX_SLL: open the dev/,
    );
    await refused(
      { filter: 'udp port' },
      'NOT_SUPPORTED',
      /^the filter "udp port" is not understood: .*syntax/,
    );
    process.seteuid!(65534);
    try {
      await refused({}, 'PERMISSION', /^capturing on "lo" is not permitted: run as root, or/);
    } finally {
      process.seteuid!(0);
    }
  });

  await t.test('works on the main thread alone', async (t) => {
    const code = `
      import { parentPort } from 'node:worker_threads';
      const { PcapLive } = await import(${JSON.stringify(new URL('../../lib/io/pcap-live.ts', import.meta.url).href)});
      new PcapLive({ device: 'lo' }).open({}).catch((error) => parentPort.postMessage([error.code, error.message]));
    `;
    const url = new URL(`data:text/javascript,${encodeURIComponent(code)}`);
    const worker = new Worker(url);
    const [message] = await once(worker, 'message');
    t.match(message, ['NOT_SUPPORTED', /works on the main thread alone/]);
    await worker.terminate();
  });
}

/** Turns off TSO, UFO, GSO and GRO of devices, with which libpcap takes 128 KiB for each frame. */
const PLAIN = `
import ctypes, fcntl, socket, struct, sys
s = socket.socket()
for device in sys.argv[1:]:
    for command in (0x1f, 0x22, 0x24, 0x2c):
        value = ctypes.create_string_buffer(struct.pack('II', command, 0))
        try: fcntl.ioctl(s, 0x8946, struct.pack('16sP16x', device.encode(), ctypes.addressof(value)))
        except OSError: pass
`;

/** The common contract, over a cable between two devices of this network namespace. */
function conformance(): void {
  const filter = 'ether proto 0x88b5';
  portConformance(t, 'pcap live', async ({ clock }): Promise<Rig> => {
    const pool = new DebugPool({ count: 4096 });
    const far = new FarPort(new PcapLive({ device: 'pw1', filter, capacity: 4096 }), { pool, clock });
    await far.open();
    const port = new PcapLive({ device: 'pw0', filter });
    return { port, deliver: far.deliver, collect: far.collect, close: far.close };
  });
}

t.test('without the package it says how to get it', async (t) => {
  const port = new PcapLive({ device: 'lo' }, () => {
    throw new Error('Cannot find module');
  });
  await t.rejects(port.open(testHost(testContext())), {
    code: 'NOT_INSTALLED',
    message: /needs the package "cap": install libpcap's headers \(libpcap-dev\), then run: npm install cap/,
  });
});

t.test('options are checked', async (t) => {
  const refuse = (options: Partial<PcapLiveOptions>, message: RegExp) =>
    t.throws(() => new PcapLive({ device: 'lo', ...options }), { message });
  refuse({ device: '' }, /"device" expected the name of a network device/);
  refuse({ snaplen: 63 }, /"snaplen" expected an integer 64\.\.65535, got 63/);
  refuse({ bufferSize: 1 }, /"bufferSize" expected an integer/);
  refuse({ mtu: 1e6 }, /"mtu" expected an integer 64\.\.65549/);
  refuse({ capacity: 3 }, /"capacity" expected a power of two/);
});

const missing = noCapture();
if (process.env.PACKETWEAVE_CABLE === 'yes') conformance();
else if (missing !== null) skip(t, missing);
else {
  await loopback();
  const noNetwork = noNamespaces() ?? (has('python3') ? null : 'python3 is not installed');
  if (noNetwork !== null) skip(t, noNetwork);
  else {
    const namespaces = new Namespaces(t);
    namespaces.add('cable');
    namespaces.run('cable', 'ip link add pw0 type veth peer name pw1');
    for (const device of ['pw0', 'pw1']) {
      // Without an address libpcap prints a warning each time.
      namespaces.run('cable', `ip address add 192.0.2.${device.slice(2)}/24 dev ${device}`);
      namespaces.run('cable', `ip link set ${device} up`);
    }
    namespaces.run('cable', `python3 -c "${PLAIN}" pw0 pw1`);
    const node = [process.execPath, ...process.execArgv, fileURLToPath(import.meta.url)];
    const env = { ...process.env, PACKETWEAVE_CABLE: 'yes' };
    await t.spawn(
      'ip',
      ['netns', 'exec', namespaces.real('cable'), ...node],
      { env, timeout: 60_000 },
      'over a cable',
    );
  }
}
