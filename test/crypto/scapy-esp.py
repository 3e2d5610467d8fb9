"""ESP by scapy: reads one JSON object a line, {"do": "seal" | "open", ...}, and answers each with a line of hex."""
import json
import sys

from cryptography.hazmat.primitives.ciphers import algorithms, modes
from scapy.all import IP, UDP, IPv6, Raw, raw
from scapy.layers.ipsec import CRYPT_ALGOS, ESP, CryptAlgo, SecurityAssociation

# Scapy's own AES-GCM has whole tags only. The same algorithm with tags of any length:
for size in (8, 12):
    CRYPT_ALGOS["AES-GCM-%d" % size] = CryptAlgo(
        "AES-GCM-%d" % size,
        cipher=algorithms.AES,
        mode=modes.GCM,
        block_size=1,
        iv_size=8,
        icv_size=size,
        salt_size=4,
        format_mode_iv=lambda sa, iv, **kw: sa.crypt_salt + iv,
    )


def association(job):
    return SecurityAssociation(
        ESP,
        spi=job["spi"],
        crypt_algo=job["algorithm"],
        crypt_key=bytes.fromhex(job["keymat"]),
        nat_t_header=UDP(sport=4500, dport=4500) if job["udp"] else None,
    )


def seal(job):
    """An IP packet that carries the payload, as scapy puts it into ESP."""
    ip = IP(src="10.0.0.1", dst="10.0.0.2") if job["family"] == 4 else IPv6(src="fd00::1", dst="fd00::2")
    packet = ip.__class__(raw(ip / UDP(bytes.fromhex(job["payload"]))))
    return raw(association(job).encrypt(packet, seq_num=job["lo"], esn_en=job["esn"], esn=job["hi"]))


def open_(job):
    """What lies in the ESP of an IP packet."""
    data = bytes.fromhex(job["packet"])
    packet = IP(data) if job["family"] == 4 else IPv6(data)
    if job["family"] == 6 and job["udp"]:
        # Scapy looks for the header in front of ESP, which is UDP here, to name the protocol in.
        packet = IPv6(src=packet.src, dst=packet.dst, nh=50) / ESP(raw(packet[ESP]))
    return raw(association(job).decrypt(packet, esn_en=job["esn"], esn=job["hi"]).payload)


for line in sys.stdin:
    job = json.loads(line)
    print((seal if job["do"] == "seal" else open_)(job).hex())
