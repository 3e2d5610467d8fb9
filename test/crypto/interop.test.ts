/** ESP between this and others: scapy both ways, tshark given the keys. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { fromHex, hex, viewOf } from '../../codecs/bytes.ts';
import { CaptureWriter } from '../../codecs/capture-writer.ts';
import * as header from '../../codecs/esp.ts';
import * as ipv4 from '../../codecs/ipv4.ts';
import * as ipv6 from '../../codecs/ipv6.ts';
import * as linktype from '../../codecs/linktype.ts';
import * as udp from '../../codecs/udp.ts';
import { ALGORITHMS, type Algorithm } from '../../crypto/aead.ts';
import { chooseProvider } from '../../crypto/choose.ts';
import * as esp from '../../crypto/esp.ts';
import { OK } from '../../crypto/result.ts';
import { InboundSa, keymatLength, OutboundSa, type SaOptions } from '../../crypto/sa.ts';
import { Random } from '../../lib/core/random.ts';
import { seed } from '../gen/seed.ts';
import { has, skip } from '../gen/skip.ts';
import { randomBytes } from './gen.ts';

const PYTHON = '/usr/bin/python3'; // where distributions put scapy
const ROOM = 100;
const { provider } = await chooseProvider();
const r = new Random(seed);
t.comment(`seed ${seed}, ${provider.name}`);

/** One way to seal, and one to carry what was sealed. */
interface Way {
  readonly options: SaOptions;
  readonly family: 4 | 6;
  readonly udp: boolean;
  /** Sequence number, in halves. */
  readonly hi: number;
  readonly lo: number;
  /** A UDP datagram with VXLAN, made up. */
  readonly payload: Uint8Array;
}

/** Every algorithm, ICV, width of number, family and carrier. */
function ways(): Way[] {
  const all: Way[] = [];
  for (const algorithm of Object.keys(ALGORITHMS) as Algorithm[]) {
    for (const icv of ALGORITHMS[algorithm].tagLengths) {
      for (const bits of [0, 1, 2, 3, 4, 5, 6, 7]) {
        const esn = (bits & 1) !== 0;
        const keymat = randomBytes(r, keymatLength(algorithm));
        all.push({
          options: { spi: 256 + r.below(2 ** 32 - 256), provider, algorithm, keymat, icv, esn },
          family: (bits & 2) !== 0 ? 6 : 4,
          udp: (bits & 4) !== 0,
          hi: esn ? 1 + r.below(2 ** 32 - 2) : 0,
          lo: 1 + r.below(2 ** 32 - 2),
          payload: datagram(r.below(60)),
        });
      }
    }
  }
  return all;
}

function datagram(length: number): Uint8Array {
  const bytes = new Uint8Array(16 + length);
  bytes.set(randomBytes(r, bytes.length));
  bytes.set(fromHex('0800000000006400'), udp.SIZE);
  udp.write(viewOf(bytes), 0, 50000, 4789, bytes.length, 0);
  return bytes;
}

/** An IP packet that holds the payload in ESP. */
function sealHere(way: Way): Uint8Array {
  const bytes = new Uint8Array(ROOM + way.payload.length + ROOM);
  const v = viewOf(bytes);
  bytes.set(way.payload, ROOM);
  const end = ROOM + way.payload.length;
  const before = way.lo - 1;
  const sa = new OutboundSa({ ...way.options, sequence: { hi: way.hi, lo: before } });
  if (esp.seal(sa, bytes, v, ROOM, end, udp.PROTOCOL) !== OK) throw new Error('not sealed');
  const stop = esp.sealedEnd(sa, ROOM, end);
  let at = ROOM - esp.HEADER;
  if (way.udp) {
    at -= udp.SIZE;
    udp.write(v, at, header.UDP_PORT, header.UDP_PORT, stop - at, 0);
  }
  const protocol = way.udp ? udp.PROTOCOL : header.PROTOCOL;
  if (way.family === 4) {
    at -= ipv4.SIZE;
    ipv4.write(v, at, 0, stop - at, 0, 0, 64, protocol, 0x0a000001, 0x0a000002);
  } else {
    const bytes = stop - at;
    at -= ipv6.SIZE;
    ipv6.write(v, at, 0, 0, bytes, protocol, 64, [0xfd000000, 0, 0, 1], [0xfd000000, 0, 0, 2]);
  }
  return bytes.slice(at, stop);
}

/** The payload in the ESP of an IP packet, or the number of why not. */
function openHere(way: Way, packet: Uint8Array): string {
  const at = (way.family === 4 ? ipv4.SIZE : ipv6.SIZE) + (way.udp ? udp.SIZE : 0);
  const sa = new InboundSa(way.options);
  if (way.lo > 1 || way.hi > 0) sa.window!.mark(way.hi, way.lo - 1);
  const result = esp.open(sa, packet, viewOf(packet), at, packet.length);
  if (result !== OK) return String(result);
  const end = esp.payloadEnd(sa, packet, packet.length);
  return hex(viewOf(packet), at + esp.HEADER, end - at - esp.HEADER);
}

const digits = (bytes: Uint8Array) => hex(viewOf(bytes), 0, bytes.length);

/** Scapy's name of an algorithm. */
function scapyName({ algorithm, icv }: SaOptions): string {
  if (algorithm === 'chacha20-poly1305') return 'CHACHA20-POLY1305';
  return icv === 16 ? 'AES-GCM' : `AES-GCM-${icv}`;
}

function job(way: Way, more: object) {
  const { options, family, hi, lo } = way;
  return {
    algorithm: scapyName(options),
    spi: options.spi,
    keymat: digits(options.keymat),
    esn: options.esn,
    family,
    udp: way.udp,
    hi,
    lo,
    ...more,
  };
}

t.test('scapy opens what is sealed here, and the other way round', async (t) => {
  if (spawnSync(PYTHON, ['-c', 'import scapy.layers.ipsec, cryptography']).status !== 0) {
    return skip(t, `${PYTHON} has no scapy with cryptography`);
  }
  const all = ways();
  const jobs = all.flatMap((way) => [
    job(way, { do: 'open', packet: digits(sealHere(way)) }),
    job(way, { do: 'seal', payload: digits(way.payload) }),
  ]);
  const script = fileURLToPath(new URL('scapy-esp.py', import.meta.url));
  const input = jobs.map((job) => `${JSON.stringify(job)}\n`).join('');
  const { stdout, stderr } = spawnSync(PYTHON, [script], { input, encoding: 'utf8' });
  const answers = stdout.trimEnd().split('\n');
  t.equal(answers.length, jobs.length, stderr.split('\n').slice(-5).join('\n'));
  const wrong: object[] = [];
  for (const [i, way] of all.entries()) {
    if (answers[2 * i] !== digits(way.payload)) wrong.push({ ...jobs[2 * i], answer: answers[2 * i] });
    const back = openHere(way, fromHex(answers[2 * i + 1]));
    if (back !== digits(way.payload)) wrong.push({ ...jobs[2 * i + 1], back });
  }
  t.same(wrong.slice(0, 2), [], `${all.length} ways, each both ways`);
});

t.test('tshark looks inside, given the keys', async (t) => {
  if (!has('tshark')) return skip(t, 'tshark is not installed');
  // This tshark knows neither numbers of 64 bits nor ChaCha20-Poly1305 in ESP.
  const known = ways().filter(({ options }) => !options.esn && options.algorithm !== 'chacha20-poly1305');
  const folder = mkdtempSync(join(tmpdir(), 'packetweave-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const parts: Uint8Array[] = [];
  const writer = new CaptureWriter((bytes) => parts.push(bytes.slice()), { format: 'pcap' });
  const raw = writer.interface({ link: linktype.RAW, name: 'esp' });
  const keys: string[] = [];
  for (const way of known) {
    const packet = sealHere(way);
    writer.frame(raw, 1_700_000_000, 0, 0, packet, 0, packet.length);
    const { spi, keymat, icv } = way.options;
    const row = [`IPv${way.family}`, '*', '*', `0x${spi.toString(16)}`];
    row.push(`AES-GCM with ${icv} octet ICV [RFC4106]`, `0x${digits(keymat)}`, 'NULL', '');
    keys.push('-o', `uat:esp_sa:${row.map((cell) => `"${cell}"`).join(',')}`);
  }
  writer.flush();
  const file = join(folder, 'esp.pcap');
  writeFileSync(file, Buffer.concat(parts));
  const fields = ['esp.sequence', 'udp.dstport', 'vxlan.vni'].flatMap((field) => ['-e', field]);
  const args = [
    '-r',
    file,
    '-n',
    '-o',
    'esp.enable_encryption_decode:TRUE',
    ...keys,
    '-T',
    'fields',
    ...fields,
  ];
  const { stdout, stderr } = spawnSync('tshark', args, { encoding: 'utf8' });
  const seen = stdout.trimEnd().split('\n');
  const wanted = known.map((way) => `${way.lo}\t${way.udp ? '4500,4789' : '4789'}\t100`);
  t.same(seen, wanted, stderr.split('\n').slice(-3).join('\n'));
});
