/**
 * The standard tests of a codec: known bytes read; the same bytes written over 0xa5; every truncation
 * refused; random headers through the layout, the getters and back.
 */
import type { Test } from 'tap';
import { fromHex, hex, viewOf } from '../../codecs/bytes.ts';
import { type Fault, OK } from '../../codecs/fault.ts';
import { Random } from '../../lib/core/random.ts';
import { seed } from './seed.ts';

/** What every codec has. */
export interface Codec<T> {
  readonly SIZE: number;
  check(v: DataView, at: number, end: number): Fault;
  decode(v: DataView, at: number): T;
  encode(fields: T, v: DataView, at: number): void;
  format(v: DataView, at: number): string;
}

export interface Known<T> {
  /** The header in hexadecimal, with as much payload as its lengths claim. Give the source. */
  readonly bytes: string;
  readonly fields: T;
  readonly text: string;
  /** Writes the same header with the codec's hot `write` (and setters). */
  write(v: DataView, at: number): void;
  /** Bytes of the header where it has options. Default: SIZE. */
  readonly size?: number;
}

const AT = 6; // headers rarely lie at the start of a slot, and rarely aligned

/** Runs the tests that need one known header. */
export function known<T>(t: Test, codec: Codec<T>, example: Known<T>): void {
  const bytes = fromHex(example.bytes);
  const size = example.size ?? codec.SIZE;
  const place = () => {
    const slot = new Uint8Array(AT + bytes.length + 8).fill(0xa5);
    slot.set(bytes, AT);
    return viewOf(slot);
  };
  const end = AT + bytes.length;

  t.test('known bytes are read', async (t) => {
    const v = place();
    t.equal(codec.check(v, AT, end), OK);
    t.same(codec.decode(v, AT), example.fields);
    t.equal(codec.format(v, AT), example.text);
  });

  t.test('the same bytes are written over 0xa5, and nothing beside them', async (t) => {
    for (const write of [example.write, (v: DataView, at: number) => codec.encode(example.fields, v, at)]) {
      const v = viewOf(new Uint8Array(AT + size + 8).fill(0xa5));
      write(v, AT);
      t.equal(hex(v, AT, size), hex(viewOf(bytes), 0, size));
      t.equal(hex(v, 0, AT), 'a5'.repeat(AT), 'nothing in front');
      t.equal(hex(v, AT + size, 8), 'a5'.repeat(8), 'nothing behind');
    }
  });

  t.test('every truncation of the header is refused', async (t) => {
    const v = place();
    for (let n = 0; n < size; n++) t.not(codec.check(v, AT, AT + n), OK, `${n} of ${size} bytes`);
  });
}

/**
 * 10,000 random headers: `random` makes the fields, which are encoded, checked, decoded and encoded again.
 * `payload` is how many bytes follow the header at the most, where a length field claims them.
 */
export function roundTrips<T>(
  t: Test,
  codec: Codec<T>,
  random: (r: Random) => T,
  payload = 0,
  count = 10_000,
): void {
  t.test(`${count} random headers, seed ${seed}`, async (t) => {
    const r = new Random(seed);
    const v = viewOf(new Uint8Array(AT + 256 + payload));
    const again = viewOf(new Uint8Array(AT + 256 + payload));
    let failures = 0;
    for (let i = 0; i < count && failures < 3; i++) {
      const fields = random(r);
      codec.encode(fields, v, AT);
      const fault = codec.check(v, AT, v.byteLength);
      const back = codec.decode(v, AT);
      codec.encode(back, again, AT);
      const same = JSON.stringify(back) === JSON.stringify(fields);
      if (fault === OK && same && hex(v, AT, codec.SIZE) === hex(again, AT, codec.SIZE)) continue;
      failures++;
      t.fail(`header ${i} (seed ${seed})`, { fault, fields, back });
    }
    t.equal(failures, 0);
  });
}
