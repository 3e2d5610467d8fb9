/**
 * VXLAN, RFC 7348 section 5.
 *
 *      0                   1                   2                   3
 *      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *     +-+-+-+-+-+-+-+-+-----------------------------------------------+
 *     |R|R|R|R|I|R|R|R|            Reserved                           |
 *     +-+-+-+-+-+-+-+-+-----------------------------------------------+
 *     |          VXLAN Network Identifier (VNI)       |   Reserved    |
 *     +-----------------------------------------------+---------------+
 *
 * Odd: reserved bits are sent as zero and ignored on receipt, but Linux, VPP and OVS drop frames that carry
 * them; {@link reservedBits} lets a caller choose. Two extensions reuse them: GPE (draft-ietf-nvo3-vxlan-gpe,
 * UDP port 4790) sets P (0x04) and puts the next protocol into the last reserved byte of the first word; GBP
 * (draft-smith-vxlan-group-policy) sets G (0x80) and puts a policy group into the last 16 of those bits.
 */
import { u24 as readU24, setU24 } from './bytes.ts';
import { type Fault, OK, SHORT, TYPE } from './fault.ts';
import { type Layout, struct, u8, u24 } from './layout.ts';

export const layout: Layout = struct(u8('flags'), u24('reserved'), u24('vni'), u8('reserved2'));

const FLAGS = layout.offsetOf('flags');
const RESERVED = layout.offsetOf('reserved');
const VNI = layout.offsetOf('vni');
const RESERVED2 = layout.offsetOf('reserved2');

/** Bytes of the header. */
export const SIZE = layout.span;
/** UDP destination port (RFC 7348 section 8). */
export const PORT = 4789;
/** UDP destination port that Linux used before the assignment. */
export const PORT_LINUX = 8472;
/** UDP destination port of VXLAN-GPE. */
export const PORT_GPE = 4790;
/** The largest VXLAN network identifier. */
export const MAX_VNI = 0xffffff;

/** I: the VNI is valid. Always set in VXLAN. */
export const FLAG_VNI = 0x08;
/** P: VXLAN-GPE, a next protocol is given. */
export const FLAG_GPE = 0x04;
/** G: VXLAN-GBP, a group policy is given. */
export const FLAG_GBP = 0x80;

/** OK for a whole header with a valid VNI; TYPE where the I flag is clear or the frame is VXLAN-GPE. */
export function check(v: DataView, at: number, end: number): Fault {
  if (end - at < SIZE) return SHORT;
  return (v.getUint8(at + FLAGS) & (FLAG_VNI | FLAG_GPE)) === FLAG_VNI ? OK : TYPE;
}

export function flags(v: DataView, at: number): number {
  return v.getUint8(at + FLAGS);
}

/** VXLAN network identifier, 24 bits. */
export function vni(v: DataView, at: number): number {
  return readU24(v, at + VNI);
}

/** All bits that RFC 7348 reserves, or-ed together: 0 in a frame that even a strict receiver accepts. */
export function reservedBits(v: DataView, at: number): number {
  return (v.getUint32(at + FLAGS) & ~(FLAG_VNI << 24)) | v.getUint8(at + RESERVED2);
}

/** The next protocol of a GPE header, undefined in meaning unless {@link FLAG_GPE} is set. */
export function nextProtocol(v: DataView, at: number): number {
  return v.getUint8(at + RESERVED + 2);
}

/** The policy group of a GBP header, undefined in meaning unless {@link FLAG_GBP} is set. */
export function groupPolicy(v: DataView, at: number): number {
  return v.getUint16(at + RESERVED + 1);
}

export function setFlags(v: DataView, at: number, flags: number): void {
  v.setUint8(at + FLAGS, flags);
}

export function setVni(v: DataView, at: number, vni: number): void {
  setU24(v, at + VNI, vni);
}

/** Writes the whole header as RFC 7348 asks: I set, everything reserved zero. */
export function write(v: DataView, at: number, vni: number): void {
  v.setUint32(at + FLAGS, FLAG_VNI << 24);
  v.setUint32(at + VNI, vni << 8);
}

/** A decoded header, for people and tools. */
export interface Vxlan {
  flags: number;
  reserved: number;
  vni: number;
  reserved2: number;
}

export function decode(v: DataView, at: number): Vxlan {
  return layout.decode(v, at) as unknown as Vxlan;
}

/** Writes a decoded header, reserved bits as given; the cold twin of {@link write}. */
export function encode(fields: Vxlan, v: DataView, at: number): void {
  layout.encode({ ...fields }, v, at);
}

/** `VXLAN, flags [I] (0x08), vni 100`, as tcpdump prints it; GPE and GBP are named. */
export function format(v: DataView, at: number): string {
  const f = flags(v, at);
  const digits = `0x${f.toString(16).padStart(2, '0')}`;
  if ((f & FLAG_GPE) !== 0)
    return `VXLAN-GPE, flags (${digits}), next protocol ${nextProtocol(v, at)}, vni ${vni(v, at)}`;
  const group = (f & FLAG_GBP) !== 0 ? `, group policy ${groupPolicy(v, at)}` : '';
  return `VXLAN, flags [${(f & FLAG_VNI) !== 0 ? 'I' : '.'}] (${digits})${group}, vni ${vni(v, at)}`;
}
