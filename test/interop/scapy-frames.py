"""Frames made and read by scapy, for scapy.test.ts.

    scapy-frames.py make SEED COUNT     prints frames, one JSON object a line: {"bytes": hex, "layers": [...]}
    scapy-frames.py read                reads frames in hexadecimal from stdin, prints the same for each

A layer is its name and its fields under the names that the codecs give them, with the values that scapy
finds when it dissects the bytes.
"""
import json
import logging
import random
import sys

logging.getLogger('scapy').setLevel(logging.CRITICAL)

from scapy.layers.inet import (
    ICMP, IP, TCP, UDP, IPOption_NOP, IPOption_RR, IPOption_Router_Alert,
    IPOption_Stream_Id,
)
from scapy.layers.inet6 import (
    ICMPv6DestUnreach, ICMPv6EchoReply, ICMPv6EchoRequest, ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6ND_RA,
    ICMPv6ND_RS, ICMPv6ND_Redirect, ICMPv6NDOptDstLLAddr, ICMPv6NDOptMTU, ICMPv6NDOptPrefixInfo,
    ICMPv6NDOptSrcLLAddr, ICMPv6NDOptUnknown, ICMPv6PacketTooBig, ICMPv6ParamProblem, ICMPv6TimeExceeded,
    IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment, IPv6ExtHdrHopByHop, IPv6ExtHdrRouting, PadN,
)
from scapy.layers.l2 import ARP, LLC, SNAP, Dot1AD, Dot1Q, Dot3, Ether
from scapy.layers.sctp import (
    SCTP, SCTPChunkCookieAck, SCTPChunkCookieEcho, SCTPChunkData,
    SCTPChunkInit, SCTPChunkSACK, SCTPChunkShutdown, SCTPChunkShutdownAck, SCTPChunkShutdownComplete,
)
from scapy.layers.vxlan import VXLAN
from scapy.packet import Packet, Padding, Raw, split_layers

VXLAN_PORT = 4789
EXTENSIONS = (IPv6ExtHdrHopByHop, IPv6ExtHdrRouting, IPv6ExtHdrFragment, IPv6ExtHdrDestOpt)


# Making

class Maker:
    def __init__(self, seed):
        self.r = random.Random(seed)

    def bits(self, n):
        return self.r.getrandbits(n)

    def data(self, most, least=0):
        return self.r.randbytes(self.r.randint(least, most))

    def mac(self):
        return ':'.join('%02x' % b for b in self.r.randbytes(6))

    def ip4(self):
        return '.'.join(str(b) for b in self.r.randbytes(4))

    def ip6(self):
        if self.r.random() < 0.2:
            return self.r.choice(['::', '::1', 'fe80::1', 'ff02::1', 'ff02::1:ff00:1', '2001:db8::', 'fd00:0:0:1::2'])
        return ':'.join('%x' % self.bits(16) for _ in range(8))

    def port(self):
        # Not those behind which scapy or the dissector looks for something.
        return self.r.choice([1, 22, 1024, 49152, 60000, 65535]) if self.r.random() < 0.3 else self.r.randint(20000, 40000)

    def frame(self, depth=0):
        r = self.r
        kind = r.random()
        if kind < 0.03:
            return self.llc()
        link = Ether(dst=self.mac(), src=self.mac())
        tags = r.choice([0, 0, 0, 1, 2]) if depth == 0 else r.choice([0, 0, 0, 0, 1])
        for i in range(tags):
            tag = Dot1AD if tags == 2 and i == 0 else Dot1Q
            link = link / tag(prio=self.bits(3), id=self.bits(1), vlan=self.bits(12))
        if kind < 0.12:
            return self.pad(link / self.arp())
        if kind < 0.16:
            link.lastlayer().type = 0x88b5
            return link / Raw(self.data(40, 1))
        packet = self.packet4(depth) if kind < 0.58 else self.packet6(depth)
        return self.pad(link / packet)

    def pad(self, frame):
        short = 60 - len(frame)
        return frame / Padding(bytes(short)) if short > 0 and self.r.random() < 0.5 else frame

    def llc(self):
        inner = self.data(50, 1)
        frame = Dot3(dst=self.mac(), src=self.mac())
        if self.r.random() < 0.5:
            return frame / LLC(dsap=0xf0, ssap=0xf1, ctrl=3) / Raw(inner)
        return frame / LLC(dsap=0xaa, ssap=0xaa, ctrl=3) / SNAP(OUI=self.r.choice([0xc, 0x80c2]), code=self.bits(16)) / Raw(inner)

    def arp(self):
        return ARP(op=self.r.choice([1, 1, 2, 3, self.bits(16)]), hwsrc=self.mac(), psrc=self.ip4(),
                   hwdst=self.mac(), pdst=self.ip4())

    def packet4(self, depth):
        r = self.r
        ip = IP(src=self.ip4(), dst=self.ip4(), tos=self.bits(8), id=self.bits(16), ttl=self.bits(8),
                flags=r.choice([0, 2, 2, 4, 6]))
        if r.random() < 0.2:
            # No source routes: their pseudo header has the last hop's address (RFC 1122 section 4.2.3.8).
            ip.options = r.choice([
                [IPOption_NOP()],
                [IPOption_RR(routers=[self.ip4() for _ in range(r.randint(1, 9))])],
                [IPOption_Stream_Id(security=self.bits(16)), IPOption_NOP()],
                [IPOption_Router_Alert()],
            ])
        shape = r.random()
        if shape < 0.05:  # a later fragment
            ip.frag = r.randint(1, 8000)
            ip.flags = r.choice([0, 1])
            ip.proto = r.choice([1, 6, 17])
            return ip / Raw(self.data(100, 1))
        if shape < 0.08:
            ip.proto = r.choice([61, 253, 254])
            return ip / Raw(self.data(100, 1))
        if shape < 0.30:
            return ip / self.icmp()
        return ip / self.transport(depth)

    def packet6(self, depth):
        r = self.r
        ip = IPv6(src=self.ip6(), dst=self.ip6(), tc=self.bits(8), fl=self.bits(20), hlim=self.bits(8))
        if r.random() < 0.3:
            ip = self.extend(ip)
        if r.random() < 0.05:
            ip = ip / IPv6ExtHdrFragment(offset=r.randint(1, 8000), m=self.bits(1), id=self.bits(32), nh=17)
            return ip / Raw(self.data(100, 1))
        if r.random() < 0.04:
            ip.lastlayer().nh = 59
            return ip
        return ip / (self.icmp6() if r.random() < 0.5 else self.transport(depth))

    def extend(self, ip):
        r = self.r
        if r.random() < 0.5:
            ip = ip / IPv6ExtHdrHopByHop(options=[PadN(optdata=self.data(20))] if r.random() < 0.7 else [])
        if r.random() < 0.4:
            ip = ip / IPv6ExtHdrDestOpt(options=[PadN(optdata=self.data(8))])
        if r.random() < 0.4:
            ip = ip / IPv6ExtHdrRouting(addresses=[self.ip6() for _ in range(r.randint(0, 3))], segleft=0)
        if r.random() < 0.3:  # an atomic fragment, RFC 6946
            ip = ip / IPv6ExtHdrFragment(offset=0, m=0, id=self.bits(32))
        return ip

    def transport(self, depth):
        kind = self.r.random()
        if kind < 0.25 and depth == 0:
            return self.vxlan()
        if kind < 0.55:
            return UDP(sport=self.port(), dport=self.port()) / Raw(self.data(200))
        if kind < 0.85:
            return self.tcp()
        return self.sctp()

    def vxlan(self):
        header = VXLAN(flags=0x08, vni=self.bits(24)) if self.r.random() < 0.8 else \
            VXLAN(flags=0x88, gpflags=self.bits(8), gpid=self.bits(16), vni=self.bits(24), reserved2=self.bits(8))
        udp = UDP(sport=self.r.randint(49152, 65535), dport=VXLAN_PORT)
        if self.r.random() < 0.3:
            udp.chksum = 0
        return udp / header / self.frame(1)

    def tcp(self):
        r = self.r
        options = []
        for _ in range(r.randint(0, 4)):
            options.append(r.choice([
                ('MSS', self.bits(16)), ('NOP', None), ('WScale', r.randint(0, 14)), ('SAckOK', b''),
                ('Timestamp', (self.bits(32), self.bits(32))), ('SAck', (self.bits(32), self.bits(32))),
                (253, self.data(5)),
            ]))
        return TCP(sport=self.port(), dport=self.port(), seq=self.bits(32), ack=self.bits(32), flags=self.bits(8),
                   window=self.bits(16), urgptr=self.bits(16), reserved=0, options=self.fitting(options)) / Raw(self.data(200))

    @staticmethod
    def fitting(options):
        sizes = {'MSS': 4, 'NOP': 1, 'WScale': 3, 'SAckOK': 2, 'Timestamp': 10, 'SAck': 10}
        while sum(sizes.get(k, 2 + len(v) if isinstance(v, bytes) else 0) for k, v in options) > 40:
            options = options[1:]
        return options

    def sctp(self):
        r = self.r
        packet = SCTP(sport=self.port(), dport=self.port(), tag=self.bits(32))
        if r.random() < 0.2:
            return packet / SCTPChunkInit(init_tag=self.bits(32), a_rwnd=self.bits(32), n_out_streams=self.bits(16),
                                          n_in_streams=self.bits(16), init_tsn=self.bits(32))
        for _ in range(r.randint(1, 4)):
            packet = packet / r.choice([
                lambda: SCTPChunkData(tsn=self.bits(32), stream_id=self.bits(16), stream_seq=self.bits(16),
                                      proto_id=self.bits(32), beginning=self.bits(1), ending=self.bits(1),
                                      unordered=self.bits(1), data=self.data(30, 1)),
                lambda: SCTPChunkSACK(cumul_tsn_ack=self.bits(32), a_rwnd=self.bits(32)),
                lambda: SCTPChunkShutdown(cumul_tsn_ack=self.bits(32)),
                lambda: SCTPChunkShutdownAck(),
                lambda: SCTPChunkCookieAck(),
                lambda: SCTPChunkShutdownComplete(TCB=self.bits(1)),
                lambda: SCTPChunkCookieEcho(cookie=self.data(20, 1)),
            ])()
        return packet

    def icmp(self):
        quoted = bytes(IP(src=self.ip4(), dst=self.ip4(), proto=17)) + self.data(8, 8)
        return self.r.choice([
            lambda: ICMP(type=8, id=self.bits(16), seq=self.bits(16)) / Raw(self.data(100)),
            lambda: ICMP(type=0, id=self.bits(16), seq=self.bits(16)) / Raw(self.data(100)),
            lambda: ICMP(type=3, code=self.r.choice([0, 1, 2, 3, 10, 13])) / Raw(quoted),
            lambda: ICMP(type=3, code=4, nexthopmtu=self.bits(16)) / Raw(quoted),
            lambda: ICMP(type=11, code=self.bits(1)) / Raw(quoted),
        ])()

    def icmp6(self):
        quoted = bytes(IPv6(src=self.ip6(), dst=self.ip6(), nh=59))
        return self.r.choice([
            lambda: ICMPv6EchoRequest(id=self.bits(16), seq=self.bits(16), data=self.data(100)),
            lambda: ICMPv6EchoReply(id=self.bits(16), seq=self.bits(16), data=self.data(100)),
            lambda: ICMPv6PacketTooBig(mtu=self.bits(32)) / Raw(quoted),
            lambda: ICMPv6DestUnreach(code=self.r.randint(0, 6)) / Raw(quoted),
            lambda: ICMPv6TimeExceeded(code=self.bits(1)) / Raw(quoted),
            lambda: ICMPv6ParamProblem(code=self.r.randint(0, 3), ptr=self.bits(32)) / Raw(quoted),
            lambda: self.options(ICMPv6ND_NS(tgt=self.ip6())),
            lambda: self.options(ICMPv6ND_NA(tgt=self.ip6(), R=self.bits(1), S=self.bits(1), O=self.bits(1))),
            lambda: self.options(ICMPv6ND_RS()),
            lambda: self.options(ICMPv6ND_RA(chlim=self.bits(8), M=self.bits(1), O=self.bits(1), H=self.bits(1),
                                             prf=self.bits(2), routerlifetime=self.bits(16),
                                             reachabletime=self.bits(32), retranstimer=self.bits(32))),
            lambda: self.options(ICMPv6ND_Redirect(tgt=self.ip6(), dst=self.ip6())),
        ])()

    def options(self, message):
        for _ in range(self.r.randint(0, 3)):
            message = message / self.r.choice([
                lambda: ICMPv6NDOptSrcLLAddr(lladdr=self.mac()),
                lambda: ICMPv6NDOptDstLLAddr(lladdr=self.mac()),
                lambda: ICMPv6NDOptMTU(mtu=self.bits(32)),
                lambda: ICMPv6NDOptPrefixInfo(prefixlen=self.r.randint(0, 128), L=self.bits(1), A=self.bits(1),
                                              validlifetime=self.bits(32), preferredlifetime=self.bits(32),
                                              prefix=self.ip6()),
                lambda: ICMPv6NDOptUnknown(type=14, len=1, data=self.r.randbytes(6)),  # nonce, RFC 3971
            ])()
        return message


# Reading

def describe(frame):
    out = []
    layer = frame
    while isinstance(layer, Packet) and not isinstance(layer, (Raw, Padding)) and layer.name != 'NoPayload':
        read = READERS.get(type(layer))
        if read is None:
            break
        name, fields, follow = read(layer)
        out.append({'layer': name, **fields})
        layer = follow
    return out


def ethernet(p):
    return 'ethernet', {'dst': p.dst, 'src': p.src, 'etherType': p.type}, p.payload


def dot3(p):
    return 'ethernet', {'dst': p.dst, 'src': p.src, 'etherType': p.len}, p.payload


def llc(p):
    fields = {'dsap': p.dsap, 'ssap': p.ssap, 'control': p.ctrl}
    if isinstance(p.payload, SNAP):
        fields.update(oui=p.payload.OUI, protocol=p.payload.code)
    return 'llc', fields, None


def tag(p):
    return 'vlan', {'pcp': p.prio, 'dei': p.id, 'vid': p.vlan, 'etherType': p.type}, p.payload


def arp(p):
    return 'arp', {'op': p.op, 'sha': p.hwsrc, 'spa': p.psrc, 'tha': p.hwdst, 'tpa': p.pdst}, None


def ipv4(p):
    options = b''.join(bytes(o) for o in p.options)
    fields = {
        'dscp': p.tos >> 2, 'ecn': p.tos & 3, 'totalLength': p.len, 'id': p.id, 'flags': int(p.flags),
        'fragmentOffset': p.frag * 8, 'ttl': p.ttl, 'protocol': p.proto, 'checksum': p.chksum,
        'src': p.src, 'dst': p.dst, 'options': options.ljust(p.ihl * 4 - 20, b'\0').hex(),
    }
    return 'ip', fields, None if p.frag else p.payload


def ipv6(p):
    fields = {
        'trafficClass': p.tc, 'flowLabel': p.fl, 'payloadLength': p.plen, 'nextHeader': p.nh, 'hopLimit': p.hlim,
        'src': p.src, 'dst': p.dst,
    }
    protocol, offset, fragment, later, following = p.nh, 40, False, False, p.payload
    while isinstance(following, EXTENSIONS) and not later:
        if isinstance(following, IPv6ExtHdrFragment):
            later = following.offset != 0
            fragment = fragment or later or following.m == 1
            offset += 8
        else:
            offset += 8 * (following.len + 1)
        protocol, following = following.nh, following.payload
    fields.update(upperProtocol=protocol, upperOffset=offset, fragment=fragment)
    return 'ip6', fields, None if later else following


def udp(p):
    fields = {'srcPort': p.sport, 'dstPort': p.dport, 'length': p.len, 'checksum': p.chksum}
    return 'udp', fields, p.payload if p.dport == VXLAN_PORT else None


OPTIONS = {
    'MSS': (2, lambda x: x.to_bytes(2, 'big')),
    'WScale': (3, lambda x: bytes([x])),
    'SAckOK': (4, lambda x: x),
    'SAck': (5, lambda x: b''.join(n.to_bytes(4, 'big') for n in x)),
    'Timestamp': (8, lambda x: b''.join(n.to_bytes(4, 'big') for n in x)),
}


def tcp(p):
    options = []
    for kind, value in p.options:
        if kind == 'EOL':
            break
        if kind == 'NOP':
            options.append({'kind': 1, 'value': ''})
        elif kind in OPTIONS:
            number, write = OPTIONS[kind]
            options.append({'kind': number, 'value': write(value).hex()})
        else:
            options.append({'kind': kind, 'value': value.hex()})
    fields = {
        'srcPort': p.sport, 'dstPort': p.dport, 'seq': p.seq, 'ack': p.ack, 'dataOffset': p.dataofs,
        'reserved': p.reserved << 1 | int(p.flags) >> 8, 'flags': int(p.flags) & 0xff, 'window': p.window,
        'checksum': p.chksum, 'urgent': p.urgptr, 'options': options,
    }
    return 'tcp', fields, None


def sctp(p):
    chunks = []
    chunk = p.payload
    while isinstance(chunk, Packet) and not isinstance(chunk, (Raw, Padding)) and chunk.name != 'NoPayload':
        own = chunk.copy()
        own.remove_payload()
        data = bytes(own)
        chunks.append({'type': chunk.type, 'flags': data[1], 'length': chunk.len, 'value': data[4:chunk.len].hex()})
        chunk = chunk.payload
    fields = {'srcPort': p.sport, 'dstPort': p.dport, 'tag': p.tag, 'checksum': p.chksum, 'chunks': chunks}
    return 'sctp', fields, None


def icmp(p):
    fields = {'type': p.type, 'code': p.code, 'checksum': p.chksum}
    if p.type in (0, 8):
        fields.update(id=p.id, seq=p.seq)
    if p.type == 3 and p.code == 4:
        fields.update(mtu=p.nexthopmtu)
    return 'icmp', fields, None


def icmp6(p):
    fields = {'type': p.type, 'code': p.code, 'checksum': p.cksum}
    if p.type in (128, 129):
        fields.update(id=p.id, seq=p.seq)
    if p.type == 2:
        fields.update(mtu=p.mtu)
    if p.type == 4:
        fields.update(pointer=p.ptr)
    if p.type == 134:
        fields.update(hopLimit=p.chlim, managed=p.M, other=p.O, lifetime=p.routerlifetime,
                      reachable=p.reachabletime, retransmit=p.retranstimer)
    if p.type in (135, 136, 137):
        fields.update(target=p.tgt)
    if p.type == 136:
        fields.update(router=p.R, solicited=p.S, override=p.O)
    if p.type == 137:
        fields.update(destination=p.dst)
    if 133 <= p.type <= 137:
        fields.update(options=neighbor_options(p.payload))
    return 'icmp6', fields, None


NEIGHBOR_OPTIONS = {
    1: ICMPv6NDOptSrcLLAddr, 2: ICMPv6NDOptDstLLAddr, 3: ICMPv6NDOptPrefixInfo, 5: ICMPv6NDOptMTU,
}


def neighbor_options(payload):
    # One at a time: by itself scapy does not look behind an option that it has no name for, whose length it
    # takes for bytes.
    out = []
    data = b'' if isinstance(payload, Padding) else bytes(payload)
    while data:
        own, data = data[:data[1] * 8], data[data[1] * 8:]
        option = NEIGHBOR_OPTIONS.get(own[0], ICMPv6NDOptUnknown)(own)
        fields = {'type': option.type, 'length': option.len}
        if option.type in (1, 2):
            fields.update(mac=option.lladdr)
        elif option.type == 3:
            fields.update(prefixLength=option.prefixlen, onLink=option.L, autonomous=option.A,
                          valid=option.validlifetime, preferred=option.preferredlifetime, prefix=option.prefix)
        elif option.type == 5:
            fields.update(mtu=option.mtu)
        else:
            fields.update(data=own[2:].hex())
        out.append(fields)
    return out


def vxlan(p):
    reserved = int(p.gpflags) << 16 | p.gpid if p.flags.G else p.reserved1
    fields = {'flags': int(p.flags), 'reserved': reserved, 'vni': p.vni, 'reserved2': p.reserved2}
    return 'vxlan', fields, p.payload


READERS = {
    Ether: ethernet, Dot3: dot3, LLC: llc, Dot1Q: tag, Dot1AD: tag, ARP: arp, IP: ipv4, IPv6: ipv6, UDP: udp,
    TCP: tcp, SCTP: sctp, ICMP: icmp, VXLAN: vxlan,
}
for message in (
    ICMPv6EchoRequest, ICMPv6EchoReply, ICMPv6PacketTooBig, ICMPv6DestUnreach, ICMPv6TimeExceeded,
    ICMPv6ParamProblem, ICMPv6ND_NS, ICMPv6ND_NA, ICMPv6ND_RS, ICMPv6ND_RA, ICMPv6ND_Redirect,
):
    READERS[message] = icmp6


def line(data):
    frame = Ether(data)
    return json.dumps({'bytes': data.hex(), 'layers': describe(frame)})


def main():
    for port in (4790, 8472, 6633, 48879):
        split_layers(UDP, VXLAN, dport=port)
        split_layers(UDP, VXLAN, sport=port)
    if sys.argv[1] == 'make':
        maker = Maker(int(sys.argv[2]))
        for _ in range(int(sys.argv[3])):
            print(line(bytes(maker.frame())))
    else:
        for text in sys.stdin:
            print(line(bytes.fromhex(text.strip())))


main()
