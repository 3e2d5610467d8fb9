/** Both formats as files: round trips of made-up ones, and what others have captured. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import * as fc from 'fast-check';
import t from 'tap';
import { MAX_CAPTURED } from '../../codecs/capture.ts';
import {
  type Capture,
  type CapturedPacket,
  CaptureReader,
  readCapture,
} from '../../codecs/capture-reader.ts';
import { CaptureWriter } from '../../codecs/capture-writer.ts';
import { Random } from '../../lib/core/random.ts';
import { seed } from '../gen/seed.ts';
import { skip } from '../gen/skip.ts';

const link = fc.constantFrom(1, 101, 113);
const packet = fc.record({
  seconds: fc.integer({ min: 0, max: 0xffffffff }),
  nanoseconds: fc.integer({ min: 0, max: 999_999_999 }),
  flags: fc.nat(0xffff),
  comment: fc.option(fc.string({ maxLength: 20, unit: 'grapheme' }), { nil: undefined }),
  bytes: fc.uint8Array({ maxLength: 200 }),
  interface: fc.nat(3),
});
const file = fc.record({
  format: fc.constantFrom('pcap' as const, 'pcapng' as const),
  littleEndian: fc.boolean(),
  snaplen: fc.constantFrom(1, 60, 100, MAX_CAPTURED),
  buffer: fc.constantFrom(16, 500, 65536),
  links: fc.array(link, { minLength: 1, maxLength: 4 }),
  packets: fc.array(packet, { maxLength: 20 }),
  chunk: fc.integer({ min: 1, max: 300 }),
});
type Made = typeof file extends fc.Arbitrary<infer T> ? T : never;

function write(made: Made): Uint8Array {
  const parts: Uint8Array[] = [];
  const writer = new CaptureWriter((bytes) => parts.push(bytes.slice()), made);
  const links = made.format === 'pcap' ? made.links.slice(0, 1) : made.links;
  for (const [i, link] of links.entries()) writer.interface({ link, name: `if${i}` });
  for (const p of made.packets) {
    const id = p.interface % links.length;
    writer.frame(id, p.seconds, p.nanoseconds, p.flags, p.bytes, 0, p.bytes.length, p.comment);
  }
  writer.flush();
  return Buffer.concat(parts);
}

/** What a reader must find of what was made. */
function expected(made: Made): CapturedPacket[] {
  const classic = made.format === 'pcap';
  const count = classic ? 1 : made.links.length;
  return made.packets.map((p) => ({
    seconds: p.seconds,
    nanoseconds: p.nanoseconds,
    original: p.bytes.length,
    interface: p.interface % count,
    flags: classic ? 0 : p.flags,
    // A zero at the end of a text is not told from a terminator.
    comments: classic || !p.comment ? [] : [p.comment.replace(/\0+$/, '')],
    bytes: p.bytes.slice(0, made.snaplen),
  }));
}

/** Reads in chunks; the twin of readCapture. */
function readInChunks(bytes: Uint8Array, size: number): number[][] {
  const reader = new CaptureReader();
  const found: number[][] = [];
  for (let i = 0; i < bytes.length; i += size) {
    reader.push(bytes.subarray(i, i + size));
    while (reader.next()) found.push([...reader.record.frame()]);
  }
  reader.end();
  while (reader.next()) found.push([...reader.record.frame()]);
  return found;
}

t.test(`what is written is read again, seed ${seed}`, async (t) => {
  fc.assert(
    fc.property(file, (made) => {
      const bytes = write(made);
      const { packets, interfaces, error } = readCapture(bytes);
      if (error !== null) throw error;
      assert.deepEqual(packets, expected(made));
      assert.equal(interfaces.length, made.format === 'pcap' ? 1 : made.links.length);
      const chunked = readInChunks(bytes, made.chunk);
      assert.deepEqual(
        chunked,
        packets.map((p) => [...p.bytes]),
      );
    }),
    { seed, numRuns: 200 },
  );
  t.pass('200 files');
});

t.test(`random bytes and flipped bits never throw anything but a CaptureError, seed ${seed}`, async (t) => {
  const r = new Random(seed);
  const makes = fc.sample(file, { seed, numRuns: 20 }).map(write);
  let refused = 0;
  for (let i = 0; i < 3000; i++) {
    // Not `slice`, which on a Buffer makes no copy.
    const bytes = Uint8Array.from(makes[i % makes.length]);
    for (let n = 1 + r.below(4); n > 0 && bytes.length > 0; n--)
      bytes[r.below(bytes.length)] ^= 1 << r.below(8);
    const { error, packets } = readCapture(bytes.subarray(0, r.below(bytes.length + 1)));
    if (error !== null) refused++;
    if (packets.some((p) => p.bytes.length > MAX_CAPTURED)) t.fail(`an absurd packet, round ${i}`);
  }
  t.ok(refused > 300 && refused < 3000, `${refused} of 3000 are refused`);
  t.same(
    makes.map((whole) => readCapture(whole).error),
    makes.map(() => null),
    'none of the whole ones',
  );
});

const captures = new URL('../../../shared/reference/captures/', import.meta.url);

/** Path, frames and remark of every file that the index of the reference captures lists and that is there. */
function listed(): { path: string; frames: number; link: string; refused: boolean }[] {
  const rows = readFileSync(new URL('INDEX.md', captures), 'utf8').matchAll(
    /^\| (\S+\.pcap\S*) \| (\d+) \| ([^|]*) \| ([^|]*)/gm,
  );
  return [...rows]
    .map(([, path, frames, link, remark]) => {
      return { path, frames: Number(frames), link, refused: remark.includes('must be refused') };
    })
    .filter(({ path }) => existsSync(new URL(path, captures)));
}

t.test('what others captured', async (t) => {
  if (!existsSync(captures)) return skip(t, 'the reference captures are not beside the repository');
  const read = (path: string): Capture => readCapture(readFileSync(new URL(path, captures)));

  await t.test('as many packets as the index says, or a refusal with its place', async (t) => {
    const files = listed();
    t.ok(files.length > 50, `${files.length} files`);
    const wrong = files.filter(({ path, frames, link, refused }) => {
      const { packets, error, interfaces } = read(path);
      if (refused) return error === null || !/at offset \d+: expected .*, got /.test(error.message);
      const ethernet = !link.startsWith('Ethernet') || interfaces[0].link === 1;
      return error !== null || packets.length !== frames || !ethernet;
    });
    t.same(wrong, []);
  });

  await t.test('the refused ones, one by one', async (t) => {
    const libpcap = 'the-tcpdump-group_libpcap/tests';
    t.match(read(`${libpcap}/pcap-invalid-version-1.pcap`).error, { offset: 4, message: /got 1.4/ });
    t.match(read(`${libpcap}/pcapng-invalid-vers-1.pcapng`).error, { offset: 12, message: /got 0.1/ });
    t.match(read(`${libpcap}/shb-option-too-long.pcapng`).error, {
      offset: 48,
      message: /block length 52 again/,
    });
    t.match(read(`${libpcap}/linktype-reserved-field-not-zero.pcap`), {
      error: null,
      interfaces: [{ link: 3145728 }],
      packets: [],
    });
  });

  await t.test('nanoseconds, more of them than a second has, and packets that were cut', async (t) => {
    const tcpdump = 'the-tcpdump-group_tcpdump/tests';
    const nano = read(`${tcpdump}/timestamp_invalid_nano.pcap`).packets;
    t.same(
      nano.map((p) => p.nanoseconds),
      [999999999, 1000000000, 2147483648],
    );
    t.match(read(`${tcpdump}/arp-too-long-tha.pcap`).packets, [{ bytes: { length: 64 } }]);
    t.ok(read(`${tcpdump}/arp-too-long-tha.pcap`).packets[0].original > 64);
  });

  await t.test('packets built from published octets', async (t) => {
    for (const [name, frames] of [
      ['rfc7634-appendix', 3],
      ['mcgrew-gcm-esp', 14],
      ['linux-reference-esp', 7],
    ]) {
      const { error, packets } = read(`derived/${name}.pcap`);
      t.equal(error, null);
      t.equal(packets.length, frames);
    }
  });
});
