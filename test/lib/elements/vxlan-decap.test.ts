import t from 'tap';
import { fromHex, viewOf } from '../../../codecs/bytes.ts';
import * as checksum from '../../../codecs/checksum.ts';
import * as ethernet from '../../../codecs/ethernet.ts';
import * as ip from '../../../codecs/ip.ts';
import * as ipv4 from '../../../codecs/ipv4.ts';
import * as ipv6 from '../../../codecs/ipv6.ts';
import * as udp from '../../../codecs/udp.ts';
import {
  DROPS,
  type Drop,
  ECN,
  INNER_VLAN,
  MALFORMED,
  NOT_CONNECTED,
  NOT_FOR_US,
  NOT_IP,
  NOT_VXLAN,
  OUTER_CHECKSUM,
  OUTER_FRAGMENT,
  RESERVED_BITS,
  UNKNOWN_PEER,
  UNKNOWN_VNI,
  ZERO_CHECKSUM,
} from '../../../lib/core/drop.ts';
import { ALL_REMOTES, GSO_TCPV4, GSO_UDP_L4, NONE, type Packet, remote } from '../../../lib/core/packet.ts';
import { Random } from '../../../lib/core/random.ts';
import { ipOf, setEcn, tosOf } from '../../../lib/elements/ecn.ts';
import { VxlanDecap, type VxlanDecapOptions } from '../../../lib/elements/vxlan-decap.ts';
import { VxlanEncap } from '../../../lib/elements/vxlan-encap.ts';
import { DATAGRAM, ETHERNET, IP, type Medium } from '../../../lib/io/port.ts';
import { VtepTable } from '../../../lib/tables/vtep.ts';
import { Collector, testContext } from '../../gen/context.ts';
import { seed } from '../../gen/seed.ts';
import { skip } from '../../gen/skip.ts';
import {
  address,
  captured,
  FAMILIES,
  type Family,
  frame,
  MEDIA,
  NAMES,
  packetOf,
  pushAll,
  randomFrame,
  udpFrame,
  vtep,
  vtepsOf,
} from './tunnel.ts';

const VNI = 100;

/** Host 1, which takes frames from host 2 (endpoint 0) and knows host 3 (endpoint 1). */
function setup(options: Partial<VxlanDecapOptions> = {}, family: Family = 4) {
  const context = testContext({ count: 128 });
  const base: VxlanDecapOptions = {
    medium: DATAGRAM,
    vteps: vtepsOf([2, 3], family),
    local: { address: address(1, family), port: 4789 },
    networks: [{ vni: VNI, peers: [0] }],
    ...options,
  };
  const decap = new VxlanDecap(context, 'decap', base);
  const out = new Collector();
  for (const { vni } of base.networks) decap.connect(String(vni), out);
  /** Where packets to this host come from. */
  const encap = (host: number, medium: Medium, more: object = {}) => {
    const local = vtep(host, family);
    const vteps = vtepsOf([1], family);
    const sender = { vni: VNI, medium, vteps, remotes: [0], local, seed, vlan: 'keep' as const, ...more };
    const element = new VxlanEncap(context, `host ${host}`, sender);
    const wire = new Collector();
    element.connect('out', wire);
    return (bytes: Uint8Array): Packet => {
      const p = packetOf(context.pool, bytes);
      p.out = ALL_REMOTES;
      pushAll(element, [p]);
      const sent = wire.packets.pop()!;
      // What a memory port leaves of the notes; a DATAGRAM port says from which endpoint.
      sent.forget();
      if (medium === DATAGRAM) sent.peer = host - 2;
      return sent;
    };
  };
  return { context, base, decap, out, encap, send: (p: Packet) => pushAll(decap, [p]) };
}

const digits = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');

t.test(`what went in comes out, seed ${seed}`, async (t) => {
  const r = new Random(seed);
  for (const medium of MEDIA) {
    for (const family of FAMILIES) {
      for (const more of [{}, { udpChecksum: true }]) {
        const { context, decap, out, encap } = setup(
          { medium, networks: [{ vni: VNI, peers: [0], vlan: 'keep' }] },
          family,
        );
        const wrap = encap(2, medium, more);
        let same = 0;
        for (let round = 0; round < 20; round++) {
          const frames = Array.from({ length: 1 + r.below(40) }, () => randomFrame(r));
          pushAll(decap, frames.map(wrap));
          const good = out.packets.every(
            (p, i) =>
              digits(p.frame()) === digits(frames[i]) &&
              p.port === remote(0) &&
              p.peer === 0 &&
              p.vni === VNI,
          );
          if (good && out.packets.length === frames.length) same++;
          out.release();
        }
        t.equal(same, 20, `${NAMES[medium]}, IPv${family}${'udpChecksum' in more ? ', with checksums' : ''}`);
        t.equal(context.pool.used, 0);
      }
    }
  }
});

t.test('what is noted afterwards', async (t) => {
  for (const medium of MEDIA) {
    const { out, encap, send } = setup({ medium });
    const p = encap(2, medium)(udpFrame(4));
    p.l3 = p.l4 = p.start;
    p.out = 7;
    send(p);
    t.same([p.port, p.out, p.peer, p.vni, p.tos], [remote(0), NONE, 0, VNI, 0], NAMES[medium]);
    if (medium !== DATAGRAM) t.same([p.l3, p.l4], [NONE, NONE], 'the headers are gone');
    out.release();
  }
});

t.test('captures: the frames inside, by the VNI and the port', async (t) => {
  for (const [name, port] of [
    ['vxlan.pcap', 4789],
    ['vxlan_port_8472.pcap', 8472],
  ] as const) {
    const frames = captured(name);
    if (frames === null) return skip(t, 'the reference captures are not beside the repository');
    const hosts = [ip.parse('192.168.202.1'), ip.parse('192.168.203.1')];
    let inner: string[] = [];
    for (const [i, host] of hosts.entries()) {
      const vteps = new VtepTable();
      vteps.set({ address: hosts[1 - i], port });
      const { context, decap, out } = setup({ medium: ETHERNET, vteps, local: { address: host, port } });
      pushAll(
        decap,
        frames.map((bytes) => packetOf(context.pool, bytes)),
      );
      inner = [...inner, ...out.frames()];
      t.equal(decap.dropped(NOT_FOR_US), 5, 'what goes the other way');
      out.release();
      t.equal(context.pool.used, 0);
    }
    t.same(inner.sort(), frames.map((bytes) => digits(bytes.slice(50))).sort(), name);
  }
  const [gpe] = captured('nsh-over-vxlan-gpe.pcap')!;
  const v = viewOf(gpe);
  const vteps = new VtepTable();
  vteps.set({ address: { family: 4, words: [0, 0, 0xffff, ipv4.src(v, 14)] }, port: 4790 });
  const local = { address: { family: 4, words: [0, 0, 0xffff, ipv4.dst(v, 14)] }, port: 4790 } as const;
  const { context, decap, send } = setup({ medium: ETHERNET, vteps, local });
  send(packetOf(context.pool, gpe));
  t.equal(decap.dropped(NOT_VXLAN), 1, 'GPE is not VXLAN');
});

/** Sends one packet that is changed on the way, and says what became of it. */
function fate(
  options: Partial<VxlanDecapOptions>,
  family: Family,
  change: (v: DataView, p: Packet) => void,
  sender: object = {},
): string {
  const { context, decap, out, encap, send } = setup(options, family);
  const p = encap(2, options.medium ?? DATAGRAM, sender)(udpFrame(4));
  change(p.view, p);
  send(p);
  const passed = out.packets.length;
  out.release();
  if (context.pool.used !== 0) return 'leaked';
  const reasons = DROPS.map((_, i) => i).filter((i) => decap.dropped(i) > 0);
  return passed === 1 ? 'passed' : reasons.map((i) => DROPS[i].name).join();
}

const name = (reason: Drop) => DROPS[reason].name;

t.test('what is wrong with the VXLAN header', async (t) => {
  const on = (options: Partial<VxlanDecapOptions>, change: (v: DataView, p: Packet) => void) =>
    fate(options, 4, change);
  const flags = (value: number) => (v: DataView, p: Packet) => v.setUint8(p.start, value);
  t.equal(on({}, flags(0)), name(NOT_VXLAN), 'no VNI');
  t.equal(on({}, flags(0x0c)), name(NOT_VXLAN), 'GPE');
  t.equal(on({}, flags(0xf3 | 8)), 'passed', 'reserved bits are ignored');
  t.equal(
    on({}, (v, p) => v.setUint8(p.start + 7, 1)),
    'passed',
    'reserved bits are ignored',
  );
  for (const [at, value] of [
    [0, 0x88],
    [1, 1],
    [2, 1],
    [3, 1],
    [7, 1],
  ]) {
    t.equal(
      on({ strictReserved: true }, (v, p) => v.setUint8(p.start + at, value)),
      name(RESERVED_BITS),
    );
  }
  t.equal(
    on({ strictReserved: true }, () => {}),
    'passed',
  );
  t.equal(
    on({}, (v, p) => v.setUint8(p.start + 6, 101)),
    name(UNKNOWN_VNI),
  );
  const cut = (length: number) => (_: DataView, p: Packet) => {
    p.end = p.start + length;
  };
  t.equal(on({}, cut(22)), 'passed', 'an Ethernet header and nothing else');
  for (let length = 0; length < 22; length++) {
    if (on({}, cut(length)) !== name(MALFORMED)) t.fail(`${length} bytes were taken`);
  }
});

t.test('who may send', async (t) => {
  const from = (peer: number, peers: readonly number[] | 'any-known') =>
    fate({ networks: [{ vni: VNI, peers }] }, 4, (_, p) => {
      p.peer = peer;
    });
  t.equal(from(0, [0]), 'passed');
  t.equal(from(1, [0]), name(UNKNOWN_PEER), 'an endpoint of other networks');
  t.equal(from(4000, [0]), name(UNKNOWN_PEER));
  t.equal(from(4000, [0, 4000]), 'passed');
  t.equal(from(NONE, [0]), name(UNKNOWN_PEER));
  t.equal(from(1, 'any-known'), 'passed');
  t.equal(from(NONE, 'any-known'), name(UNKNOWN_PEER));
  t.equal(from(0, []), name(UNKNOWN_PEER));
  for (const family of FAMILIES) {
    const stranger = { local: vtep(9, family) };
    const known = { local: vtep(3, family) };
    for (const medium of [IP, ETHERNET] as const) {
      t.equal(
        fate({ medium }, family, () => {}, stranger),
        name(UNKNOWN_PEER),
      );
      t.equal(
        fate({ medium }, family, () => {}, known),
        name(UNKNOWN_PEER),
      );
      t.equal(
        fate({ medium, networks: [{ vni: VNI, peers: 'any-known' }] }, family, () => {}, known),
        'passed',
      );
    }
  }
});

t.test('what is wrong with the IPv4 header outside', async (t) => {
  const on = (
    change: (v: DataView, at: number, p: Packet) => void,
    options: Partial<VxlanDecapOptions> = {},
    sender = {},
  ) => fate({ medium: IP, ...options }, 4, (v, p) => change(v, p.start, p), sender);
  const filled = (change: (v: DataView, at: number) => void) =>
    on((v, at) => {
      change(v, at);
      ipv4.fillChecksum(v, at);
    });
  t.equal(
    filled((v, at) => ipv4.setTtl(v, at, 0)),
    'passed',
    'its destination takes it whatever the TTL',
  );
  t.equal(
    on((v, at) => ipv4.setTtl(v, at, 3)),
    name(OUTER_CHECKSUM),
  );
  t.equal(
    on((v, at) => ipv4.setTtl(v, at, 3), { verifyChecksum: false }),
    name(OUTER_CHECKSUM),
    'always verified',
  );
  t.equal(
    filled((v, at) => v.setUint8(at, 0x44)),
    name(MALFORMED),
  );
  t.equal(
    filled((v, at) => ipv4.setTotalLength(v, at, 19)),
    name(MALFORMED),
  );
  t.equal(
    filled((v, at) => ipv4.setTotalLength(v, at, 1000)),
    name(MALFORMED),
  );
  t.equal(
    filled((v, at) => v.setUint8(at, 0x55)),
    name(NOT_IP),
  );
  t.equal(
    filled((v, at) => ipv4.setDst(v, at, 0xc0000209)),
    name(NOT_FOR_US),
  );
  t.equal(
    filled((v, at) => ipv4.setProtocol(v, at, 6)),
    name(NOT_FOR_US),
  );
  t.equal(
    filled((v, at) => ipv4.setFlags(v, at, ipv4.MF)),
    name(OUTER_FRAGMENT),
  );
  t.equal(
    filled((v, at) => ipv4.setFragmentOffset(v, at, 8)),
    name(OUTER_FRAGMENT),
  );
  t.equal(
    on((_, at, p) => {
      p.end = at + 19;
    }),
    name(MALFORMED),
  );
  t.equal(
    on((_, at, p) => {
      p.end = at;
    }),
    name(MALFORMED),
    'nothing at all',
  );
  t.equal(
    fate({ medium: IP, local: { address: address(1, 6), port: 4789 } }, 4, () => {}),
    name(NOT_FOR_US),
    'the other family',
  );

  t.equal(
    on((v, at) => udp.setDstPort(v, at + 20, 4790)),
    name(NOT_FOR_US),
  );
  t.equal(
    on((v, at) => udp.setSrcPort(v, at + 20, 1)),
    'passed',
    'any source port',
  );
  t.equal(
    on((v, at) => udp.setLength(v, at + 20, 7)),
    name(MALFORMED),
  );
  t.equal(
    on((v, at) => udp.setLength(v, at + 20, 1000)),
    name(MALFORMED),
  );
  t.equal(
    on((v, at) => udp.setChecksum(v, at + 20, 1)),
    name(OUTER_CHECKSUM),
  );
  t.equal(
    on((v, at) => udp.setChecksum(v, at + 20, 1), { verifyChecksum: false }),
    'passed',
  );
  t.equal(
    on(() => {}, {}, { udpChecksum: true }),
    'passed',
  );
  const pending = (v: DataView, at: number, p: Packet) => {
    udp.setChecksum(v, at + 20, checksum.pseudo4(v, at, 17, p.end - at - 20));
    p.csumStart = at + 20;
    p.csumOffset = 6;
  };
  t.equal(on(pending), 'passed', 'a checksum that is still to be completed');
});

t.test('options of the IPv4 header outside are stepped over', async (t) => {
  const { context, out, encap, send } = setup({ medium: IP });
  const p = encap(2, IP)(udpFrame(4));
  const { view: v, start } = p;
  for (let i = 0; i < 20; i += 4) v.setInt32(start - 8 + i, v.getInt32(start + i));
  p.start -= 8;
  v.setUint32(start + 12, 0x94040000); // router alert
  v.setUint32(start + 16, 0);
  ipv4.setHeaderLength(v, p.start, 28);
  ipv4.setTotalLength(v, p.start, p.length);
  ipv4.fillChecksum(v, p.start);
  send(p);
  t.same(out.frames(), [digits(udpFrame(4))]);
  out.release();
  t.equal(context.pool.used, 0);
});

t.test('what is wrong with the IPv6 header outside', async (t) => {
  const on = (
    change: (v: DataView, at: number, p: Packet) => void,
    options: Partial<VxlanDecapOptions> = {},
  ) => fate({ medium: IP, ...options }, 6, (v, p) => change(v, p.start, p));
  t.equal(
    on(() => {}),
    'passed',
  );
  t.equal(
    on((v, at) => ipv6.setHopLimit(v, at, 0)),
    'passed',
    'its destination takes it whatever the hop limit',
  );
  t.equal(
    on((v, at) => ipv6.setPayloadLength(v, at, 1000)),
    name(MALFORMED),
  );
  t.equal(
    on((v, at) => v.setUint8(at + 39, 9)),
    name(NOT_FOR_US),
  );
  t.equal(
    on((v, at) => v.setUint8(at + 24, 0xff)),
    name(NOT_FOR_US),
  );
  t.equal(
    on((v, at) => ipv6.setNextHeader(v, at, 6)),
    name(NOT_FOR_US),
  );
  t.equal(
    on((v, at) => {
      ipv6.setNextHeader(v, at, 43);
      v.setUint8(at + 41, 255);
    }),
    name(MALFORMED),
    'a chain that is cut',
  );
  t.equal(
    on((_, at, p) => {
      p.end = at + 39;
    }),
    name(MALFORMED),
  );
  t.equal(
    on((v, at) => udp.setChecksum(v, at + 40, 0)),
    name(ZERO_CHECKSUM),
  );
  t.equal(
    on((v, at) => udp.setChecksum(v, at + 40, 0), { verifyChecksum: false }),
    name(ZERO_CHECKSUM),
  );
  t.equal(
    on((v, at) => udp.setChecksum(v, at + 40, 0), { zeroChecksum6: true }),
    'passed',
  );
  t.equal(
    on((v, at) => udp.setChecksum(v, at + 40, 1), { zeroChecksum6: true }),
    name(OUTER_CHECKSUM),
  );
  t.equal(
    on((v, at) => udp.setChecksum(v, at + 40, 1), { verifyChecksum: false }),
    'passed',
  );
  t.equal(
    on(() => {}, { local: { address: address(1, 4), port: 4789 } }),
    name(NOT_FOR_US),
    'the other family',
  );

  const fragment = (word: number) => (v: DataView, at: number, p: Packet) => {
    for (let i = 0; i < 40; i += 4) v.setInt32(at - 8 + i, v.getInt32(at + i));
    p.start -= 8;
    v.setUint32(at + 32, (17 << 24) | word);
    v.setUint32(at + 36, 1);
    ipv6.setNextHeader(v, p.start, 44);
    ipv6.setPayloadLength(v, p.start, p.length - 40);
  };
  t.equal(on(fragment(1)), name(OUTER_FRAGMENT), 'the first');
  t.equal(on(fragment(8)), name(OUTER_FRAGMENT), 'the last');
  t.equal(on(fragment(0)), 'passed', 'an atomic one is whole (RFC 6946)');
});

t.test('Ethernet outside: tags, other types, padding', async (t) => {
  const on = (change: (v: DataView, at: number, p: Packet) => void, family: Family = 4) =>
    fate({ medium: ETHERNET }, family, (v, p) => change(v, p.start, p));
  const type = (value: number) => (v: DataView, at: number) => ethernet.setEtherType(v, at, value);
  t.equal(on(type(ethernet.TYPE_ARP)), name(NOT_IP));
  t.equal(on(type(100)), name(NOT_IP), 'an 802.3 length');
  t.equal(on(type(ethernet.TYPE_IPV6)), name(MALFORMED), 'the version is another');
  t.equal(on(type(ethernet.TYPE_IPV4), 6), name(MALFORMED), 'the version is another');
  t.equal(
    on((_, at, p) => {
      p.end = at + 13;
    }),
    name(MALFORMED),
  );
  t.equal(
    on((_, at, p) => {
      p.end = at + 14;
    }),
    name(MALFORMED),
  );
  for (const family of FAMILIES) {
    const { context, out, encap, send } = setup({ medium: ETHERNET }, family);
    const p = encap(2, ETHERNET)(udpFrame(4));
    const { view: v, start } = p;
    for (let i = 0; i < 12; i += 4) v.setInt32(start - 4 + i, v.getInt32(start + i));
    p.start -= 4;
    v.setUint32(start + 8, 0x81000005);
    for (let i = 0; i < 9; i++) v.setUint8(p.end++, 0xee);
    send(p);
    t.same(out.frames(), [digits(udpFrame(4))], 'a tag is stepped over, padding is cut off');
    out.release();
    t.equal(context.pool.used, 0);
  }
});

t.test('tagged frames inside', async (t) => {
  for (const type of [0x8100, 0x88a8]) {
    const inner = frame(type, fromHex('0064 0800 45000014'));
    for (const [vlan, passed] of [
      [undefined, false],
      ['drop', false],
      ['keep', true],
    ] as const) {
      const { decap, out, encap, send } = setup({
        networks: [{ vni: VNI, peers: [0], ...(vlan && { vlan }) }],
      });
      send(encap(2, DATAGRAM)(inner));
      t.equal(out.packets.length, passed ? 1 : 0);
      t.equal(decap.dropped(INNER_VLAN), passed ? 0 : 1);
      out.release();
    }
  }
});

t.test('congestion reaches the inner packet: RFC 6040 figure 4, all of it', async (t) => {
  const { NOT_ECT, ECT0, ECT1, CE } = ipv4;
  const fields = [NOT_ECT, ECT0, ECT1, CE];
  const expected = [
    ['00', '00 dangerous', '00 dangerous', 'dropped dangerous'],
    ['10', '10', '01 marked', '11 marked'],
    ['01', '01 unused', '01', '11 marked'],
    ['11', '11', '11 dangerous', '11'],
  ];
  for (const medium of MEDIA) {
    for (const inner of FAMILIES) {
      const outcome = (inside: number, outside: number) => {
        const { context, decap, out, encap, send } = setup({ medium });
        const bytes = udpFrame(inner, 1, 0xb8 | inside);
        const p = encap(2, medium)(bytes);
        p.tos = outside;
        if (medium !== DATAGRAM)
          setEcn(p.view, ipOf(p.view, p.start, p.end) === NONE ? p.start : p.start + 14, outside);
        send(p);
        const words = Object.keys(context.counters.read(decap.name)).filter((key) => key.startsWith('ecn.'));
        const [got] = out.packets;
        let text = 'dropped';
        if (got !== undefined) {
          const tos = tosOf(got.view, got.start + 14);
          if (tos >>> 2 !== 0xb8 >>> 2) text = 'DSCP changed';
          else text = (tos & 3).toString(2).padStart(2, '0');
          if (inner === 4 && !ipv4.verifyChecksum(got.view, got.start + 14)) text = 'wrong checksum';
        } else if (decap.dropped(ECN) !== 1) text = 'lost';
        out.release();
        return [text, ...words.map((key) => key.slice(4))].join(' ');
      };
      const table = fields.map((inside) => fields.map((outside) => outcome(inside, outside)));
      t.same(table, expected, `${NAMES[medium]}, IPv${inner} inside`);
    }
  }
  const { out, encap, send } = setup();
  const p = encap(2, DATAGRAM)(frame(ethernet.TYPE_ARP, new Uint8Array(28)));
  p.tos = CE;
  send(p);
  t.equal(out.packets.length, 1, 'what is not IP has no field to change');
  out.release();
});

t.test('a batch for several networks keeps the order of each', async (t) => {
  const vnis = [1, 2, 0xffffff];
  const { context, decap, out, encap } = setup({ networks: vnis.map((vni) => ({ vni, peers: [0] })) });
  const wraps = vnis.map((vni, i) => encap(2 + 10 * i, DATAGRAM, { vni }));
  const r = new Random(seed);
  const packets = Array.from({ length: 100 }, (_, i) => {
    const p = wraps[r.below(3)](udpFrame(4, i));
    p.peer = 0;
    return p;
  });
  pushAll(decap, packets);
  for (const vni of vnis) {
    const order = out.packets.filter((p) => p.vni === vni).map((p) => p.view.getUint16(p.start + 34));
    t.ok(order.length > 10 && order.every((port, i) => i === 0 || port > order[i - 1]), `order of ${vni}`);
  }
  t.equal(out.packets.length, 100);
  out.release();
  t.equal(context.pool.used, 0);
});

t.test('networks and outputs come and go', async (t) => {
  const { context, base, decap, out, encap, send } = setup();
  const wrap = encap(2, DATAGRAM, { vni: 7 });
  send(wrap(udpFrame(4)));
  t.equal(decap.dropped(UNKNOWN_VNI), 1);
  t.ok(decap.configure({ ...base, networks: [{ vni: 7, peers: [0] }] }));
  send(wrap(udpFrame(4)));
  t.equal(decap.dropped(NOT_CONNECTED), 1, 'a network without an output');
  decap.connect('7', out);
  send(wrap(udpFrame(4)));
  t.equal(out.packets.length, 1);
  out.release();

  decap.connect('8', out);
  t.ok(
    decap.configure({
      ...base,
      networks: [
        { vni: 8, peers: [0] },
        { vni: 7, peers: [1] },
      ],
    }),
  );
  send(encap(12, DATAGRAM, { vni: 8 })(udpFrame(4)));
  t.equal(out.packets.length, 0, 'host 12 is no peer');
  const p = wrap(udpFrame(4));
  p.peer = 1;
  p.view.setUint8(p.start + 6, 8);
  send(p);
  send(wrap(udpFrame(4)));
  t.equal(decap.dropped(UNKNOWN_PEER), 3, 'peers have changed with the networks');

  decap.connect('7', null);
  const q = wrap(udpFrame(4));
  q.peer = 1;
  send(q);
  t.equal(decap.dropped(NOT_CONNECTED), 2);
  decap.connect('7', null);
  t.throws(() => decap.connect('07', out), {
    message: /an output is a VNI 0\.\.16777215 in decimal, got "07"/,
  });
  t.throws(() => decap.connect('16777216', out), RangeError);
  t.throws(() => decap.connect('out', out), RangeError);
  t.equal(context.pool.used, 0);
});

t.test('many networks', async (t) => {
  const vnis = Array.from({ length: 5000 }, (_, i) => (i * 3331) & 0xffffff);
  const { context, decap, out, encap } = setup({
    networks: vnis.map((vni) => ({ vni, peers: 'any-known' as const })),
  });
  const wrap = encap(2, DATAGRAM);
  let found = 0;
  for (const vni of vnis) {
    const p = wrap(udpFrame(4));
    p.view.setUint32(p.start + 4, vni << 8);
    pushAll(decap, [p]);
    if (out.packets[0]?.vni === vni) found++;
    out.release();
  }
  t.equal(found, vnis.length);
  const p = wrap(udpFrame(4));
  p.view.setUint32(p.start + 4, 1 << 8);
  pushAll(decap, [p]);
  t.equal(decap.dropped(UNKNOWN_VNI), 1);
  t.equal(context.pool.used, 0);
});

t.test('super-frames pass whole, trains have to be taken apart before', async (t) => {
  for (const medium of MEDIA) {
    const { context, decap, out, encap, send } = setup({ medium });
    const p = encap(2, medium)(udpFrame(4, 1, 0, 500));
    const inner = p.length - udpFrame(4, 1, 0, 500).length;
    p.gsoType = GSO_TCPV4;
    p.hdrLen = inner + 54;
    p.csumStart = p.start + inner + 34;
    send(p);
    t.equal(p.hdrLen, 54, NAMES[medium]);
    t.equal(p.csumStart, p.start + 34);
    t.equal(p.length, udpFrame(4, 1, 0, 500).length);
    out.release();
    const train = encap(2, medium)(udpFrame(4));
    train.gsoType = GSO_UDP_L4;
    train.hdrLen = inner - 8;
    send(train);
    t.equal(decap.dropped(MALFORMED), 1);
    t.equal(context.pool.used, 0);
  }
});

t.test(`whatever comes, nothing is thrown or lost, seed ${seed}`, async (t) => {
  const r = new Random(seed);
  for (const medium of MEDIA) {
    for (const family of FAMILIES) {
      const { context, decap, out, encap } = setup(
        { medium, networks: [{ vni: VNI, peers: 'any-known' }] },
        family,
      );
      const wrap = encap(2, medium);
      let given = 0;
      let passed = 0;
      for (let i = 0; i < 2000; i++) {
        const p = wrap(randomFrame(r));
        for (let n = r.below(4); n > 0; n--)
          p.bytes[p.start + r.below(Math.min(80, p.length))] = r.below(256);
        if (r.chance(0.2)) p.end = p.start + r.below(p.length + 1);
        pushAll(decap, [p]);
        given++;
        passed += out.packets.length;
        out.release();
      }
      const dropped = DROPS.reduce((sum, _, i) => sum + decap.dropped(i), 0);
      t.equal(passed + dropped, given, `${NAMES[medium]}, IPv${family}: ${passed} passed`);
      t.equal(context.pool.used, 0);
    }
  }
});

t.test('wrong options are refused where they are given', async (t) => {
  const refused = (options: Partial<VxlanDecapOptions>, message: RegExp) =>
    t.throws(() => setup(options), { message });
  refused({ networks: [{ vni: -1, peers: [] }] }, /"networks" expected a VNI 0\.\.16777215, got -1/);
  refused(
    {
      networks: [
        { vni: 1, peers: [] },
        { vni: 1, peers: [] },
      ],
    },
    /"networks" names the VNI 1 twice/,
  );
  refused(
    { networks: [{ vni: 1, peers: [70000] }] },
    /"peers" expected numbers of endpoints, 0\.\.65535, got 70000/,
  );
  refused({ medium: IP, local: { address: address(1, 4), port: 65536 } }, /"local.port" expected/);
});
