/** Native ports allocate nothing for a packet: addresses are larger than V8's small integers, and easily boxed. */
import t from 'tap';
import { viewOf } from '../../codecs/bytes.ts';
import { parse } from '../../codecs/ip.ts';
import * as ipv4 from '../../codecs/ipv4.ts';
import * as ipv6 from '../../codecs/ipv6.ts';
import { Batch } from '../../lib/core/batch.ts';
import { createContext, portHost } from '../../lib/core/context.ts';
import { Pool } from '../../lib/core/pool.ts';
import { AfPacketPort } from '../../lib/io/af-packet.ts';
import type { Port } from '../../lib/io/port.ts';
import { RawNativePort } from '../../lib/io/raw-native.ts';
import { TapPort } from '../../lib/io/tap.ts';
import { UdpNativePort } from '../../lib/io/udp-native.ts';
import { hasIpv6 } from '../gen/far-socket.ts';
import { bytesPerPacket, MOST } from '../gen/heap.ts';
import { Namespaces } from '../gen/netns.ts';
import { noNamespaces, noNative, skip } from '../gen/skip.ts';

const BURST = 32;

/** Bytes of heap for each packet that goes from one port to another, which has to receive all. */
async function perPacket(from: Port, to: Port, frame: Uint8Array): Promise<number> {
  const context = createContext({ pool: new Pool({ count: 256 }) });
  const host = portHost(context);
  for (const port of new Set([from, to])) await port.open(host);
  const batch = new Batch();
  let sent = 0;
  const used = bytesPerPacket((packets) => {
    for (let i = 0; i < packets; i += BURST) {
      for (let k = 0; k < BURST; k++) {
        const p = context.pool.take()!;
        p.start = 192;
        p.end = 192 + frame.length;
        p.peer = 0;
        for (let at = 0; at < frame.length; at++) p.bytes[192 + at] = frame[at];
        batch.add(p);
      }
      from.send(batch);
      // What arrives as a train is one packet.
      for (let tries = 0; to.receive(batch) > 0 && tries < BURST; tries++) batch.release();
      sent += BURST;
    }
  }, 512);
  for (const end = performance.now() + 5000; to.stats.rxPackets < sent && performance.now() < end; ) {
    if (to.receive(batch) > 0) batch.release();
  }
  for (const port of new Set([from, to])) await port.close();
  if (to.stats.rxPackets !== sent) throw new Error(`${to.stats.rxPackets} of ${sent} packets arrived`);
  return used;
}

async function loopback(family: 4 | 6): Promise<void> {
  const address = family === 4 ? '127.0.0.1' : '::1';
  await t.test(`udp-native, IPv${family}`, async (t) => {
    for (const segmentation of [true, false]) {
      const port = new UdpNativePort({ address, port: 14_789, segmentation });
      port.peers.set({ address: parse(address), port: 14_789 });
      t.ok((await perPacket(port, port, new Uint8Array(200))) < MOST, `segmentation ${segmentation}`);
    }
  });
  await t.test(`raw-native, IPv${family}`, async (t) => {
    const frame = new Uint8Array(200);
    const { words } = parse(address);
    if (family === 4) ipv4.write(viewOf(frame), 0, 0, 200, 0, ipv4.DF, 64, 50, words[3] | 0, words[3] | 0);
    else ipv6.write(viewOf(frame), 0, 3, 7, 160, 50, 64, words, words);
    const port = new RawNativePort({ address });
    t.ok((await perPacket(port, port, frame)) < MOST);
  });
}

async function devices(): Promise<void> {
  const frame = new Uint8Array(200);
  frame.set([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xb5]);
  await t.test('tap and af-packet, both ways', async (t) => {
    const namespace = new Namespaces(t).addQuiet('here');
    const tap = new TapPort({ name: 'dev0', namespace, persistent: true });
    // A device is there before somebody listens to it.
    await tap.open(portHost(createContext()));
    await tap.close();
    const packet = new AfPacketPort({ device: 'dev0', namespace, bypass: true });
    t.ok((await perPacket(tap, packet, frame)) < MOST, 'from tap to af-packet');
    t.ok((await perPacket(packet, tap, frame)) < MOST, 'from af-packet to tap');
  });
}

const reason = noNamespaces() ?? noNative();
if (reason !== null) skip(t, reason);
else {
  await loopback(4);
  if (await hasIpv6()) await loopback(6);
  else skip(t, 'this machine has no ::1');
  await devices();
}
