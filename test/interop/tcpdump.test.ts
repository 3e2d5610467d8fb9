/**
 * The codecs beside tcpdump: every frame of the captures that its project and libpcap's keep for their tests,
 * field by field, against the text that lies beside them and against the tcpdump of this machine; and frames
 * that the codecs write, line by line.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import t, { type Test } from 'tap';
import { viewOf } from '../../codecs/bytes.ts';
import { CaptureError } from '../../codecs/capture.ts';
import { CaptureReader } from '../../codecs/capture-reader.ts';
import { CaptureWriter } from '../../codecs/capture-writer.ts';
import { TOO_DEEP } from '../../codecs/fault.ts';
import { format } from '../../codecs/format.ts';
import { IPV6, Layers, SCTP } from '../../codecs/layers.ts';
import { ETHERNET } from '../../codecs/linktype.ts';
import { Random } from '../../lib/core/random.ts';
import { FrameMaker } from '../gen/frames.ts';
import { seed } from '../gen/seed.ts';
import { has, skip } from '../gen/skip.ts';
import { type Frame, ownFacts } from './own-facts.ts';
import { factsOf } from './tcpdump-facts.ts';

const CAPTURES = join(import.meta.dirname, '../../../shared/reference/captures');

/** Facts that are left out on purpose, by file and frame: where the codecs are meant to say something else. */
const LEFT_OUT: Record<string, { frame?: number; facts: RegExp; why: string }> = {
  'mcgrew-gcm-esp.pcap': { frame: 4, facts: /^(esp|frame)\./, why: 'SPI 0 is refused (RFC 4303 2.1)' },
  'ipv6_ext_headers.pcap': { facts: /^(port|udp|fragment|frame)\./, why: 'more than 16 extension headers' },
  'arp-too-long-tha.pcap': {
    facts: /^(arp|frame)\./,
    why: 'ARP for other hardware than Ethernet is refused',
  },
  'bad-ipv4-version-pgm-heapoverflow.pcap': { facts: /^ip\./, why: 'tcpdump 4.99 goes on as IPv6' },
  'esp_truncated.pcap': { facts: /^carried\./, why: 'too short to say what it is' },
  'ipv6_39_byte_header.pcap': { facts: /^ip6\./, why: 'fields of a header that is cut are not read' },
  'ipv6_frag6_negative_len.pcap': { facts: /^fragment\./, why: 'the fragment header is cut' },
  'icmpv6-length-zero.pcapng': { facts: /^icmp6\./, why: 'an ICMPv6 message of no bytes has no type' },
  'tcp_header_heapoverflow.pcap': { facts: /^port\./, why: 'ports of a header that is cut are not read' },
  'udp-length-heapoverflow.pcap': { facts: /^port\./, why: 'ports of a header that is cut are not read' },
  'linktype-reserved-field-not-zero.pcap': { facts: /./, why: 'the link type is unknown to both' },
};
/** Files that are no captures: the reader must refuse them, as tcpdump does. */
const REFUSED = ['pcap-invalid-version-1.pcap', 'pcapng-invalid-vers-1.pcapng', 'shb-option-too-long.pcapng'];
/** Where VXLAN has a port of its own; elsewhere 8472 means nothing. */
const PORTS: Record<string, number[]> = { 'vxlan_port_8472.pcap': [8472] };

/** All captures under a folder. */
function captures(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((path) => /\.pcap(ng)?$/.test(path))
    .map((path) => join(folder, path))
    .sort();
}

/** The frames of a file, each in memory of its own, so that no codec sees a byte that is not the frame's. */
function read(file: string): Frame[] {
  const reader = new CaptureReader(readFileSync(file));
  const frames: Frame[] = [];
  while (reader.next()) {
    const { record } = reader;
    const bytes = record.frame().slice();
    const linkType = reader.interfaces[record.interface].link;
    frames.push({ v: viewOf(bytes), at: 0, end: bytes.length, original: record.original, linkType });
  }
  return frames;
}

/** tcpdump's text, cut into frames: what it prints in several lines for one becomes one. */
function split(text: string, start: RegExp): { number: number; text: string }[] {
  const out: { number: number; text: string }[] = [];
  for (const line of text.split('\n')) {
    const match = start.exec(line);
    if (match !== null)
      out.push({ number: Number(match[1] ?? out.length + 1), text: line.slice(match[0].length) });
    else if (line !== '' && out.length > 0) out[out.length - 1].text += /^\s/.test(line) ? line : ` ${line}`;
  }
  return out;
}

const LIVE = /^()\d\d:\d\d:\d\d\.\d+ +/;
const OUT = /^ {0,4}(\d+) {2}(?:(?:\d{4}-\d\d-\d\d )?\s*\d\d:\d\d:\d\d\.\d+ |\d+\.\d+ )?(?:\(invalid ns\) )?/;

function live(file: string, ...options: string[]): { number: number; text: string }[] {
  const run = spawnSync('tcpdump', ['-n', '-e', '-S', ...options, '-r', file], {
    encoding: 'utf8',
    maxBuffer: 1e8,
  });
  const lines = split(run.stdout, LIVE);
  return lines.map(({ text }, i) => ({ number: i + 1, text }));
}

/** Counts, and what differs. */
class Comparison {
  files = 0;
  frames = 0;
  fields = 0;
  readonly differences: unknown[] = [];
  readonly kinds = new Set<string>();
  readonly leftOut = new Set<string>();

  compare(file: string, own: Frame[], theirs: { number: number; text: string }[], relative: boolean): void {
    const name = basename(file);
    const layers = new Layers(PORTS[name] === undefined ? {} : { vxlanPorts: PORTS[name] });
    this.files++;
    for (const { number, text } of theirs) {
      this.frames++;
      const mine = ownFacts(own[number - 1], layers).all;
      for (const [key, values] of factsOf(text, relative).all) {
        if (this.#isLeftOut(name, number, key)) continue;
        this.fields += values.length;
        this.kinds.add(key);
        if (values.join() === mine.get(key)?.join()) continue;
        this.differences.push({
          frame: `${name} ${number}`,
          key,
          tcpdump: values,
          own: mine.get(key),
          text: text.slice(0, 300),
        });
      }
    }
  }

  #isLeftOut(name: string, number: number, key: string): boolean {
    const out = LEFT_OUT[name];
    if (out === undefined || !out.facts.test(key) || (out.frame ?? number) !== number) return false;
    const which = out.frame === undefined ? '' : ` frame ${out.frame}`;
    this.leftOut.add(`${name}${which}, ${out.facts.source}: ${out.why}`);
    return true;
  }

  report(t: Test): void {
    t.same(this.differences.slice(0, 10), [], `${this.differences.length} differences`);
    t.comment(`${this.fields} fields of ${this.frames} frames in ${this.files} texts are equal`);
    t.comment(`kinds of field: ${[...this.kinds].sort().join(' ')}`);
    for (const line of this.leftOut) t.comment(`left out: ${line}`);
  }
}

/** The tables of INDEX.md: how many frames each capture has, and which texts lie beside it. */
function index(): Map<string, { frames: number; texts: string[] }> {
  const files = new Map<string, { frames: number; texts: string[] }>();
  for (const line of readFileSync(join(CAPTURES, 'INDEX.md'), 'utf8').split('\n')) {
    const row = /^\| (\S+\.pcap(?:ng)?) \| (\d+) \|.*\| ([^|]*) \|$/.exec(line);
    if (row === null) continue;
    const known = files.get(row[1])?.texts ?? [];
    files.set(row[1], {
      frames: Number(row[2]),
      texts: [...known, ...(row[3].match(/[\w.-]+\.out/g) ?? [])],
    });
  }
  return files;
}

const missing = existsSync(CAPTURES) ? null : 'the reference captures are not on this machine';

t.test('captures against the text beside them', async (t) => {
  if (missing !== null) return skip(t, missing);
  const all = new Comparison();
  const counts: string[] = [];
  const unused = new Set(
    readdirSync(CAPTURES, { recursive: true, encoding: 'utf8' }).filter((path) => path.endsWith('.out')),
  );
  for (const [path, { frames, texts }] of index()) {
    if (REFUSED.includes(basename(path)) || !existsSync(join(CAPTURES, path))) continue;
    const own = read(join(CAPTURES, path));
    if (own.length !== frames) counts.push(`${path}: ${own.length}, not ${frames}`);
    for (const text of texts) {
      const beside = join(path, '..', text);
      unused.delete(beside);
      all.compare(path, own, split(readFileSync(join(CAPTURES, beside), 'utf8'), OUT), true);
    }
  }
  t.same(counts, [], 'as many frames as the index says');
  all.report(t);
  for (const path of unused) t.comment(`not read, since the index names no capture for it: ${path}`);
});

t.test('captures against the tcpdump of this machine', async (t) => {
  if (missing !== null) return skip(t, missing);
  if (!has('tcpdump')) return skip(t, 'tcpdump is not installed');
  for (const options of [[], ['-vv']]) {
    const all = new Comparison();
    const counts: string[] = [];
    for (const file of captures(CAPTURES)) {
      if (REFUSED.includes(basename(file))) continue;
      const own = read(file);
      const theirs = live(file, ...options);
      if (own.length !== theirs.length) counts.push(`${basename(file)}: ${own.length}, not ${theirs.length}`);
      else all.compare(file, own, theirs, false);
    }
    const unknown = 'linktype-reserved-field-not-zero.pcap: 1, not 0';
    t.same(counts, counts.includes(unknown) ? [unknown] : [], 'as many frames');
    all.report(t);
  }
});

t.test('what is no capture is refused', async (t) => {
  if (missing !== null) return skip(t, missing);
  for (const file of captures(CAPTURES).filter((path) => REFUSED.includes(basename(path)))) {
    t.throws(() => read(file), CaptureError, basename(file));
  }
});

t.test(`frames that the codecs wrote, seed ${seed}`, async (t) => {
  if (!has('tcpdump')) return skip(t, 'tcpdump is not installed');
  const folder = mkdtempSync(join(tmpdir(), 'tcpdump-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const maker = new FrameMaker(new Random(seed));
  const frames = Array.from({ length: 3000 }, () => maker.frame());
  const file = join(folder, 'frames.pcap');
  writeFileSync(file, capture(frames));

  const layers = new Layers();
  const different: unknown[] = [];
  let equal = 0;
  let other = 0;
  for (const { number, text } of live(file)) {
    const frame = frames[number - 1];
    const mine = format(viewOf(frame), 0, frame.length, { link: true, layers });
    const same = plain(text) === mine;
    if (same) equal++;
    else if (isOurs(layers, text)) other++;
    else different.push({ tcpdump: plain(text), own: mine });
  }
  t.equal(equal + other + different.length, 3000);
  t.same(different.slice(0, 5), [], `${different.length} lines differ`);
  t.ok(equal > 2500, `${equal} lines are equal to the letter`);
  t.comment(`left out: ${other} with more than 8 headers, IKE messages, or words that differ on purpose`);

  const all = new Comparison();
  const own = frames.map((bytes) => ({
    v: viewOf(bytes),
    at: 0,
    end: bytes.length,
    original: bytes.length,
    linkType: ETHERNET,
  }));
  const shallow = live(file, '-vv').filter(({ number, text }) => {
    const frame = frames[number - 1];
    format(viewOf(frame), 0, frame.length, { layers });
    // tcpdump checks no UDP sum behind a fragment header, and says addresses twice in front of SCTP.
    return layers.fault !== TOO_DEEP && !/frag \(|: (HBH|RT6|DSTOPT) .*sctp/.test(text);
  });
  all.compare(file, own, shallow, false);
  all.report(t);
});

function capture(frames: readonly Uint8Array[]): Buffer {
  const parts: Buffer[] = [];
  const writer = new CaptureWriter((bytes) => parts.push(Buffer.from(bytes)), { format: 'pcap' });
  const on = writer.interface({ link: ETHERNET });
  for (const bytes of frames) writer.frame(on, 1, 0, 0, bytes, 0, bytes.length);
  writer.flush();
  return Buffer.concat(parts);
}

/** tcpdump's line in the form of ours: one for an inner frame too, single spaces, nothing open at the end. */
function plain(text: string): string {
  return text
    .replace(/\t.*/s, '')
    .replace(/ ((?:[0-9a-f]{2}:){5}[0-9a-f]{2} > )/, ': $1')
    .replace(/ +/g, ' ')
    .replace(/ ,/g, ',')
    .replace(/[:, ]+$/, '')
    .trim();
}

/** Whether a line may differ: ours stops at 8 headers, names no IKE messages and says ports once. */
function isOurs(l: Layers, text: string): boolean {
  if (l.fault === TOO_DEEP || text.includes('isakmp') || text.includes('802.3LLC')) return true;
  return l.find(SCTP) > 0 || (l.kind[l.count - 1] === IPV6 && text.includes('frag (0|0)'));
}
