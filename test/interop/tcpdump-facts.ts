/**
 * What tcpdump says about a frame, as facts with names: `ip.src` has the source addresses from the outermost
 * header inwards, `tcp.flags` the flags of each TCP header, and so on. `own-facts.ts` makes facts under the
 * same names. tcpdump says less without `-e` and `-v`; what it leaves out is not compared.
 */

export class Facts {
  readonly all = new Map<string, string[]>();

  /** Adds values under names that start with `group`; what is undefined is not known. */
  add(group: string, values: Record<string, string | number | boolean | undefined>): void {
    for (const [name, value] of Object.entries(values)) {
      if (value === undefined) continue;
      const key = `${group}.${name}`;
      const list = this.all.get(key);
      if (list === undefined) this.all.set(key, [String(value)]);
      else list.push(String(value));
    }
  }
}

const MAC = '(?:[0-9a-f]{2}:){5}[0-9a-f]{2}';
const ETHER = new RegExp(
  `(${MAC}) > (${MAC}), (?:ethertype [^(]*\\(0x(....)\\)|802\\.3), length (\\d+)`,
  'g',
);
const COOKED = /^(?:In|Out|B|M|P) ethertype [^(]*\(0x(....)\), length (\d+)/g;
const VLAN = /vlan (\d+), p (\d)(, DEI)?/g;
const TYPES = /ethertype [^(]*\(0x(....)\)/g;
const LLC = /dsap \S+ \(0x(..)\) (\S+), ssap \S+ \(0x(..)\) (\S+), ctrl 0x(..)/g;
const SNAP = /oui \S+ \(0x(.{6})\), pid \S+ \(0x(....)\), length (\d+)/g;
const REQUEST = /Request who-has (\S+)(?: \(([0-9a-f:]{17})\))? tell ([\d.]+), length (\d+)/g;
const REPLY = /Reply ([\d.]+) is-at (\S+), length (\d+)/g;
const PAIR = /(?<=^|[ !])([0-9a-f.:]+) > ([0-9a-f.:]+): /g;
const IP4 =
  /\(tos 0x([0-9a-f]+)[^ ]*?(?:, ttl (\d+))?, id (\d+), offset (\d+), flags \[([^\]]*)\], proto [^(]*\((\d+)\), length (\d+)(?:, options \([^)]*\))?(, bad cksum)?/g;
const IP6 =
  /\((?:class 0x(..), )?(?:flowlabel 0x(.....), )?hlim (\d+), next-header [^(]*\((\d+)\),? payload length:? (\d+)\)/g;
const TCP =
  /Flags \[([^\]]*)\](?:, cksum 0x(....) \((correct|incorrect)[^)]*\))?(?:, seq (\d+)(:\d+)?)?(?:, ack (\d+))?, win (\d+)(?:, urg (\d+))?(?:, options \[([^\]]*)\])?, length (\d+)/g;
const TCP_QUIET = / tcp (\d+)$/g;
const UDP = /UDP, length (\d+)/g;
const DNS = /^(?!.*Flags ).*\.53[ :].* \((\d+)\)$/g;
const UDP_SUM = /\[(udp sum ok|bad udp cksum|no cksum)/g;
const ECHO = /ICMP echo (request|reply), id (\d+), seq (\d+), length (\d+)/g;
const ICMP_TYPE = /ICMP type-#(\d+), length (\d+)/g;
const ICMP6 = /ICMP6, ([a-z0-9 ]+?)(?=,| \[)[^|]*?, length (\d+)/g;
const ICMP6_SUM = /\[(icmp6 sum ok|bad icmp6 cksum)/g;
const TARGET = /(?:who has|tgt is) ([0-9a-f:]+)/g;
const ROUTER = /hop limit (\d+), .*router lifetime (\d+)s, reachable time (\d+)ms, retrans timer (\d+)ms/g;
const PREFIX =
  /prefix info option \(3\), length (\d+) \(\d+\): (\S+)\/(\d+), .*?valid time (\d+)s, pref\. time (\d+)s/g;
const ND_MTU = /mtu option \(5\), length \d+ \(1\): +(\d+)/g;
const ND_LINK = /(source|destination) link-address option \((\d)\), length 8 \(1\): (\S+)/g;
const ESP = /ESP\(spi=0x([0-9a-f]+),seq=0x([0-9a-f]+)\), length (\d+)/g;
const CARRIED = /(UDP-encap|NONESP-encap|isakmp-nat-keep-alive)/g;
const VXLAN = /(?:VXLAN|OTV), flags \[.*?\] \(0x(..)\), (?:vni|overlay 0, instance) (\d+)/g;
const FRAGMENT = /frag \((\d+)\|(\d+)\)/g;
const MISSING = /truncated-ip6? - (\d+) bytes missing/g;
/** What tcpdump says of headers that it cannot read. */
const WRONG =
  /\[\|(ip6?|udp|tcp|esp|hbhopt|rt6|isakmp_rfc3948)\]|bad-(hlen|len) |version error|truncated-ip|wrong link-layer|ICMP6, length 0 \(invalid\)|frag \([^|)]*\|\d{15}|(?<!domain )\[[a-z +]*(length|version) [^\]]*\] \(invalid\)/;
/** Where it begins to speak of what the codecs do not read: other tunnels, and what it was given keys for. */
const BEYOND = /((Geneve|VXLAN-GPE|NSH), |(?<=ESP\([^)]*\), length \d+)[: ]).*/;

/**
 * The facts of one frame. `text` is what tcpdump prints for it in one line, without number and time; lines
 * that begin with a tab are the details of a message. `relative`: sequence numbers count from the connection's
 * first, as without `-S`.
 */
export function factsOf(text: string, relative: boolean): Facts {
  const facts = new Facts();
  const [main, ...details] = text.split('\t');
  const line = main.replace(BEYOND, '').replace(/ +/g, ' ').trim();
  const each = (pattern: RegExp, use: (...parts: string[]) => void, where = line) => {
    for (const match of where.matchAll(pattern)) use(...match.slice(1));
  };
  linkFacts(facts, each);
  ipFacts(facts, each);
  transportFacts(facts, each, relative);
  messageFacts(facts, each, details.join('\n'));
  facts.add('frame', { wrong: WRONG.test(line) });
  return facts;
}

type Each = (pattern: RegExp, use: (...parts: string[]) => void, where?: string) => void;

function linkFacts(facts: Facts, each: Each): void {
  each(ETHER, (src, dst, type, length) => facts.add('ether', { src, dst, type: type ?? '802.3', length }));
  each(COOKED, (type, length) => facts.add('cooked', { type, length }));
  each(VLAN, (vid, pcp, dei) => facts.add('vlan', { vid, pcp, dei: dei !== undefined }));
  each(TYPES, (type) => facts.add('link', { type }));
  each(LLC, (dsap, to, ssap, from, control) => facts.add('llc', { dsap, to, ssap, from, control }));
  each(SNAP, (oui, pid, length) => facts.add('snap', { oui, pid, length }));
  each(REQUEST, (tpa, tha, spa, length) => facts.add('arp', { op: 1, tpa, tha, spa, length }));
  each(REPLY, (spa, sha, length) => facts.add('arp', { op: 2, spa, sha, length }));
}

function ipFacts(facts: Facts, each: Each): void {
  each(PAIR, (from, to) => {
    const [src, srcPort] = endpoint(from);
    const [dst, dstPort] = endpoint(to);
    facts.add('ip', { src, dst });
    facts.add('port', { src: srcPort, dst: dstPort });
  });
  each(IP4, (tos, ttl, id, offset, flags, protocol, length, bad) => {
    facts.add('ip4', { tos, ttl: ttl ?? 0, id, offset, flags, protocol, length, good: bad === undefined });
  });
  each(IP6, (traffic, label, hops, next, length) => {
    facts.add('ip6', { traffic: traffic ?? '00', label: label ?? '00000', hops, next, length });
  });
  each(FRAGMENT, (offset, length) => facts.add('fragment', { offset, length }));
  each(MISSING, (bytes) => facts.add('ip', { missing: bytes }));
}

/** `10.0.0.1.53`, `fe80::1.53`, `10.0.0.1`, `fe80::1` or, behind IPv6 extension headers, `53`. */
function endpoint(text: string): [string | undefined, string | undefined] {
  if (/^\d+$/.test(text)) return [undefined, text];
  const match = text.includes(':') ? /^(.*)\.(\d+)$/.exec(text) : /^(\d+\.\d+\.\d+\.\d+)\.(\d+)$/.exec(text);
  return match === null ? [text, undefined] : [match[1], match[2]];
}

function transportFacts(facts: Facts, each: Each, relative: boolean): void {
  each(TCP, (flags, checksum, sum, seq, range, ack, window, urgent, options, length) => {
    // Of a connection's first packets the numbers are absolute. With -vv there is one for every packet.
    const known =
      relative && !flags.includes('S') ? {} : { seq: numbered(flags, range) ? seq : undefined, ack };
    const good = sum === undefined ? undefined : sum === 'correct';
    facts.add('tcp', { flags, checksum, good, ...known, window, urgent, options: options ?? '', length });
  });
  each(TCP_QUIET, (length) => facts.add('tcp', { length }));
  each(UDP, (length) => facts.add('udp', { length }));
  each(DNS, (length) => facts.add('udp', { length }));
  each(UDP_SUM, (sum) => facts.add('udp', { sum: sum.split(' ').at(sum === 'udp sum ok' ? -1 : 0) }));
  each(ESP, (spi, seq, length) => facts.add('esp', { spi, seq, length }));
  each(CARRIED, (what) => facts.add('carried', { what }));
  each(VXLAN, (flags, vni) => facts.add('vxlan', { flags, vni }));
}

/** Whether a sequence number is printed without -vv. */
function numbered(flags: string, range: string | undefined): boolean {
  return range !== undefined || /[SFR]/.test(flags);
}

function messageFacts(facts: Facts, each: Each, details: string): void {
  each(ECHO, (what, id, seq, length) => {
    facts.add('icmp', { type: what === 'request' ? 8 : 0, code: 0, id, seq, length });
  });
  each(ICMP_TYPE, (type, length) => facts.add('icmp', { type, length }));
  each(ICMP6, (name, length) => facts.add('icmp6', { name, length }));
  each(ICMP6_SUM, (sum) => facts.add('icmp6', { good: sum === 'icmp6 sum ok' }));
  each(TARGET, (target) => facts.add('nd', { target }));
  const detail = (pattern: RegExp, use: (...parts: string[]) => void) => each(pattern, use, details);
  detail(ROUTER, (hops, lifetime, reachable, retrans) => {
    facts.add('router', { hops, lifetime, reachable, retrans });
  });
  detail(PREFIX, (length, prefix, bits, valid, preferred) => {
    facts.add('prefix', { length, prefix, bits, valid, preferred });
  });
  detail(ND_MTU, (mtu) => facts.add('nd', { mtu }));
  detail(ND_LINK, (_which, type, address) => facts.add('nd', { link: `${type} ${address}` }));
}
