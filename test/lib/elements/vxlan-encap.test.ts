import { spawnSync } from 'node:child_process';
import t from 'tap';
import { viewOf } from '../../../codecs/bytes.ts';
import { CaptureWriter } from '../../../codecs/capture-writer.ts';
import * as checksum from '../../../codecs/checksum.ts';
import * as ethernet from '../../../codecs/ethernet.ts';
import * as ipv4 from '../../../codecs/ipv4.ts';
import * as ipv6 from '../../../codecs/ipv6.ts';
import * as linktype from '../../../codecs/linktype.ts';
import * as udp from '../../../codecs/udp.ts';
import * as vxlan from '../../../codecs/vxlan.ts';
import {
  MALFORMED,
  NO_DESTINATION,
  NO_REMOTES,
  POOL_DRY,
  TOO_BIG,
  UNKNOWN_PEER,
} from '../../../lib/core/drop.ts';
import { ALL_REMOTES, GSO_TCPV4, NONE, type Packet, remote } from '../../../lib/core/packet.ts';
import { JUMBO_SLOT } from '../../../lib/core/pool.ts';
import { VxlanEncap, type VxlanEncapOptions } from '../../../lib/elements/vxlan-encap.ts';
import { DATAGRAM, ETHERNET, IP } from '../../../lib/io/port.ts';
import { VtepTable } from '../../../lib/tables/vtep.ts';
import { Collector, testContext } from '../../gen/context.ts';
import { has, skip } from '../../gen/skip.ts';
import {
  address,
  captured,
  FAMILIES,
  type Family,
  frame,
  packetOf,
  pushAll,
  udpFrame,
  vtep,
  vtepsOf,
} from './tunnel.ts';

const VNI = 0x123456;

function setup(options: Partial<VxlanEncapOptions> = {}, family: Family = 4, slot = 2048) {
  const context = testContext({ count: 64, slot });
  const base: VxlanEncapOptions = {
    vni: VNI,
    medium: DATAGRAM,
    vteps: vtepsOf([2, 3, 4], family),
    remotes: [0, 1, 2],
    local: vtep(1, family),
    seed: 42,
    ...options,
  };
  const encap = new VxlanEncap(context, 'encap', base);
  const out = new Collector();
  encap.connect('out', out);
  const send = (bytes: Uint8Array, to = remote(0), change?: (p: Packet) => void): Packet[] => {
    const p = packetOf(context.pool, bytes);
    p.out = to;
    change?.(p);
    pushAll(encap, [p]);
    return out.packets;
  };
  return { context, base, encap, out, send };
}

t.test('for a port that hides the outer header: 8 bytes, and what the port has to know', async (t) => {
  const { context, out, send } = setup();
  const inner = udpFrame(4, 1000, 0xb8 | 2);
  const [p] = send(inner, remote(1));
  t.equal(out.packets.length, 1);
  t.equal(p.length, inner.length + vxlan.SIZE);
  t.same(vxlan.decode(p.view, p.start), { flags: 8, reserved: 0, vni: VNI, reserved2: 0 });
  t.same(p.frame().slice(vxlan.SIZE), inner, 'the frame is as it was');
  t.equal(p.peer, 1);
  t.not(p.hash, 0);
  t.equal(p.tos, 2, 'ECN of the inner packet, and not its DSCP');
  out.release();
  t.equal(context.pool.used, 0);
});

t.test('known captures come out byte for byte', async (t) => {
  for (const [name, port] of [
    ['vxlan.pcap', 4789],
    ['vxlan_port_8472.pcap', 8472],
  ] as const) {
    const frames = captured(name);
    if (frames === null) return skip(t, 'the reference captures are not beside the repository');
    let same = 0;
    for (const bytes of frames) {
      const v = viewOf(bytes);
      const mac = (hi: number, lo: number) => ({ hi, lo });
      const ip = (word: number) => ({ family: 4, words: [0, 0, 0xffff, word] }) as const;
      const vteps = new VtepTable(1);
      const to = mac(ethernet.dstHi(v, 0), ethernet.dstLo(v, 0));
      vteps.set({ address: ip(ipv4.dst(v, 14)), port, mac: to });
      const from = mac(ethernet.srcHi(v, 0), ethernet.srcLo(v, 0));
      const local = { address: ip(ipv4.src(v, 14)), port, mac: from };
      const ttl = ipv4.ttl(v, 14);
      const { context, out, send } = setup({ vni: 100, medium: ETHERNET, vteps, remotes: [0], local, ttl });
      const [p] = send(bytes.subarray(50), ALL_REMOTES);
      // What differs by design: the identification of an atomic packet, and the entropy of the port.
      ipv4.setId(v, 14, 0);
      ipv4.fillChecksum(v, 14);
      udp.setSrcPort(v, 34, udp.srcPort(p.view, p.start + 34));
      if (Buffer.compare(p.frame(), bytes) === 0) same++;
      out.release();
      if (context.pool.used !== 0) t.fail('a packet has not come home');
    }
    t.equal(same, frames.length, `${same} frames of ${name}`);
  }
});

t.test('outer headers over IPv4 and IPv6, with and without Ethernet', async (t) => {
  for (const family of FAMILIES) {
    for (const medium of [IP, ETHERNET] as const) {
      const { context, out, send } = setup({ medium, ttl: 7 }, family);
      const inner = udpFrame(4, 1000, 3);
      const [p] = send(inner, remote(1));
      const v = p.view;
      const l2 = medium === ETHERNET ? 14 : 0;
      const l3 = p.start + l2;
      const l4 = l3 + (family === 4 ? 20 : 40);
      t.equal(p.length, l4 - p.start + udp.SIZE + vxlan.SIZE + inner.length);
      t.same([p.l3, p.l4], [l3, l4], 'offsets are noted');
      if (medium === ETHERNET) {
        t.same(ethernet.decode(v, p.start), {
          dst: '02:fe:00:00:00:03',
          src: '02:fe:00:00:00:01',
          etherType: family === 4 ? 0x0800 : 0x86dd,
        });
      }
      if (family === 4) {
        const { dscp, ecn, id, flags, ttl, protocol, src, dst, totalLength } = ipv4.decode(v, l3);
        t.same([dscp, ecn, id, flags, ttl, protocol], [0, 3, 0, ipv4.DF, 7, 17]);
        t.same([src, dst, totalLength], ['192.0.2.1', '192.0.2.3', inner.length + 36]);
        t.ok(ipv4.verifyChecksum(v, l3));
        t.equal(udp.checksum(v, l4), 0);
      } else {
        const { trafficClass, flowLabel, payloadLength, hopLimit, src, dst } = ipv6.decode(v, l3);
        t.same([trafficClass, payloadLength, hopLimit], [3, inner.length + 16, 7]);
        t.same([src, dst], ['2001:db8::1', '2001:db8::3']);
        t.not(flowLabel, 0);
        t.ok(udp.verifyChecksum(v, l4, checksum.pseudo6(v, l3, 17, inner.length + 16)));
      }
      t.equal(udp.dstPort(v, l4), 4789);
      t.equal(udp.length(v, l4), inner.length + 16);
      t.same(Buffer.from(p.frame().slice(-inner.length)).toString('hex'), Buffer.from(inner).toString('hex'));
      out.release();
      t.equal(context.pool.used, 0);
    }
  }
});

t.test('UDP checksums are what was asked for', async (t) => {
  const checksumOf = (options: Partial<VxlanEncapOptions>, family: Family) => {
    const { out, send } = setup({ medium: IP, ...options }, family);
    const [p] = send(udpFrame(6));
    const l4 = p.start + (family === 4 ? 20 : 40);
    const pseudo = family === 4 ? checksum.pseudo4 : checksum.pseudo6;
    const right = udp.verifyChecksum(p.view, l4, pseudo(p.view, p.start, 17, p.end - l4));
    const none = udp.checksum(p.view, l4) === 0;
    out.release();
    return none ? 'none' : right ? 'right' : 'wrong';
  };
  t.equal(checksumOf({}, 4), 'none');
  t.equal(checksumOf({ udpChecksum: true }, 4), 'right');
  t.equal(checksumOf({}, 6), 'right');
  t.equal(checksumOf({ zeroChecksum6: true }, 6), 'none');
  t.equal(checksumOf({ zeroChecksum6: true, udpChecksum: true }, 6), 'right');
});

t.test('a checksum that is still to be completed inside does not spoil the one outside', async (t) => {
  for (const bytes of [30, 31]) {
    const { out, send } = setup({ medium: IP }, 6);
    const inner = udpFrame(4, 999, 0, bytes);
    // The field holds the sum of the pseudo header, as with the kernel's virtio_net header.
    const v = viewOf(inner);
    udp.setChecksum(v, 34, checksum.pseudo4(v, 14, 17, inner.length - 34));
    const [p] = send(inner, remote(0), (q) => {
      q.csumStart = q.start + 34;
      q.csumOffset = 6;
    });
    p.view.setUint16(p.csumStart + 6, checksum.finish(checksum.sum(p.view, p.csumStart, p.end)));
    const l4 = p.start + 40;
    t.ok(
      udp.verifyChecksum(p.view, l4, checksum.pseudo6(p.view, p.start, 17, p.end - l4)),
      'right when it is complete',
    );
    out.release();
  }
});

t.test('one flow has one source port and one label, and flows spread', async (t) => {
  const { out, send } = setup({ medium: IP }, 6);
  const entropy = (from: number, bytes = 12) => {
    const [p] = send(udpFrame(4, from, 0, bytes));
    const found = { port: udp.srcPort(p.view, p.start + 40), label: ipv6.flowLabel(p.view, p.start) };
    out.release();
    return found;
  };
  t.same(entropy(1), entropy(1, 1000));
  const found = Array.from({ length: 256 }, (_, i) => entropy(i));
  t.ok(
    found.every(({ port }) => port >= 49152 && port <= 65535),
    'dynamic ports',
  );
  t.ok(new Set(found.map(({ port }) => port)).size > 240, 'different ports');
  t.ok(new Set(found.map(({ label }) => label)).size > 240, 'different labels');

  const given = send(udpFrame(4, 1), remote(0), (p) => {
    p.hash = 0x00000fff;
  })[0];
  t.equal(udp.srcPort(given.view, given.start + 40), 49152 + 0xfff, 'a hash that is known is used');
  t.equal(ipv6.flowLabel(given.view, given.start), 1, 'a label is never 0');
  out.release();

  const other = setup({ medium: IP, seed: 43 }, 6);
  const [p] = other.send(udpFrame(4, 1));
  t.not(udp.srcPort(p.view, p.start + 40), entropy(1).port, 'another seed, another port');
  other.out.release();
});

t.test('TOS outside: pipe or uniform, normal or compatible', async (t) => {
  const tosOf = (bytes: Uint8Array, options: Partial<VxlanEncapOptions>) => {
    const { out, send } = setup(options);
    const { tos } = send(bytes)[0];
    out.release();
    return tos;
  };
  for (const family of FAMILIES) {
    const bytes = udpFrame(family, 1, (10 << 2) | 3);
    t.equal(tosOf(bytes, {}), 3);
    t.equal(tosOf(bytes, { dscp: 46 }), (46 << 2) | 3);
    t.equal(tosOf(bytes, { dscp: 'uniform' }), (10 << 2) | 3);
    t.equal(tosOf(bytes, { ecn: 'compatibility' }), 0);
    t.equal(tosOf(bytes, { dscp: 'uniform', ecn: 'compatibility' }), 10 << 2);
  }
  const arp = frame(ethernet.TYPE_ARP, new Uint8Array(28).fill(0xff));
  t.equal(tosOf(arp, { dscp: 'uniform' }), 0, 'what is not IP has no ECN');
  t.equal(tosOf(arp, { dscp: 46 }), 46 << 2);
});

t.test('a flooded frame goes once to each endpoint of the list', async (t) => {
  for (const medium of [DATAGRAM, ETHERNET] as const) {
    const { context, out, send } = setup({ medium });
    const inner = udpFrame(4);
    send(inner, ALL_REMOTES);
    t.same(out.packets.map((p) => p.peer).sort(), [0, 1, 2]);
    const bodies = new Set(
      out.packets.map((p) => Buffer.from(p.frame().slice(-inner.length)).toString('hex')),
    );
    t.same([...bodies], [Buffer.from(inner).toString('hex')]);
    t.equal(new Set(out.packets.map((p) => p.hash)).size, 1);
    if (medium === ETHERNET) {
      t.same(
        out.packets.map((p) => ipv4.decode(p.view, p.start + 14).dst),
        ['192.0.2.2', '192.0.2.3', '192.0.2.4'],
      );
    }
    out.release();
    t.equal(context.pool.used, 0);
  }
});

t.test('floods of many batches keep their order at each endpoint', async (t) => {
  const { context, encap, out } = setup({ remotes: [0, 2] });
  const packets = Array.from({ length: 30 }, (_, i) => {
    const p = packetOf(context.pool, udpFrame(4, i));
    p.out = ALL_REMOTES;
    return p;
  });
  pushAll(encap, packets);
  for (const peer of [0, 2]) {
    const ports = out.packets.filter((p) => p.peer === peer).map((p) => p.view.getUint16(p.start + 8 + 34));
    t.same(
      ports,
      Array.from({ length: 30 }, (_, i) => i),
    );
  }
  out.release();
  t.equal(context.pool.used, 0);
});

t.test('a dry pool costs copies, and the packet itself still goes', async (t) => {
  const { context, encap, out, send } = setup();
  const taken = Array.from({ length: 62 }, () => context.pool.take()!);
  send(udpFrame(4), ALL_REMOTES);
  t.same(
    out.packets.map((p) => p.peer),
    [0, 2],
  );
  t.equal(encap.dropped(POOL_DRY), 1);
  out.release();
  for (const p of taken) context.pool.give(p);
  t.equal(context.pool.used, 0);
});

t.test('VLAN tags are taken off, or kept where that is asked for', async (t) => {
  const plain = udpFrame(4, 5, 1);
  const tagged = (tags: string) =>
    new Uint8Array([...plain.slice(0, 12), ...Buffer.from(tags, 'hex'), ...plain.slice(12)]);
  for (const tags of ['81000064', '88a8006481000065', '88a80064810000658100006688a80067']) {
    const { context, encap, out, send } = setup();
    const [p] = send(tagged(tags));
    t.same(p.frame().slice(8), plain, `${tags.length / 8} tags`);
    t.equal(p.tos, 1);
    t.equal(context.counters.get(encap.name, 'untagged'), 1);
    out.release();
  }
  const kept = setup({ vlan: 'keep' });
  const [p] = kept.send(tagged('81000064'));
  t.same(p.frame().slice(8), tagged('81000064'));
  t.equal(p.tos, 1, 'ECN is found behind the tag');
  kept.out.release();

  const { context, encap, send } = setup();
  send(frame(0x8100, new Uint8Array([0, 1, 8])));
  send(frame(0x8100, new Uint8Array([0, 1, 0x81, 0, 0, 1])));
  t.equal(encap.dropped(MALFORMED), 2, 'a frame that ends inside a tag');
  t.equal(context.pool.used, 0);
});

t.test('a super-frame is encapsulated once', async (t) => {
  for (const [medium, overhead] of [
    [DATAGRAM, 8],
    [IP, 36],
    [ETHERNET, 50],
  ] as const) {
    const { context, out, send } = setup({ medium, udpChecksum: true }, 4, JUMBO_SLOT);
    const note = (p: Packet) => {
      p.gsoType = GSO_TCPV4;
      p.gsoSize = 1400;
      p.hdrLen = 54;
      p.csumStart = p.start + 34;
      p.csumOffset = 16;
    };
    const [p] = send(udpFrame(4, 1, 0, 65000), remote(0), note);
    const inner = p.start + overhead;
    t.equal(p.hdrLen, 54 + overhead);
    t.equal(p.csumStart, inner + 34, 'an offset into the slot');
    if (medium !== DATAGRAM) t.equal(udp.checksum(p.view, p.l4), 0, 'each segment gets its own');
    out.release();
    const [tagged] = send(udpFrame(4, 1, 0, 65493), remote(0), note);
    if (medium === IP)
      t.equal(ipv4.totalLength(tagged.view, tagged.start), 65535, 'more than the field can say');
    out.release();
    t.equal(context.pool.used, 0);
  }
  const { send, out } = setup();
  const plain = udpFrame(4);
  const [p] = send(
    new Uint8Array([...plain.slice(0, 12), 0x81, 0, 0, 1, ...plain.slice(12)]),
    remote(0),
    (q) => {
      q.gsoType = GSO_TCPV4;
      q.hdrLen = 58;
    },
  );
  t.equal(p.hdrLen, 54 + 8, 'without the tag that was taken off');
  out.release();
});

t.test('what cannot be sent has a reason', async (t) => {
  const reason = (
    expected: number,
    options: Partial<VxlanEncapOptions>,
    bytes: Uint8Array,
    to: number,
    change?: (p: Packet) => void,
  ) => {
    const { context, encap, send } = setup(options, 4, JUMBO_SLOT);
    t.equal(send(bytes, to, change).length, 0);
    t.equal(encap.dropped(expected), 1);
    t.equal(context.pool.used, 0);
  };
  const bytes = udpFrame(4);
  reason(MALFORMED, {}, bytes.slice(0, 13), remote(0));
  reason(MALFORMED, {}, bytes.slice(0, 0), ALL_REMOTES);
  reason(NO_REMOTES, { remotes: [] }, bytes, ALL_REMOTES);
  reason(NO_DESTINATION, {}, bytes, NONE);
  reason(NO_DESTINATION, {}, bytes, 17);
  reason(UNKNOWN_PEER, { medium: IP }, bytes, remote(9));
  reason(UNKNOWN_PEER, { medium: IP, vteps: vtepsOf([2], 6) }, bytes, remote(0));
  const silent = new VtepTable(1);
  silent.set({ address: address(2, 4), port: 4789 });
  reason(NO_DESTINATION, { medium: ETHERNET, vteps: silent }, bytes, remote(0));
  reason(TOO_BIG, { medium: IP }, new Uint8Array(65536 - 36), remote(0));
  for (const medium of [DATAGRAM, IP] as const) {
    reason(TOO_BIG, { medium }, bytes, remote(0), (p) => {
      p.start = 7;
      p.end = 7 + 64;
    });
  }
});

t.test('other options are taken over', async (t) => {
  const { context, base, encap, out, send } = setup();
  t.ok(encap.configure({ ...base, vni: 9, remotes: [1], dscp: 1 }));
  const [p] = send(udpFrame(4), ALL_REMOTES);
  t.same([vxlan.vni(p.view, p.start), p.peer, p.tos], [9, 1, 4]);
  out.release();
  t.throws(() => encap.configure({ ...base, vni: -1 }), RangeError);
  t.ok(encap.configure({ ...base, medium: IP }));
  t.equal(send(udpFrame(4))[0].l4, out.packets[0].start + 20);
  out.release();
  t.equal(context.pool.used, 0);
});

t.test('wrong options are refused where they are given', async (t) => {
  const refused = (options: Partial<VxlanEncapOptions>, message: RegExp, family: Family = 4) =>
    t.throws(() => setup(options, family), { message });
  refused({ vni: 0x1000000 }, /"vni" expected a VNI 0\.\.16777215, got 16777216/);
  refused({ vni: 1.5 }, /"vni" expected/);
  refused({ remotes: [-1] }, /"remotes" expected numbers of endpoints, 0\.\.65535, got -1/);
  refused({ remotes: [3, 3] }, /"remotes" names an endpoint twice/);
  refused({ dscp: 64 }, /"dscp" expected an integer 0\.\.63 or "uniform", got 64/);
  refused({ medium: IP, ttl: 0 }, /"ttl" expected an integer 1\.\.255, got 0/);
  refused(
    { medium: IP, local: { address: address(1, 4), port: 0 } },
    /"local.port" expected an integer 1\.\.65535, got 0/,
  );
  refused(
    { medium: ETHERNET, local: { address: address(1, 4), port: 4789 } },
    /"local.mac" expected the MAC address/,
  );
  refused({ medium: IP, udpChecksum: false }, /"udpChecksum" cannot be off over IPv6/, 6);
});

t.test('tcpdump reads what comes out', async (t) => {
  if (!has('tcpdump')) return skip(t, 'tcpdump is not installed');
  const chunks: Buffer[] = [];
  const writer = new CaptureWriter((bytes) => chunks.push(Buffer.from(bytes)), { format: 'pcap' });
  const link = writer.interface({ link: linktype.ETHERNET });
  for (const family of FAMILIES) {
    const { out, send } = setup({ medium: ETHERNET, udpChecksum: true }, family);
    for (const inner of FAMILIES) send(udpFrame(inner, 4000));
    for (const p of out.packets) writer.frame(link, 0, 0, 0, p.bytes, p.start, p.end);
    out.release();
  }
  writer.flush();
  const { stdout } = spawnSync('tcpdump', ['-nvvr', '-'], { input: Buffer.concat(chunks), encoding: 'utf8' });
  const count = (pattern: RegExp) => stdout.match(pattern)?.length;
  t.equal(count(/VXLAN, flags \[I\] \(0x08\), vni 1193046/g), 4);
  t.equal(count(/\[udp sum ok\] VXLAN/g), 4, 'outer checksums');
  t.equal(count(/10\.0\.0\.1\.4000 > 10\.0\.0\.2\.53/g), 2);
  t.equal(count(/fd00::1\.4000 > fd00::2\.53/g), 2);
  t.notMatch(stdout, /bad cksum/);
});
