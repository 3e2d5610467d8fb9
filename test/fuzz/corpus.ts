/** What fuzzing starts from: frames that are right, and the same frames as a given station would send them. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as arp from '../../codecs/arp.ts';
import { viewOf } from '../../codecs/bytes.ts';
import { readCapture } from '../../codecs/capture-reader.ts';
import { dissect } from '../../codecs/dissect.ts';
import * as ethernet from '../../codecs/ethernet.ts';
import { OK } from '../../codecs/fault.ts';
import * as ip from '../../codecs/ip.ts';
import * as ipv4 from '../../codecs/ipv4.ts';
import * as ipv6 from '../../codecs/ipv6.ts';
import * as layer from '../../codecs/layers.ts';
import * as linktype from '../../codecs/linktype.ts';
import * as mac from '../../codecs/mac.ts';
import * as nd from '../../codecs/nd.ts';
import * as options from '../../codecs/nd-options.ts';
import * as udp from '../../codecs/udp.ts';
import type { Random } from '../../lib/core/random.ts';
import { writeSolicitation } from '../../lib/io/endpoint-answers.ts';
import { fill } from '../gen/checksums.ts';
import { FrameMaker } from '../gen/frames.ts';
import { identity } from '../gen/world.ts';
import { MOST } from './mutate.ts';

/** Captures of other projects, where they lie beside this one. */
const CAPTURES = join(process.cwd(), '../shared/reference/captures');
const GENERATED = 400;

/** A station with one address of each kind. */
export interface Station {
  readonly number: number;
  readonly mac: mac.Mac;
  readonly ip4: number;
  readonly ip6: ip.Ip['words'];
}

/** Station `n`, with the addresses that `identity` declares. */
export function station(n: number): Station {
  const { mac: address, addresses } = identity(n);
  const [four, six] = addresses.map(ip.parse);
  return { number: n, mac: mac.parse(address), ip4: four.words[3], ip6: six.words };
}

/** Frames of every layer that the codecs write, and the Ethernet frames of all captures. */
export function seedFrames(r: Random): Uint8Array[] {
  const maker = new FrameMaker(r);
  const made = Array.from({ length: GENERATED }, () => maker.frame());
  return [...made, ...captured().filter(({ length }) => length > 0 && length <= MOST)];
}

function captured(): Uint8Array[] {
  if (!existsSync(CAPTURES)) return [];
  const files = readdirSync(CAPTURES, { recursive: true, encoding: 'utf8' }).sort();
  return files
    .filter((name) => /\.pcap(ng)?$/.test(name))
    .flatMap((name) => {
      const { packets, interfaces } = readCapture(readFileSync(join(CAPTURES, name)));
      const whole = packets.filter((packet) => interfaces[packet.interface].link === linktype.ETHERNET);
      return whole.map(({ bytes }) => bytes);
    });
}

/** What a station sends to others: the given frames with its addresses, questions for them, large datagrams. */
export function spoken(frames: readonly Uint8Array[], from: Station, to: readonly Station[], r: Random) {
  const pick = () => to[r.below(to.length)];
  const readdressed = frames.map((frame) => readdress(frame.slice(), from, pick(), r));
  const questions = to.flatMap((other) => [request(from, other), solicitation(from, other)]);
  const large = Array.from({ length: frames.length / 10 }, () => datagram(from, pick(), r));
  return [...readdressed, ...questions, ...large];
}

/** Gives the outermost headers the addresses of two stations, and all headers the right checksums. */
function readdress(frame: Uint8Array, from: Station, to: Station, r: Random): Uint8Array {
  const v = viewOf(frame);
  if (ethernet.check(v, 0, frame.length) !== OK) return frame;
  const { hi, lo } = r.chance(0.2) ? mac.BROADCAST : to.mac;
  if (r.chance(0.9)) ethernet.setDst(v, 0, hi, lo);
  ethernet.setSrc(v, 0, from.mac.hi, from.mac.lo);
  const layers = new layer.Layers();
  dissect(v, 0, frame.length, layers);
  for (let i = 0; i < layers.count && layers.kind[i] !== layer.VXLAN; i++) {
    own(v, layers.kind[i], layers.start[i], layers.end[i], from, to);
  }
  // The datagram that a fragment's checksum covers is not there.
  const whole = layers.fault === OK && !layers.fragment;
  for (let i = layers.count - 1; i >= 0; i--) if (whole || layers.kind[i] === layer.IPV4) fill(v, layers, i);
  return frame;
}

function own(v: DataView, kind: layer.Kind, at: number, end: number, from: Station, to: Station): void {
  if (kind === layer.IPV4) {
    ipv4.setSrc(v, at, from.ip4);
    ipv4.setDst(v, at, to.ip4);
  } else if (kind === layer.IPV6) {
    ipv6.setSrc(v, at, ...from.ip6);
    ipv6.setDst(v, at, ...to.ip6);
  } else if (kind === layer.ARP) {
    arp.setSha(v, at, from.mac.hi, from.mac.lo);
    arp.setSpa(v, at, from.ip4);
    arp.setTpa(v, at, to.ip4);
  } else if (kind === layer.ND) {
    for (const type of [options.SOURCE_LINK, options.TARGET_LINK]) {
      const i = nd.option(v, at, end, type);
      if (i >= 0) options.writeLink(v, i, type, from.mac.hi, from.mac.lo);
    }
  }
}

function request(from: Station, to: Station): Uint8Array {
  const bytes = new Uint8Array(60);
  const v = viewOf(bytes);
  ethernet.write(v, 0, 0xffff, 0xffffffff, from.mac.hi, from.mac.lo, ethernet.TYPE_ARP);
  arp.write(v, ethernet.SIZE, arp.REQUEST, from.mac.hi, from.mac.lo, from.ip4, 0, 0, to.ip4);
  return bytes;
}

function solicitation(from: Station, to: Station): Uint8Array {
  const bytes = new Uint8Array(128);
  return bytes.slice(0, writeSolicitation(viewOf(bytes), 0, from.mac, from.ip6, to.ip6));
}

/** UDP of any size, over either family. */
function datagram(from: Station, to: Station, r: Random): Uint8Array {
  const four = r.chance(0.5);
  const l4 = ethernet.SIZE + (four ? ipv4.SIZE : ipv6.SIZE);
  const bytes = new Uint8Array(l4 + udp.SIZE + r.below(MOST - l4 - udp.SIZE));
  const v = viewOf(bytes);
  const type = four ? ethernet.TYPE_IPV4 : ethernet.TYPE_IPV6;
  ethernet.write(v, 0, to.mac.hi, to.mac.lo, from.mac.hi, from.mac.lo, type);
  const length = bytes.length - l4;
  udp.write(v, l4, 4000, r.below(65536), length, 0);
  if (four) {
    const flags = r.chance(0.5) ? ipv4.DF : 0;
    ipv4.write(v, 14, r.below(256), 20 + length, 7, flags, 64, udp.PROTOCOL, from.ip4, to.ip4);
  } else ipv6.write(v, 14, r.below(256), 0, length, udp.PROTOCOL, 64, from.ip6, to.ip6);
  const layers = new layer.Layers();
  dissect(v, 0, bytes.length, layers);
  for (let i = layers.count - 1; i >= 0; i--) fill(v, layers, i);
  return bytes;
}
