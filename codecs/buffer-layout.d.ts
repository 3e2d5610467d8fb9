// The part of `buffer-layout` (which ships no types) that layout.ts uses.
declare module 'buffer-layout' {
  export interface Layout<T = unknown> {
    readonly span: number;
    readonly property?: string;
    decode(b: object, offset?: number): T;
    encode(src: unknown, b: object, offset?: number): number;
  }
  export interface Structure extends Layout<Record<string, unknown>> {
    readonly fields: readonly Layout[];
    offsetOf(property: string): number | undefined;
  }
  export interface BitStructure extends Layout<Record<string, number>> {
    addField(bits: number, property: string): unknown;
  }
  export function struct(fields: readonly Layout[], property?: string): Structure;
  export function bits(word: Layout, msb: boolean, property: string): BitStructure;
  export function seq(element: Layout, count: number, property: string): Layout<number[]>;
  export function u8(property?: string): Layout<number>;
  export function u16(property?: string): Layout<number>;
  export function u24(property?: string): Layout<number>;
  export function u32(property?: string): Layout<number>;
  export function u48(property?: string): Layout<number>;
  export function u16be(property?: string): Layout<number>;
  export function u24be(property?: string): Layout<number>;
  export function u32be(property?: string): Layout<number>;
  export function u48be(property?: string): Layout<number>;
}
