/** What may come out of an overlay, given what was put in, and a hash of what did. */
import { u24 } from '../../codecs/bytes.ts';
import * as esp from '../../codecs/esp.ts';
import * as ethernet from '../../codecs/ethernet.ts';
import * as vxlan from '../../codecs/vxlan.ts';
import type { Packet } from '../../lib/core/packet.ts';
import type { Station } from './corpus.ts';
import { type Door, type Exit, OUTSIDER, STRANGER } from './ends.ts';
import { type Fabric, GUARDED, SECRET, STATIC } from './fabric.ts';
import { carries, leadOf } from './outer.ts';
import type { Round } from './round.ts';

/** The first word of fe80::/64. */
const LINK_LOCAL = 0xfe800000;

/** Watches one world of one kind. */
export class Judge {
  hash = 0;
  /** Packets that came out. */
  seen = 0;
  readonly #round: Round;
  readonly #doors: readonly Door[];

  constructor(round: Round, fabric: Fabric) {
    this.#round = round;
    this.#doors = fabric.ends.doors;
  }

  /** Takes notice of a packet that comes out. */
  readonly note = (p: Packet, exit: Exit): void => {
    this.seen++;
    this.hash = hashOf(this.hash, p, exit);
  };

  /** Takes notice of a packet that comes out and throws an Error where it may not. */
  readonly see = (p: Packet, exit: Exit): void => {
    this.note(p, exit);
    if (exit.esp && this.#isKeepalive(p)) return;
    const door = this.#doors[this.#round.door];
    if (door.vni !== null) this.#local(p, exit, door);
    else if (door.esp) fail(`something came out at ${exit.name} that nobody with keys has sent`);
    else this.#tunnelled(p, exit, door);
  };

  /** Whether it is what hosts send on the underlay of encrypted networks although nothing was put in. */
  #isKeepalive({ view: v, start, end }: Packet): boolean {
    const at = start + leadOf(this.#round.kind, true);
    return esp.carried(v, at, end) === esp.CARRIED_KEEPALIVE;
  }

  #tunnelled({ view: v, start }: Packet, { name, door }: Exit, { from }: Door): void {
    if (door === null) fail(`a frame came out of a tunnel and went into one at ${name}`);
    const refused = from === OUTSIDER || (from === STRANGER && door.vni === STATIC);
    if (refused) fail(`a frame of host ${from}, which is no remote, came out at ${name}`);
    if (door.vni === SECRET) fail(`a frame in clear came out at ${name}`);
    const { frames, count, kind } = this.#round;
    for (let i = 0; i < count; i++) if (carries(frames[i], kind, door.vni!, v, start)) return;
    fail(`a frame that nobody sent into the network came out at ${name}`);
  }

  #local(p: Packet, exit: Exit, from: Door): void {
    const { view: v, start } = p;
    if (exit.door === null && exit.host !== null && exit.host !== from.host) fail(`a loop at ${exit.name}`);
    if (exit.esp) {
      this.#encrypted(p, exit, from);
      return;
    }
    const lead = leadOf(this.#round.kind, false);
    const vni = exit.door === null ? u24(v, start + lead + 4) : exit.door.vni;
    if (vni !== from.vni) fail(`a frame from ${from.name} in network ${vni} at ${exit.name}`);
    if (vni === SECRET && exit.door === null) fail(`a frame from ${from.name} in clear at ${exit.name}`);
    const guarded = vni === GUARDED || vni === SECRET;
    if (!guarded || exit.door === from) return;
    const at = exit.door === null ? start + lead + vxlan.SIZE : start;
    if (!speaksFor(from.station!, v, at))
      fail(`a frame from ${from.name} with another source at ${exit.name}`);
  }

  /** The source, which is guarded, is nowhere to be read. */
  #encrypted({ view: v, start, end }: Packet, exit: Exit, from: Door): void {
    if (from.vni !== SECRET) fail(`a frame from ${from.name} was encrypted at ${exit.name}`);
    const { hi, lo } = from.station!.mac;
    for (let i = start; i + 6 <= end; i++) {
      const clear = v.getUint16(i) === hi && v.getUint32(i + 2) === lo;
      if (clear) fail(`a frame from ${from.name} in clear at ${exit.name}`);
    }
  }
}

/** Whether the source addresses of an untagged frame are a station's, or those of one that has none yet. */
function speaksFor({ mac, ip4, ip6 }: Station, v: DataView, at: number): boolean {
  const isOwnMac = (i: number) => v.getUint16(i) === mac.hi && v.getUint32(i + 2) === mac.lo;
  const isOwn4 = (i: number) => v.getUint32(i) === ip4 || v.getUint32(i) === 0;
  const net = at + ethernet.SIZE;
  if (!isOwnMac(at + 6)) return false;
  switch (ethernet.etherType(v, at)) {
    case ethernet.TYPE_ARP:
      return isOwnMac(net + 8) && isOwn4(net + 14);
    case ethernet.TYPE_IPV4:
      return isOwn4(net + 12);
    case ethernet.TYPE_IPV6: {
      const [a, , , d] = ip6;
      const [first, last] = [v.getUint32(net + 8), v.getUint32(net + 20)];
      return (first === a && last === d) || first === LINK_LOCAL || first + last === 0;
    }
    default:
      return true;
  }
}

/** Of what is encrypted only the length counts: the worlds have other keys. */
function hashOf(before: number, { view: v, start, end }: Packet, exit: Exit): number {
  let h = Math.imul(before ^ (exit.number << 16) ^ (end - start), 0x01000193);
  if (exit.esp) return h;
  let i = start;
  for (; i + 4 <= end; i += 4) h = Math.imul(h ^ (h >>> 15) ^ v.getInt32(i), 0x01000193);
  for (; i < end; i++) h = Math.imul(h ^ v.getUint8(i), 0x01000193);
  return h;
}

export function fail(finding: string): never {
  throw new Error(finding);
}
