/**
 * The networks that a tunnel's end serves, by VNI, and which tunnel endpoints each accepts frames from. It
 * never changes; another list makes another one.
 */
import { NONE } from '../core/packet.ts';
import { mix } from './hash.ts';

export interface Network {
  /** VXLAN network identifier, 0..16777215. */
  readonly vni: number;
  /** Numbers of the endpoints that frames may come from, or all that are known. */
  readonly peers: readonly number[] | 'any-known';
}

const MAX_VNI = 0xffffff;
/** Endpoints are numbered from 0 to here at the most. */
const MAX_PEERS = 0x10000;

export class Networks {
  readonly count: number;
  /** Two words a slot: the VNI, and the network's index + 1 where it is taken. At most half of them are. */
  readonly #slots: Int32Array;
  readonly #mask: number;
  /** A bit for each endpoint of a network, or null where any is right. */
  readonly #peers: (Uint8Array | null)[] = [];

  /** Throws a RangeError for a VNI or an endpoint that is none, and for a VNI that occurs twice. */
  constructor(networks: readonly Network[]) {
    this.count = networks.length;
    const size = 2 ** Math.ceil(Math.log2(Math.max(networks.length * 2, 2)));
    this.#slots = new Int32Array(size * 2);
    this.#mask = size - 1;
    for (const [i, { vni, peers }] of networks.entries()) {
      checkVni('networks', vni);
      if (this.lookup(vni) !== NONE) throw new RangeError(`"networks" names the VNI ${vni} twice`);
      this.#insert(vni, i);
      this.#peers.push(peers === 'any-known' ? null : bitsOf(peers));
    }
  }

  /** The position of a VNI in the list, or NONE. */
  lookup(vni: number): number {
    const slots = this.#slots;
    for (let i = mix(vni) & this.#mask; ; i = (i + 1) & this.#mask) {
      const index = slots[2 * i + 1] - 1;
      if (index < 0 || slots[2 * i] === vni) return index;
    }
  }

  /** Whether the network at a position accepts frames from an endpoint. Nobody is NONE. */
  accepts(index: number, peer: number): boolean {
    if (peer < 0) return false;
    const bits = this.#peers[index];
    if (bits === null) return true;
    const byte = peer >>> 3;
    return byte < bits.length && (bits[byte] & (1 << (peer & 7))) !== 0;
  }

  #insert(vni: number, index: number): void {
    let i = mix(vni) & this.#mask;
    while (this.#slots[2 * i + 1] !== 0) i = (i + 1) & this.#mask;
    this.#slots[2 * i] = vni;
    this.#slots[2 * i + 1] = index + 1;
  }
}

function bitsOf(peers: readonly number[]): Uint8Array {
  for (const peer of peers) checkPeer('peers', peer);
  const bits = new Uint8Array(peers.length === 0 ? 0 : (Math.max(...peers) >>> 3) + 1);
  for (const peer of peers) bits[peer >>> 3] |= 1 << (peer & 7);
  return bits;
}

/** Throws a RangeError that names `field` for a number that is no VNI. */
export function checkVni(field: string, vni: number): void {
  if (Number.isInteger(vni) && vni >= 0 && vni <= MAX_VNI) return;
  throw new RangeError(`"${field}" expected a VNI 0..${MAX_VNI}, got ${vni}`);
}

/** Throws a RangeError that names `field` for what is no number of an endpoint. */
export function checkPeer(field: string, peer: number): void {
  if (Number.isInteger(peer) && peer >= 0 && peer < MAX_PEERS) return;
  throw new RangeError(`"${field}" expected numbers of endpoints, 0..${MAX_PEERS - 1}, got ${peer}`);
}
