/**
 * The Internet checksum's sum by SIMD instructions, for one piece of memory that WebAssembly can see: four times as
 * fast as {@link sum}'s own loop, which is its plain twin. Whoever makes the memory for packets asks for it here, and
 * {@link sum} notices by itself where bytes lie in it.
 *
 * The program is so small that it is written down as what it is, one instruction a line (WebAssembly Core
 * Specification, chapter 5). Words of 32 bits are added up in lanes of 64, so that nothing overflows. It has two
 * functions, of which one copies what it adds up: that costs a tenth more than the sum alone.
 */

/** The sum in the machine's byte order, 0..0xffff, of `bytes` bytes at an offset of the memory. */
export type FastSum = (at: number, bytes: number) => number;
/** The same, which copies them to another offset: not into what is still to be read. */
export type FastCopySum = (at: number, bytes: number, to: number) => number;

/** Memory of WebAssembly's and the functions over it. */
export interface SummedMemory {
  readonly memory: ArrayBuffer;
  readonly sum: FastSum;
  readonly copySum: FastCopySum;
}

const I32 = 0x7f;
const I64 = 0x7e;
const V128 = 0x7b;
const VOID = 0x40;

// Parameters, the third of which the sum alone does without, and locals.
const AT = 0;
const BYTES = 1;
const TO = 2;
const LOW = 3;
const HIGH = 4;
const FOUR = 5;
const TOTAL = 6;
const SOME = 7;

const get = (local: number) => [0x20, local];
const set = (local: number) => [0x21, local];
const tee = (local: number) => [0x22, local];
const i32 = (...leb: number[]) => [0x41, ...leb];
const i64 = (...leb: number[]) => [0x42, ...leb];
const BLOCK = [0x02, VOID];
const LOOP = [0x03, VOID];
const IF = [0x04, VOID];
const END = [0x0b];
const leaveIf = (depth: number) => [0x0d, depth];
const repeat = [0x0c, 0];
const I32_LESS = [0x49];
const I32_ADD = [0x6a];
const I32_SUB = [0x6b];
const I64_ADD = [0x7c];
const I64_AND = [0x83];
const I64_SHIFT = [0x88];
const WRAP = [0xa7];
/** To load and to store so many bytes. */
const EIGHT = { load: [0x31, 0, 0], store: [0x3c, 0, 0] };
const SIXTEEN = { load: [0x33, 0, 0], store: [0x3d, 0, 0] };
const THIRTY_TWO = { load: [0x35, 0, 0], store: [0x3e, 0, 0] };
const load128 = (offset: number) => [0xfd, 0x00, 0, offset];
const store128 = (offset: number) => [0xfd, 0x0b, 0, offset];
const lane64 = (lane: number) => [0xfd, 0x1d, lane];
const WIDEN_LOW = [0xfd, 0xc9, 0x01];
const WIDEN_HIGH = [0xfd, 0xca, 0x01];
const ADD_LANES = [0xfd, 0xce, 0x01];

/** 64 in signed LEB128. */
const SIXTY_FOUR = [0xc0, 0x00];
/** 0xffffffff and 0xffff in signed LEB128. */
const WORD = [0xff, 0xff, 0xff, 0xff, 0x0f];
const HALF = [0xff, 0xff, 0x03];

/** The function, which copies or does not. */
function code(copies: boolean): number[] {
  /** Adds the four words at an offset to both sums. */
  const addFour = (offset: number) => [
    ...[...get(LOW), ...get(AT), ...load128(offset), ...tee(FOUR), ...WIDEN_LOW, ...ADD_LANES, ...set(LOW)],
    ...[...get(HIGH), ...get(FOUR), ...WIDEN_HIGH, ...ADD_LANES, ...set(HIGH)],
    ...(copies ? [...get(TO), ...get(FOUR), ...store128(offset)] : []),
  ];
  /** Adds a few bytes to the total. */
  const addSome = ({ load, store }: { load: readonly number[]; store: readonly number[] }) => [
    ...[...get(AT), ...load, ...tee(SOME), ...get(TOTAL), ...I64_ADD, ...set(TOTAL)],
    ...(copies ? [...get(TO), ...get(SOME), ...store] : []),
  ];
  /** Goes on by so many bytes. */
  const step = (...bytes: number[]) => [
    ...[...get(AT), ...i32(...bytes), ...I32_ADD, ...set(AT)],
    ...(copies ? [...get(TO), ...i32(...bytes), ...I32_ADD, ...set(TO)] : []),
    ...[...get(BYTES), ...i32(...bytes), ...I32_SUB, ...set(BYTES)],
  ];
  /** A loop as long as there are so many bytes. */
  const whileAtLeast = (bytes: readonly number[], body: readonly number[]) => [
    ...[...BLOCK, ...LOOP],
    ...[...get(BYTES), ...i32(...bytes), ...I32_LESS, ...leaveIf(1)],
    ...[...body, ...step(...bytes), ...repeat],
    ...[...END, ...END],
  ];
  return [
    ...whileAtLeast(SIXTY_FOUR, [...addFour(0), ...addFour(16), ...addFour(32), ...addFour(48)]),
    ...whileAtLeast([4], addSome(THIRTY_TWO)),
    ...whileAtLeast([2], addSome(SIXTEEN)),
    ...[...get(BYTES), ...IF, ...addSome(EIGHT), ...END],
    ...[...get(LOW), ...get(HIGH), ...ADD_LANES, ...tee(FOUR), ...lane64(0)],
    ...[...get(FOUR), ...lane64(1), ...I64_ADD, ...get(TOTAL), ...I64_ADD, ...set(TOTAL)],
    ...[...foldTotal(WORD, 32), ...foldTotal(WORD, 32)],
    ...[...foldTotal(HALF, 16), ...foldTotal(HALF, 16), ...foldTotal(HALF, 16)],
    ...[...get(TOTAL), ...WRAP, ...END],
  ];
}

/** Adds what is above so many bits to what is in them. */
const foldTotal = (mask: readonly number[], bits: number) => [
  ...[...get(TOTAL), ...i64(...mask), ...I64_AND],
  ...[...get(TOTAL), ...i64(bits), ...I64_SHIFT, ...I64_ADD, ...set(TOTAL)],
];

const text = (name: string) => [name.length, ...new TextEncoder().encode(name)];
/** Numbers of up to 14 bits in LEB128. */
const size = (n: number) => (n < 0x80 ? [n] : [(n & 0x7f) | 0x80, n >> 7]);
const section = (id: number, body: readonly number[]) => [id, ...size(body.length), ...body];
/** Locals of both: three vectors and two words. */
const LOCALS = [2, 3, V128, 2, I64];
const body = (copies: boolean) => {
  const whole = [...LOCALS, ...code(copies)];
  return [...size(whole.length), ...whole];
};

const PROGRAM = Uint8Array.of(
  ...[0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
  ...section(1, [1, 0x60, 3, I32, I32, I32, 1, I32]),
  ...section(2, [1, ...text('packets'), ...text('memory'), 0x02, 0, 1]),
  ...section(3, [2, 0, 0]),
  ...section(7, [2, ...text('sum'), 0x00, 0, ...text('copySum'), 0x00, 1]),
  ...section(10, [2, ...body(false), ...body(true)]),
);

/** Bytes of a page of WebAssembly's memory. */
const PAGE = 65536;

/** What is used of WebAssembly, which the types of the language and of Node leave to those of browsers. */
interface Runtime {
  Memory: new (pages: { initial: number; maximum: number }) => { readonly buffer: ArrayBuffer };
  Module: new (program: Uint8Array) => object;
  Instance: new (module: object, imports: object) => { readonly exports: Omit<SummedMemory, 'memory'> };
}

/** Memory of at least so many bytes, and the sum over it; null where this machine has no WebAssembly with SIMD. */
export function summedMemory(bytes: number): SummedMemory | null {
  const { WebAssembly } = globalThis as unknown as { WebAssembly: Runtime };
  const pages = Math.ceil(bytes / PAGE);
  try {
    const memory = new WebAssembly.Memory({ initial: pages, maximum: pages });
    const { exports } = new WebAssembly.Instance(new WebAssembly.Module(PROGRAM), { packets: { memory } });
    return { memory: memory.buffer, sum: exports.sum, copySum: exports.copySum };
  } catch {
    return null;
  }
}
