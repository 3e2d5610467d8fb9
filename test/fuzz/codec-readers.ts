/**
 * Every way to read a header, by codec: what fuzzing calls. A codec's getters are those of its functions that
 * take a view and an offset, so that a new one is called without being named here.
 */
import * as arp from '../../codecs/arp.ts';
import * as checksum from '../../codecs/checksum.ts';
import * as esp from '../../codecs/esp.ts';
import * as ethernet from '../../codecs/ethernet.ts';
import { type Fault, OK, TYPE } from '../../codecs/fault.ts';
import * as icmp from '../../codecs/icmp.ts';
import * as icmpv6 from '../../codecs/icmpv6.ts';
import * as ipv4 from '../../codecs/ipv4.ts';
import * as ipv4Options from '../../codecs/ipv4-options.ts';
import * as ipv6 from '../../codecs/ipv6.ts';
import * as extensions from '../../codecs/ipv6-extensions.ts';
import * as layer from '../../codecs/layers.ts';
import * as llc from '../../codecs/llc.ts';
import * as nd from '../../codecs/nd.ts';
import * as ndOptions from '../../codecs/nd-options.ts';
import * as sctp from '../../codecs/sctp.ts';
import * as chunk from '../../codecs/sctp-chunk.ts';
import * as sll from '../../codecs/sll.ts';
import * as tcp from '../../codecs/tcp.ts';
import * as tcpOptions from '../../codecs/tcp-options.ts';
import * as udp from '../../codecs/udp.ts';
import * as vlan from '../../codecs/vlan.ts';
import * as vxlan from '../../codecs/vxlan.ts';

export type Getter = (v: DataView, at: number) => number | boolean;
export type Walk = (v: DataView, at: number, end: number) => number | boolean;

/** How one codec is read. */
export interface Reader {
  readonly name: string;
  check(v: DataView, at: number, end: number): Fault;
  /** Called where `check` says OK. */
  readonly getters: readonly Getter[];
  /** The same, for what needs to know where the header's data ends: options, chunks, checksums. */
  readonly walks: readonly Walk[];
  /** What people are shown; called where `check` says OK. */
  cold(v: DataView, at: number, end: number): unknown;
}

interface Codec {
  check(v: DataView, at: number, end: number): Fault;
  decode(v: DataView, at: number, end: number): unknown;
  format(v: DataView, at: number, end: number): string;
}

/** Functions of a view and an offset that do something else than read one field. */
const OTHERS = /^(set|write|fill|encode|decode|format|check|toReply)/;

/** The getters of a codec, found by their shape. */
function gettersOf(codec: object): Getter[] {
  return Object.entries(codec)
    .filter(([name, value]) => typeof value === 'function' && value.length === 2 && !OTHERS.test(name))
    .map(([, value]) => value);
}

function reader(name: string, codec: Codec, walks: readonly Walk[] = [], getters = gettersOf(codec)): Reader {
  return {
    name,
    check: codec.check,
    getters,
    walks,
    cold: (v, at, end) => [codec.decode(v, at, end), codec.format(v, at, end)],
  };
}

const ipv6Reader: Reader = {
  ...reader('ipv6', ipv6, [
    (v, at, end) => extensions.upper(v, at, end),
    (v, at) => ipv6.src(v, at, 0) ^ ipv6.src(v, at, 1) ^ ipv6.src(v, at, 2) ^ ipv6.src(v, at, 3),
    (v, at) => ipv6.dst(v, at, 0) ^ ipv6.dst(v, at, 1) ^ ipv6.dst(v, at, 2) ^ ipv6.dst(v, at, 3),
    (v, at) => ipv6.isUnspecified(v, at + ipv6.SRC),
    (v, at) => ipv6.isSolicitedNode(v, at + ipv6.DST),
    (v, at) => ipv6.isLinkLocal(v, at + ipv6.SRC),
    (v, at) => ipv6.isMulticast(v, at + ipv6.DST),
    (v, at) => ipv6.sameAddress(v, at + ipv6.SRC, at + ipv6.DST),
    (v, at) => checksum.pseudo6(v, at, 17, 8),
  ]),
  getters: gettersOf(ipv6).filter((get) => !/^(is|same)/.test(get.name)),
};

/** Which of the fields a message has depends on its type. */
const ndReader: Reader = reader(
  'nd',
  nd,
  [
    (v, at, end) => nd.option(v, at, end, ndOptions.SOURCE_LINK),
    (v, at, end) => nd.option(v, at, end, ndOptions.NONCE),
    (v, at) =>
      icmpv6.type(v, at) === icmpv6.ROUTER_ADVERTISEMENT ? nd.reachable(v, at) ^ nd.retrans(v, at) : 0,
    (v, at) => (icmpv6.type(v, at) >= icmpv6.NEIGHBOR_SOLICITATION ? nd.target(v, at, 3) : 0),
    walkNdOptions,
  ],
  [nd.flags, nd.hopLimit, nd.routerFlags, nd.lifetime],
);

function walkNdOptions(v: DataView, at: number, end: number): number {
  let sum = 0;
  for (let i = at + nd.sizeOf(icmpv6.type(v, at)); i >= 0 && i < end; i = ndOptions.next(v, i, end)) {
    sum += ndOptions.length(v, i) + ndOptions.linkHi(v, i) + ndOptions.linkLo(v, i) + ndOptions.mtu(v, i);
    if (v.getUint8(i) !== ndOptions.PREFIX) continue;
    sum += ndOptions.prefixLength(v, i) + ndOptions.prefixFlags(v, i) + ndOptions.validLifetime(v, i);
    sum += ndOptions.preferredLifetime(v, i) + v.getUint32(ndOptions.prefixAt(i) + 12);
  }
  return sum | 0;
}

function walkTcpOptions(v: DataView, at: number): number {
  const end = at + tcp.headerLength(v, at);
  let sum = 0;
  for (let i = at + tcp.SIZE; i >= 0 && i < end; i = tcpOptions.next(v, i, end)) sum += i + v.getUint8(i);
  return sum + tcpOptions.find(v, at + tcp.SIZE, end, tcpOptions.TIMESTAMPS);
}

/** A chunk, wherever it might be; {@link TYPE} for what is none. */
const chunkReader: Reader = {
  name: 'sctp-chunk',
  check: (v, at, end) => (chunk.next(v, at, end) < 0 ? TYPE : OK),
  getters: gettersOf(chunk),
  walks: [(v, at, end) => chunk.next(v, at, end), (v, at, end) => chunk.check(v, at, end)],
  cold: (v, at, end) => [chunk.decode(v, at), chunk.decodeAll(v, at, end), chunk.format(v, at, end)],
};

/** By kind of layer. */
export const READERS: Readonly<Record<number, Reader>> = {
  [layer.ETHERNET]: reader('ethernet', ethernet),
  [layer.SLL]: reader('sll', sll, [], [sll.protocol]),
  [layer.SLL2]: reader(
    'sll2',
    { check: sll.check2, decode: sll.decode2, format: sll.format2 },
    [],
    [sll.protocol2],
  ),
  // The fields of SNAP are there only where it is.
  [layer.LLC]: reader(
    'llc',
    llc,
    [],
    [llc.dsap, llc.ssap, llc.control, llc.isSnap, llc.etherType, llc.headerLength],
  ),
  [layer.VLAN]: reader('vlan', vlan),
  [layer.ARP]: reader('arp', arp),
  [layer.IPV4]: reader('ipv4', ipv4, [
    (v, at) => ipv4Options.check(v, at + ipv4.SIZE, at + ipv4.headerLength(v, at)),
    (v, at) => {
      const end = at + ipv4.headerLength(v, at);
      return ipv4Options.find(v, at + ipv4.SIZE, end, ipv4Options.ROUTER_ALERT);
    },
    (v, at) => ipv4Options.format(v, at + ipv4.SIZE, at + ipv4.headerLength(v, at)).length,
    (v, at) => checksum.pseudo4(v, at, 17, 8),
  ]),
  [layer.IPV6]: ipv6Reader,
  [layer.UDP]: reader('udp', udp, [(v, at) => udp.verifyChecksum(v, at, 1)]),
  [layer.TCP]: reader('tcp', tcp, [
    (v, at) => tcp.checkOptions(v, at),
    walkTcpOptions,
    (v, at, end) => tcp.verifyChecksum(v, at, end, 1),
  ]),
  [layer.SCTP]: reader('sctp', sctp, [
    (v, at, end) => sctp.checkChunks(v, at, end),
    (v, at, end) => sctp.valid(v, at, end),
    (v, at, end) => sctp.verifyChecksum(v, at, end),
  ]),
  [layer.ICMP]: reader('icmp', icmp, [(v, at, end) => icmp.verifyChecksum(v, at, end)]),
  [layer.ICMPV6]: reader('icmpv6', icmpv6, [(v, at, end) => icmpv6.verifyChecksum(v, at, end, 1)]),
  [layer.ND]: ndReader,
  [layer.VXLAN]: reader('vxlan', vxlan),
  [layer.ESP]: reader('esp', esp, [(v, at, end) => esp.carried(v, at, end)]),
};

/** All of them, and what is no layer of its own. */
export const ALL: readonly Reader[] = [...Object.values(READERS), chunkReader];
