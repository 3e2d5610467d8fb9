/**
 * 1,500 TAP devices of one host in one network: all reach each other, and a broadcast reaches all. A kernel bridge
 * ends at 1,024 ports. Behind each device a packet socket speaks for it, past the system's stack, which would need a
 * namespace a device. It takes some 20 s, and 3,100 descriptors (`ulimit -n`).
 */
import { existsSync, readFileSync } from 'node:fs';
import { OverlayWorker } from 'packetweave';
import t from 'tap';
import * as ethernet from '../../codecs/ethernet.ts';
import { Batch } from '../../lib/core/batch.ts';
import { RealClock } from '../../lib/core/clock.ts';
import { createContext, portHost } from '../../lib/core/context.ts';
import { AfPacketPort } from '../../lib/io/af-packet.ts';
import { Namespaces } from '../gen/netns.ts';
import { noNamespaces, skip } from '../gen/skip.ts';

const COUNT = 1500;
const NAMESPACES = 15;
/** How far the devices are apart that speak with each other, in a ring. */
const DISTANCES = [1, 7, 389, 750];
/** A type of frame that the kernel's stack does not take (IEEE 802, local experimental). */
const TYPE = 0x88b5;
const BROADCASTS = 5;

/** The low 32 bits of the MAC address of a device; the high 16 are 02:42. */
const low = (i: number) => 0x0a000000 + i;

function macOf(i: number): Uint8Array {
  const bytes = new Uint8Array(6);
  const v = new DataView(bytes.buffer);
  v.setUint16(0, 0x0242);
  v.setUint32(2, low(i));
  return bytes;
}

/** What speaks for all devices: a packet socket behind each. */
class Stations {
  readonly context = createContext({ clock: new RealClock() });
  /** `from to` of every frame that came to a device, and how often. */
  readonly heard = new Map<string, number>();
  readonly #ports: AfPacketPort[] = [];
  readonly #ready = new Set<number>();
  readonly #batch = new Batch();

  async add(device: string, namespace: string): Promise<void> {
    const port = new AfPacketPort({ device, namespace });
    const i = this.#ports.push(port) - 1;
    await port.open(portHost(this.context, () => void this.#ready.add(i)));
  }

  /** Sends a frame from device `from` to the address of `to`, or to all. */
  send(from: number, to: number | 'all'): void {
    const p = this.context.pool.take()!;
    const [hi, lo] = to === 'all' ? [0xffff, 0xffffffff] : [0x0242, low(to)];
    ethernet.write(p.view, p.start, hi, lo, 0x0242, low(from), TYPE);
    p.end = p.start + 60;
    this.#batch.add(p);
    this.#ports[from].send(this.#batch);
  }

  /** Takes what has come, waiting up to `ms` for it. */
  listen(ms: number): void {
    this.context.poll!.wait(ms);
    for (const i of [...this.#ready]) {
      this.#ready.delete(i);
      const n = this.#ports[i].receive(this.#batch);
      for (let k = 0; k < n; k++) {
        const { view: v, start } = this.#batch.packets[k];
        if (ethernet.etherType(v, start) !== TYPE) continue;
        const all = ethernet.dstHi(v, start) === 0xffff;
        const key = `${ethernet.srcLo(v, start) - low(0)} ${i}${all ? ' all' : ''}`;
        this.heard.set(key, (this.heard.get(key) ?? 0) + 1);
      }
      this.#batch.release();
    }
  }

  /** Listens until so many different frames were heard; false where they do not come. */
  async hears(count: number): Promise<boolean> {
    for (let i = 0; i < 2000 && this.heard.size < count; i++) {
      this.listen(10);
      // The overlay's thread speaks by messages.
      if (i % 10 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    return this.heard.size === count;
  }

  async close(): Promise<void> {
    await Promise.all(this.#ports.map((port) => port.close()));
  }
}

const reason = noNamespaces() ?? (existsSync('/dev/net/tun') ? null : 'there is no /dev/net/tun');
if (reason !== null) skip(t, reason);
else {
  t.test(`${COUNT} TAP devices in one network`, { timeout: 580_000 }, async (t) => {
    const namespaces = new Namespaces(t);
    for (let i = 0; i < NAMESPACES; i++) namespaces.addQuiet(`n${i}`);
    const namespace = (i: number) => namespaces.real(`n${i % NAMESPACES}`);
    const ports = Array.from({ length: COUNT }, (_, i) => ({
      port: { kind: 'tap', name: `tap${i}`, namespace: namespace(i), mac: macOf(i) } as const,
      mac: [...macOf(i)].map((byte) => byte.toString(16).padStart(2, '0')).join(':'),
    }));
    const config = { local: '127.0.0.1', networks: [{ vni: 42, ports }] };
    const node = await OverlayWorker.start(config);
    t.teardown(() => node.stop());
    const stations = new Stations();
    t.teardown(() => stations.close());
    for (let i = 0; i < COUNT; i++) await stations.add(`tap${i}`, namespace(i));

    for (let n = 0; n < BROADCASTS; n++) {
      stations.send(n * 299, 'all');
      t.ok(await stations.hears((n + 1) * (COUNT - 1)), `a broadcast of one reaches all ${COUNT - 1} others`);
    }
    stations.heard.clear();
    for (const distance of DISTANCES) {
      for (let i = 0; i < COUNT; i++) {
        stations.send(i, (i + distance) % COUNT);
        if (i % 32 === 0) stations.listen(0);
      }
    }
    t.ok(await stations.hears(COUNT * DISTANCES.length), 'everybody reaches everybody that it speaks to');
    t.ok(
      [...stations.heard.keys()].every((key) => {
        const [from, to] = key.split(' ').map(Number);
        return DISTANCES.includes((to - from + COUNT) % COUNT);
      }),
      'and nobody hears what is for others',
    );
    const resident = /VmRSS:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1];
    t.comment(`${Math.round(Number(resident) / 1024)} MiB resident, the stations of this test included`);
    t.same(node.drops(), {}, 'nothing was dropped');
  });
}
