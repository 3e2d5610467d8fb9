/**
 * LLC, IEEE 802.2 section 3, and the SNAP header behind it, IEEE 802 section 9: what an 802.3 frame with a
 * length instead of an EtherType carries.
 *
 *      0                   1                   2                   3
 *      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *     +---------------+---------------+---------------+---------------+
 *     |     DSAP      |     SSAP      |    Control    |      OUI      |
 *     +---------------+---------------+---------------+---------------+
 *     |          OUI, continued       |          Protocol id          |
 *     +-------------------------------+-------------------------------+
 *
 * Odd: the OUI and the protocol id are there only where both SAPs are 0xaa and the frame is unnumbered
 * information (control 3). With OUI 0 the protocol id is an EtherType (RFC 1042). The control field of frames
 * that are numbered has a second byte, which counts as payload here.
 */
import { u24 as readU24 } from './bytes.ts';
import { formatType } from './ethernet.ts';
import { type Fault, OK, SHORT } from './fault.ts';
import { type Layout, struct, u8, u16, u24 } from './layout.ts';

export const layout: Layout = struct(u8('dsap'), u8('ssap'), u8('control'));
/** The same with SNAP. */
export const snapLayout: Layout = struct(u8('dsap'), u8('ssap'), u8('control'), u24('oui'), u16('protocol'));

const OUI = snapLayout.offsetOf('oui');
const PROTOCOL = snapLayout.offsetOf('protocol');

/** Bytes of the header without SNAP. */
export const SIZE = layout.span;
/** Bytes of the header with SNAP. */
export const SNAP_SIZE = snapLayout.span;

/** SAP of spanning trees (IEEE 802.1D). */
export const SAP_STP = 0x42;
export const SAP_SNAP = 0xaa;
/** Control field of unnumbered information. */
export const UI = 3;

/** Proves a whole header, with SNAP where the SAPs announce it. */
export function check(v: DataView, at: number, end: number): Fault {
  if (end - at < SIZE) return SHORT;
  return end - at < headerLength(v, at) ? SHORT : OK;
}

/** Bytes of the header: 3, or 8 with SNAP. */
export function headerLength(v: DataView, at: number): number {
  return isSnap(v, at) ? SNAP_SIZE : SIZE;
}

/** Destination service access point; its lowest bit says "group". */
export function dsap(v: DataView, at: number): number {
  return v.getUint8(at);
}

/** Source service access point; its lowest bit says "response". */
export function ssap(v: DataView, at: number): number {
  return v.getUint8(at + 1);
}

/** First byte of the control field. */
export function control(v: DataView, at: number): number {
  return v.getUint8(at + 2);
}

/** Whether a SNAP header follows. */
export function isSnap(v: DataView, at: number): boolean {
  return v.getUint16(at) === 0xaaaa && control(v, at) === UI;
}

/** The SNAP header's organization, 24 bits. */
export function oui(v: DataView, at: number): number {
  return readU24(v, at + OUI);
}

/** The SNAP header's protocol id; an EtherType where {@link oui} is 0. */
export function protocol(v: DataView, at: number): number {
  return v.getUint16(at + PROTOCOL);
}

/** The EtherType that a SNAP header names, or -1. */
export function etherType(v: DataView, at: number): number {
  return isSnap(v, at) && oui(v, at) === 0 ? protocol(v, at) : -1;
}

/** Writes a header with SNAP that names an EtherType (RFC 1042). */
export function write(v: DataView, at: number, etherType: number): void {
  v.setUint32(at, 0xaaaa0300);
  v.setUint16(at + OUI + 1, 0);
  v.setUint16(at + PROTOCOL, etherType);
}

/** A decoded header, for people and tools. */
export interface Llc {
  dsap: number;
  ssap: number;
  control: number;
  oui?: number;
  protocol?: number;
}

export function decode(v: DataView, at: number): Llc {
  return (isSnap(v, at) ? snapLayout : layout).decode(v, at) as unknown as Llc;
}

/** Writes a decoded header; the cold twin of {@link write}. */
export function encode(fields: Llc, v: DataView, at: number): void {
  (fields.oui === undefined ? layout : snapLayout).encode({ ...fields }, v, at);
}

const NAMES: Record<number, string> = { [SAP_STP]: 'STP', [SAP_SNAP]: 'SNAP' };

/**
 * `LLC, dsap STP (0x42) Individual, ssap STP (0x42) Command, ctrl 0x03`, as tcpdump prints it; with SNAP
 * `: oui Ethernet (0x000000), ethertype IPv4 (0x0800)` behind that.
 */
export function format(v: DataView, at: number): string {
  const to = `dsap ${sap(dsap(v, at))} ${(dsap(v, at) & 1) === 0 ? 'Individual' : 'Group'}`;
  const from = `ssap ${sap(ssap(v, at))} ${(ssap(v, at) & 1) === 0 ? 'Command' : 'Response'}`;
  const text = `LLC, ${to}, ${from}, ctrl 0x${digits(control(v, at), 2)}`;
  if (!isSnap(v, at)) return text;
  const id = protocol(v, at);
  if (oui(v, at) !== 0)
    return `${text}: oui Unknown (0x${digits(oui(v, at), 6)}), pid Unknown (0x${digits(id, 4)})`;
  return `${text}: oui Ethernet (0x000000), ${formatType(id)}`;
}

function sap(value: number): string {
  const address = value & 0xfe;
  return `${NAMES[address] ?? 'Unknown'} (0x${digits(address, 2)})`;
}

const digits = (value: number, count: number) => value.toString(16).padStart(count, '0');
