/**
 * IP addresses for configuration and tables. On the packet path an IPv4 address is one unsigned 32-bit
 * number and an IPv6 address four, or an offset. Tables that hold both keep four words, IPv4 as
 * ::ffff:a.b.c.d (RFC 4291 section 2.5.5.2).
 */

/** An address of either family. */
export interface Ip {
  readonly family: 4 | 6;
  /** Four words of 32 bits, unsigned. IPv4 is `[0, 0, 0xffff, address]`. */
  readonly words: readonly [number, number, number, number];
}

/** Third word of an IPv4-mapped address. */
export const MAPPED = 0xffff;

/** Reads dotted IPv4 or any RFC 4291 form of IPv6. Throws a TypeError for anything else. */
export function parse(text: string): Ip {
  const v4 = parse4(text);
  if (v4 !== null) return { family: 4, words: [0, 0, MAPPED, v4] };
  const words = parse6(text);
  if (words === null) throw new TypeError(`expected an IPv4 or IPv6 address, got "${text}"`);
  return { family: 6, words };
}

function parse4(text: string): number | null {
  const match = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(text);
  if (match === null) return null;
  let address = 0;
  for (let i = 1; i <= 4; i++) {
    const octet = Number(match[i]);
    if (octet > 255 || match[i] !== String(octet)) return null;
    address = address * 256 + octet;
  }
  return address;
}

function parse6(text: string): [number, number, number, number] | null {
  const halves = text.split('::');
  if (halves.length > 2) return null;
  const [head, tail] = halves.map((side, i) => groups(side, i === halves.length - 1));
  if (head === null || tail === null) return null;
  const given = head.length + (tail?.length ?? 0);
  if (tail === undefined ? given !== 8 : given > 7) return null;
  const all = [...head, ...new Array<number>(8 - given).fill(0), ...(tail ?? [])];
  const word = (i: number) => all[i] * 0x10000 + all[i + 1];
  return [word(0), word(2), word(4), word(6)];
}

/** The 16-bit groups of one side of `::`; the last group of the address may be dotted IPv4. Null where one is
 * malformed. */
function groups(side: string, last: boolean): number[] | null {
  if (side === '') return [];
  const out: number[] = [];
  const parts = side.split(':');
  for (const [i, part] of parts.entries()) {
    const v4 = last && i === parts.length - 1 ? parse4(part) : null;
    if (v4 !== null) out.push(v4 >>> 16, v4 & 0xffff);
    else if (/^[0-9a-f]{1,4}$/i.test(part)) out.push(Number.parseInt(part, 16));
    else return null;
  }
  return out;
}

/** `10.0.0.1`. */
export function format4(address: number): string {
  return `${address >>> 24}.${(address >>> 16) & 0xff}.${(address >>> 8) & 0xff}.${address & 0xff}`;
}

/** `2001:db8::1`, in the canonical form of RFC 5952. */
export function format6(a: number, b: number, c: number, d: number): string {
  if (a === 0 && b === 0 && c === MAPPED) return `::ffff:${format4(d)}`;
  const all = [a, b, c, d].flatMap((word) => [word >>> 16, word & 0xffff]);
  let best = -1;
  let length = 1; // a single group of zeros is not shortened (section 4.2.2)
  for (let i = 0; i < 8; i++) {
    let n = 0;
    while (i + n < 8 && all[i + n] === 0) n++;
    if (n > length) [best, length] = [i, n];
  }
  const text = (part: number[]) => part.map((group) => group.toString(16)).join(':');
  return best < 0 ? text(all) : `${text(all.slice(0, best))}::${text(all.slice(best + length))}`;
}

/** An address in the form that its family prints. */
export function format(address: Ip): string {
  return address.family === 4 ? format4(address.words[3]) : format6(...address.words);
}

/** The four words of an IPv6 address that lies in a packet, as an {@link Ip}. Allocates. */
export function read6(v: DataView, at: number): Ip {
  return {
    family: 6,
    words: [v.getUint32(at), v.getUint32(at + 4), v.getUint32(at + 8), v.getUint32(at + 12)],
  };
}
