/**
 * Header layouts, stated once with `buffer-layout`. A codec takes its offset constants from the layout
 * (`layout.offsetOf('srcPort')`) and uses `decode`/`encode` only for people, tests and tools.
 *
 * `buffer-layout` speaks Node's Buffer. The codecs speak DataView and run in browsers too, so the few
 * Buffer methods that it calls are lent to it here over a DataView.
 */
import * as bl from 'buffer-layout';

/** Decoded fields: numbers, or lists of numbers for `words`. */
export type Fields = Record<string, number | number[]>;

/** One header: where its fields lie, and the slow way to read and write them all. */
export interface Layout {
  /** Size in bytes. */
  readonly span: number;
  /** Offset of a field in bytes from the start of the header. Throws a TypeError for an unknown name. */
  offsetOf(name: string): number;
  decode(v: DataView, at: number): Fields;
  /** Writes the named fields and leaves the others as they are. */
  encode(fields: Fields, v: DataView, at: number): void;
}

/** A field of a layout. Opaque: made by the functions below. */
export type Field = { readonly item: bl.Layout; readonly name: string; readonly parts?: readonly string[] };

export const u8 = (name: string): Field => ({ item: bl.u8(name), name });
/** Unsigned, big-endian unless the name says otherwise: network byte order. */
export const u16 = (name: string): Field => ({ item: bl.u16be(name), name });
export const u24 = (name: string): Field => ({ item: bl.u24be(name), name });
export const u32 = (name: string): Field => ({ item: bl.u32be(name), name });
/** 48 bits: a MAC address as one number. */
export const u48 = (name: string): Field => ({ item: bl.u48be(name), name });
export const u16le = (name: string): Field => ({ item: bl.u16(name), name });
export const u32le = (name: string): Field => ({ item: bl.u32(name), name });
/** `count` 32-bit words: an IPv6 address is four. */
export const words = (name: string, count: number): Field => ({
  item: bl.seq(bl.u32be(), count, name),
  name,
});

/**
 * Bit fields in one big-endian word of 8, 16 or 32 bits, the most significant first.
 * `name` is the word's own name, for `offsetOf`; the parts appear by their own names in `decode`.
 */
export function bits(name: string, width: 8 | 16 | 32, parts: Record<string, number>): Field {
  const word = width === 8 ? bl.u8() : width === 16 ? bl.u16be() : bl.u32be();
  const item = bl.bits(word, true, name);
  for (const [part, size] of Object.entries(parts)) item.addField(size, part);
  return { item, name, parts: Object.keys(parts) };
}

/** Puts fields one after the other into a header. */
export function struct(...fields: readonly Field[]): Layout {
  const structure = bl.struct(fields.map((f) => f.item));
  return {
    span: structure.span,
    offsetOf(name) {
      const offset = structure.offsetOf(name);
      if (offset === undefined) throw new TypeError(`the layout has no field "${name}"`);
      return offset;
    },
    decode(v, at) {
      const out: Fields = {};
      for (const [name, value] of Object.entries(structure.decode(new BufferLike(v), at))) {
        if (typeof value === 'number' || Array.isArray(value)) out[name] = value;
        else Object.assign(out, value);
      }
      return out;
    },
    encode(values, v, at) {
      const nested: Record<string, unknown> = {};
      for (const { name, parts } of fields) {
        if (parts === undefined) nested[name] = values[name];
        else if (parts.some((part) => values[part] !== undefined)) nested[name] = values;
      }
      structure.encode(nested, new BufferLike(v), at);
    },
  };
}

/** The methods of Buffer that `buffer-layout` calls, over a DataView. */
class BufferLike {
  readonly #v: DataView;

  constructor(v: DataView) {
    this.#v = v;
  }

  get length(): number {
    return this.#v.byteLength;
  }

  readUIntBE(at: number, size: number): number {
    let value = 0;
    for (let i = 0; i < size; i++) value = value * 256 + this.#v.getUint8(at + i);
    return value;
  }

  readUIntLE(at: number, size: number): number {
    let value = 0;
    for (let i = size - 1; i >= 0; i--) value = value * 256 + this.#v.getUint8(at + i);
    return value;
  }

  writeUIntBE(value: number, at: number, size: number): void {
    let rest = value;
    for (let i = size - 1; i >= 0; i--) {
      this.#v.setUint8(at + i, rest % 256);
      rest = Math.floor(rest / 256);
    }
  }

  writeUIntLE(value: number, at: number, size: number): void {
    let rest = value;
    for (let i = 0; i < size; i++) {
      this.#v.setUint8(at + i, rest % 256);
      rest = Math.floor(rest / 256);
    }
  }
}
