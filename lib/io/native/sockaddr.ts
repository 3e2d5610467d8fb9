/** Addresses of sockets: struct sockaddr_in and sockaddr_in6 (linux/in.h, linux/in6.h), in a slab. */
import { type Ip, MAPPED } from '../../../codecs/ip.ts';
import { NONE } from '../../core/packet.ts';
import type { VtepTable } from '../../tables/vtep.ts';
import * as c from './constants.ts';
import type { Slab } from './slab.ts';

const PORT = 2;
const ADDRESS4 = 4;
const ADDRESS6 = 8;

/** Bytes of an address of a family. */
export function sizeOf(family: 4 | 6): number {
  return family === 4 ? 16 : 28;
}

/** Writes an address and returns its length. */
export function write({ view: v, bytes }: Slab, at: number, { family, words }: Ip, port: number): number {
  bytes.fill(0, at, at + sizeOf(family));
  v.setUint16(at, family === 4 ? c.AF_INET : c.AF_INET6, true);
  v.setUint16(at + PORT, port);
  if (family === 4) v.setUint32(at + ADDRESS4, words[3]);
  else for (let i = 0; i < 4; i++) v.setUint32(at + ADDRESS6 + 4 * i, words[i]);
  return sizeOf(family);
}

/** The port of an address. */
export function portOf({ view }: Slab, at: number): number {
  return view.getUint16(at + PORT);
}

/** The number of an address in a table, whatever its port; NONE where it is not there. */
export function peerOf({ view: v }: Slab, at: number, peers: VtepTable): number {
  const family = v.getUint16(at, true);
  if (family === c.AF_INET) return peers.lookup(0, 0, MAPPED, v.getInt32(at + ADDRESS4));
  if (family !== c.AF_INET6) return NONE;
  return peers.lookup(
    v.getInt32(at + ADDRESS6),
    v.getInt32(at + ADDRESS6 + 4),
    v.getInt32(at + ADDRESS6 + 8),
    v.getInt32(at + ADDRESS6 + 12),
  );
}
