/**
 * The codecs beside scapy, both ways: frames that scapy makes, with every field as scapy finds it in the bytes,
 * and frames that the codecs write, read by scapy. Needs python3 with scapy 2.5 or later.
 */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import * as arp from '../../codecs/arp.ts';
import { fromHex, hex, viewOf } from '../../codecs/bytes.ts';
import { dissect } from '../../codecs/dissect.ts';
import * as ethernet from '../../codecs/ethernet.ts';
import { OK, TOO_DEEP } from '../../codecs/fault.ts';
import * as icmp from '../../codecs/icmp.ts';
import * as icmpv6 from '../../codecs/icmpv6.ts';
import * as ip from '../../codecs/ip.ts';
import * as ipv4 from '../../codecs/ipv4.ts';
import * as ipv6 from '../../codecs/ipv6.ts';
import * as extensions from '../../codecs/ipv6-extensions.ts';
import * as layer from '../../codecs/layers.ts';
import { KINDS, Layers } from '../../codecs/layers.ts';
import * as llc from '../../codecs/llc.ts';
import * as mac from '../../codecs/mac.ts';
import * as nd from '../../codecs/nd.ts';
import * as ndOptions from '../../codecs/nd-options.ts';
import * as sctp from '../../codecs/sctp.ts';
import * as chunk from '../../codecs/sctp-chunk.ts';
import * as tcp from '../../codecs/tcp.ts';
import * as udp from '../../codecs/udp.ts';
import * as vlan from '../../codecs/vlan.ts';
import * as vxlan from '../../codecs/vxlan.ts';
import { Random } from '../../lib/core/random.ts';
import { verify } from '../gen/checksums.ts';
import { FrameMaker } from '../gen/frames.ts';
import { seed } from '../gen/seed.ts';
import { skip } from '../gen/skip.ts';

/** The interpreter of the system: distributions install scapy for that one. */
const PYTHON = '/usr/bin/python3';
const SCRIPT = join(import.meta.dirname, 'scapy-frames.py');
const COUNT = 2500;

type Fields = Record<string, unknown>;

/** A frame as scapy describes it. */
interface Described {
  readonly bytes: string;
  readonly layers: Fields[];
}

function scapy(args: string[], input = ''): Described[] {
  const run = spawnSync(PYTHON, [SCRIPT, ...args], { encoding: 'utf8', input, maxBuffer: 1e9 });
  if (run.status !== 0) throw new Error(`scapy failed: ${run.stderr.slice(-2000)}`);
  return run.stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
}

const noScapy =
  spawnSync(PYTHON, ['-c', 'import scapy.layers.sctp']).status === 0 ? null : 'scapy is not installed';

/** By kind: the fields of a header under the names that the script gives them. */
const DESCRIBE: Record<number, (v: DataView, at: number, end: number) => Fields> = {
  [layer.ETHERNET]: (v, at) => ethernet.decode(v, at) as unknown as Fields,
  [layer.VLAN]: (v, at) => read(vlan, vlan.decode(v, at), v, at),
  [layer.LLC]: (v, at) => read(llc, llc.decode(v, at), v, at),
  [layer.ARP]: (v, at) => arp.decode(v, at) as unknown as Fields,
  [layer.IPV4]: (v, at) => ipv4.decode(v, at) as unknown as Fields,
  [layer.IPV6]: describeIpv6,
  [layer.UDP]: (v, at) => read(udp, udp.decode(v, at), v, at),
  [layer.TCP]: (v, at) => read(tcp, tcp.decode(v, at), v, at),
  [layer.SCTP]: (v, at, end) => ({
    ...read(sctp, sctp.decode(v, at), v, at),
    chunks: chunk.decodeAll(v, at + sctp.SIZE, end),
  }),
  [layer.ICMP]: describeIcmp,
  [layer.ICMPV6]: describeIcmpv6,
  [layer.ND]: describeNd,
  [layer.VXLAN]: (v, at) => read(vxlan, vxlan.decode(v, at), v, at),
};

/** What `decode` found; a getter that finds something else shows as a field of its own. */
function read(codec: object, decoded: object, v: DataView, at: number): Fields {
  const fields: Fields = { ...decoded };
  for (const [name, value] of Object.entries(decoded)) {
    const getter = (codec as Record<string, unknown>)[name];
    if (typeof value !== 'number' || typeof getter !== 'function') continue;
    const own = getter(v, at);
    if (own !== value) fields[`getter ${name}`] = own;
  }
  return fields;
}

function describeIpv6(v: DataView, at: number, end: number): Fields {
  const u = extensions.upper(v, at, end);
  return {
    ...ipv6.decode(v, at),
    upperProtocol: extensions.upperProtocol(u),
    upperOffset: extensions.upperOffset(u),
    fragment: extensions.isFragment(u),
  };
}

function describeIcmp(v: DataView, at: number): Fields {
  const { type, code, checksum } = icmp.decode(v, at);
  const fields: Fields = { type, code, checksum };
  const echo = type === icmp.ECHO_REPLY || type === icmp.ECHO_REQUEST;
  if (echo) Object.assign(fields, { id: icmp.id(v, at), seq: icmp.seq(v, at) });
  if (type === icmp.UNREACHABLE && code === icmp.FRAGMENTATION_NEEDED) fields.mtu = icmp.mtu(v, at);
  return fields;
}

function describeIcmpv6(v: DataView, at: number): Fields {
  const { type, code, checksum } = icmpv6.decode(v, at);
  const fields: Fields = { type, code, checksum };
  const echo = type === icmpv6.ECHO_REPLY || type === icmpv6.ECHO_REQUEST;
  if (echo) Object.assign(fields, { id: icmpv6.id(v, at), seq: icmpv6.seq(v, at) });
  if (type === icmpv6.PACKET_TOO_BIG) fields.mtu = icmpv6.mtu(v, at);
  if (type === icmpv6.PARAMETER_PROBLEM) fields.pointer = icmpv6.rest(v, at);
  return fields;
}

function describeNd(v: DataView, at: number, end: number): Fields {
  const fields = describeIcmpv6(v, at);
  const { type, target, destination } = nd.decode(v, at, end);
  const bit = (flags: number, mask: number) => ((flags & mask) !== 0 ? 1 : 0);
  if (target !== undefined) fields.target = target;
  if (destination !== undefined) fields.destination = destination;
  if (type === icmpv6.ROUTER_ADVERTISEMENT) {
    const flags = nd.routerFlags(v, at);
    Object.assign(fields, { hopLimit: nd.hopLimit(v, at), lifetime: nd.lifetime(v, at) });
    Object.assign(fields, { reachable: nd.reachable(v, at), retransmit: nd.retrans(v, at) });
    Object.assign(fields, { managed: bit(flags, nd.MANAGED), other: bit(flags, nd.OTHER) });
  }
  if (type === icmpv6.NEIGHBOR_ADVERTISEMENT) {
    const flags = nd.flags(v, at);
    const [router, solicited] = [bit(flags, nd.ROUTER), bit(flags, nd.SOLICITED)];
    Object.assign(fields, { router, solicited, override: bit(flags, nd.OVERRIDE) });
  }
  fields.options = [];
  for (let i = at + nd.sizeOf(type); i < end; i = ndOptions.next(v, i, end)) {
    (fields.options as Fields[]).push(describeOption(v, i));
  }
  return fields;
}

function describeOption(v: DataView, i: number): Fields {
  const type = v.getUint8(i);
  const fields: Fields = { type, length: ndOptions.length(v, i) / 8 };
  if (type === ndOptions.SOURCE_LINK || type === ndOptions.TARGET_LINK) {
    fields.mac = mac.format(ndOptions.linkHi(v, i), ndOptions.linkLo(v, i));
  } else if (type === ndOptions.MTU) {
    fields.mtu = ndOptions.mtu(v, i);
  } else if (type === ndOptions.PREFIX) {
    const flags = ndOptions.prefixFlags(v, i);
    fields.onLink = (flags & ndOptions.PREFIX_ON_LINK) !== 0 ? 1 : 0;
    fields.autonomous = (flags & ndOptions.PREFIX_AUTONOMOUS) !== 0 ? 1 : 0;
    fields.prefixLength = ndOptions.prefixLength(v, i);
    fields.valid = ndOptions.validLifetime(v, i);
    fields.preferred = ndOptions.preferredLifetime(v, i);
    fields.prefix = ip.format(ip.read6(v, ndOptions.prefixAt(i)));
  } else {
    fields.data = hex(v, i + 2, ndOptions.length(v, i) - 2);
  }
  return fields;
}

/** What the codecs find. scapy is not asked to look into what shares port 4500, nor into ESP. */
function describe(v: DataView, l: Layers): Fields[] {
  const out: Fields[] = [];
  for (let i = 0; i < l.count; i++) {
    const fields = DESCRIBE[l.kind[i]]?.(v, l.start[i], l.end[i]);
    const name = l.kind[i] === layer.ND ? 'icmp6' : KINDS[l.kind[i]];
    if (fields !== undefined) out.push({ layer: name, ...fields });
  }
  return out;
}

/** One text for equal fields, in whatever order they are. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_key, inner) =>
    inner !== null && typeof inner === 'object' && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  );
}

/** Compares all frames, and says how many headers and fields were equal. */
function compare(t: Test, frames: readonly Described[]): void {
  const l = new Layers();
  const different: unknown[] = [];
  const headers = new Map<string, number>();
  let fields = 0;
  let deep = 0;
  for (const { bytes, layers } of frames) {
    const all = fromHex(bytes);
    const v = viewOf(all);
    const fault = dissect(v, 0, all.length, l);
    const mine = describe(v, l);
    const theirs = fault === TOO_DEEP ? layers.slice(0, layer.MAX_LAYERS) : layers;
    if (fault === TOO_DEEP) deep++;
    if ((fault !== OK && fault !== TOO_DEEP) || canonical(mine) !== canonical(theirs)) {
      different.push({ bytes, fault, scapy: theirs, own: mine });
    }
    for (const header of theirs) {
      headers.set(String(header.layer), (headers.get(String(header.layer)) ?? 0) + 1);
      fields += Object.keys(header).length - 1;
    }
  }
  t.same(different.slice(0, 3), [], `${different.length} of ${frames.length} frames differ`);
  t.comment(`${fields} fields: ${[...headers].map(([name, n]) => `${n} ${name}`).join(', ')}`);
  t.comment(`${deep} frames with more than ${layer.MAX_LAYERS} headers, compared so far`);
}

t.test(`frames that scapy made, seed ${seed}`, async (t) => {
  if (noScapy !== null) return skip(t, noScapy);
  const frames = scapy(['make', String(seed), String(COUNT)]);
  t.equal(frames.length, COUNT);
  compare(t, frames);

  const l = new Layers();
  const r = new Random(seed);
  const wrong: string[] = [];
  const missed: string[] = [];
  let checksums = 0;
  for (const { bytes } of frames) {
    const all = fromHex(bytes);
    const v = viewOf(all);
    dissect(v, 0, all.length, l);
    for (let i = 0; i < l.count; i++) {
      const good = verify(v, l, i);
      if (good === null) continue;
      checksums++;
      if (!good) wrong.push(`${KINDS[l.kind[i]]} of ${bytes}`);
      const at = coveredByte(v, l, i, r);
      all[at] ^= 1 << r.below(8);
      if (verify(v, l, i) === true) missed.push(`${KINDS[l.kind[i]]} of ${hex(v, 0, all.length)}`);
      all.set(fromHex(bytes));
    }
  }
  t.same(wrong, [], `${checksums} checksums are right`);
  t.same(missed, [], 'and wrong with one bit flipped');
});

/** A byte under the checksum of layer `i`, but none of a length, which says what is under it. */
function coveredByte(v: DataView, l: Layers, i: number, r: Random): number {
  const at = l.start[i];
  if (l.kind[i] === layer.IPV4) return at + 1 + r.below(ipv4.headerLength(v, at) - 1);
  const offset = r.below(l.end[i] - at);
  return l.kind[i] === layer.UDP && (offset === 4 || offset === 5) ? at : at + offset;
}

t.test(`frames that the codecs wrote, seed ${seed}`, async (t) => {
  if (noScapy !== null) return skip(t, noScapy);
  const maker = new FrameMaker(new Random(seed));
  const frames = Array.from({ length: COUNT }, () => maker.frame());
  const text = frames.map((frame) => hex(viewOf(frame), 0, frame.length)).join('\n');
  const read = scapy(['read'], `${text}\n`);
  t.equal(read.length, COUNT);
  compare(t, read);
});
