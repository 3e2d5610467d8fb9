/**
 * Gateways: one namespace a network and host, which answers at the network's gateway addresses for the containers of
 * this host (every host has its own, with the same addresses). The dataplane makes the device `gw` in it.
 *
 * The gateway of a network that is not internal is joined to the host by a veth pair. Packets are masqueraded twice:
 * in the gateway, so that the host need not know subnets, of which several networks may have the same, and in the host.
 */
import { Queue } from '../control/queue.ts';
import {
  chooseLink,
  forwardOnHost,
  type GatewayLink,
  joinLink,
  LINKS,
  LINKS6,
  OUT,
  removeLink,
} from './link.ts';
import { endAll, existing } from './namespace.ts';
import { chain, portRules, TABLE } from './rules.ts';
import { ipBatch, nft, run, setNet } from './system.ts';

/** What names of gateways' namespaces, and of their devices in the host, begin with. */
export const GATEWAY_PREFIX = 'pwg';
/** The device towards the containers. */
export const GATEWAY_DEVICE = 'gw';

export interface Gateway {
  readonly vni: number;
  readonly namespace: string;
  /** Name of the device that the dataplane makes in it. */
  readonly device: string;
  /** Null for an internal network. */
  readonly link: GatewayLink | null;
}

export interface GatewayOptions {
  readonly internal: boolean;
  readonly ipv6: boolean;
}

/** Digits of a node's id that tell its gateways from those of another daemon on the same machine. */
const OWNER = 6;

/** Name of a gateway's namespace. */
export function gatewayNamespace(vni: number, node: string): string {
  return `${GATEWAY_PREFIX}-${node.slice(0, OWNER)}-${vni}`;
}

/** Name of its device in the host: as long as the kernel allows (15 characters, IFNAMSIZ). */
function linkDevice(vni: number, node: string): string {
  return `${GATEWAY_PREFIX}${node.slice(0, OWNER)}${vni.toString(16).padStart(6, '0')}`;
}

/** VNIs of a node's gateways on this host, also of those that were left by a daemon that died. */
export function listGateways(node: string): number[] {
  const begin = gatewayNamespace(0, node).slice(0, -1);
  const names = existing().filter((name) => name.startsWith(begin));
  return names
    .map((name) => name.slice(begin.length))
    .filter((vni) => /^\d{1,8}$/.test(vni))
    .map(Number);
}

/** The gateways of this host, made and removed one after another. */
export class Gateways {
  readonly #node: string;
  readonly #queue = new Queue();

  /** `node`: id of the node whose they are. */
  constructor(node: string) {
    this.#node = node;
  }

  /** Makes a gateway, or brings the one that is there to what it should be. */
  make(vni: number, options: GatewayOptions): Promise<Gateway> {
    return this.#queue.run(() => this.#make(vni, options));
  }

  /** Takes a gateway away with all that is in it; nothing happens where there is none. */
  remove(vni: number): Promise<void> {
    return this.#queue.run(async () => {
      const name = gatewayNamespace(vni, this.#node);
      await removeLink(linkDevice(vni, this.#node));
      if (!existing().includes(name)) return;
      await endAll(name);
      await run('ip', ['netns', 'del', name]);
    });
  }

  /** Removes our rules from the host. Gateways that are left reach nothing outside any more. */
  close(): Promise<void> {
    return this.#queue.run(() => nft(null, [`add table ${TABLE}`, `delete table ${TABLE}`]));
  }

  async #make(vni: number, { internal, ipv6 }: GatewayOptions): Promise<Gateway> {
    const namespace = gatewayNamespace(vni, this.#node);
    const device = linkDevice(vni, this.#node);
    const gateway = { vni, namespace, device: GATEWAY_DEVICE };
    if (!existing().includes(namespace)) await run('ip', ['netns', 'add', namespace]);
    prepare(namespace, !internal);
    const loopback = () => ipBatch(namespace, ['link set dev lo up']);
    if (internal) {
      await loopback();
      await removeLink(device);
      return { ...gateway, link: null };
    }
    forwardOnHost(ipv6);
    // A container waits for all of this.
    const [link] = await allOf(chooseLink(device, vni, ipv6), loopback(), nft(null, hostRules()));
    await joinLink(namespace, link, ipv6);
    await nft(namespace, gatewayRules());
    return { ...gateway, link };
  }
}

/** As Promise.all, but nothing is under way any more where it rejects. */
async function allOf<T extends unknown[]>(...all: { [K in keyof T]: Promise<T[K]> }): Promise<T> {
  await Promise.allSettled(all);
  return Promise.all(all) as Promise<T>;
}

/** Kernel parameters inside. ARP answers for the addresses of the device that was asked on alone. */
function prepare(namespace: string, forwards: boolean): void {
  setNet(namespace, {
    'ipv4/conf/all/arp_ignore': 1,
    'ipv4/conf/all/send_redirects': 0,
    'ipv4/conf/default/send_redirects': 0,
    'ipv6/conf/all/accept_dad': 0,
    'ipv6/conf/default/accept_dad': 0,
    'ipv6/conf/default/accept_ra': 0,
    'ipv4/ip_forward': forwards ? 1 : 0,
    'ipv6/conf/all/forwarding': forwards ? 1 : 0,
  });
}

/** Rules of the host. */
function hostRules(): string[] {
  const ours = `"${GATEWAY_PREFIX}*"`;
  return [
    ...portRules(),
    // Nobody outside may reach what is published on a loopback address by sending to it.
    ...chain('prerouting', 'type nat hook prerouting priority dstnat', [
      'ip daddr 127.0.0.0/8 return',
      'ip6 daddr ::1 return',
      'fib daddr type local jump ports',
    ]),
    // What comes from ::1 cannot leave by a device: it reaches the socket that has the port.
    ...chain('output', 'type nat hook output priority -100', [
      'ip6 daddr ::1 return',
      'fib daddr type local jump ports',
    ]),
    // From the host itself by loopback, and from containers: out, or to a published port and back.
    ...chain('postrouting', 'type nat hook postrouting priority srcnat', [
      `ip saddr { 127.0.0.0/8, ${LINKS} } oifname ${ours} masquerade`,
      `ip6 saddr ${LINKS6} oifname ${ours} masquerade`,
      `ip saddr ${LINKS} oifname != "lo" masquerade`,
      `ip6 saddr ${LINKS6} oifname != "lo" masquerade`,
    ]),
    // Nobody but a gateway sends from an address of a link: neither to this host, which would answer to the gateway,
    // nor through it (RFC 3927 section 2.7). Others of the same range may be neighbours.
    ...chain('spoofed', 'type filter hook prerouting priority raw', [
      `iifname { "lo", ${ours} } accept`,
      `ip saddr ${LINKS} fib saddr oifname ${ours} drop`,
      `ip6 saddr ${LINKS6} drop`,
    ]),
    // Into a gateway comes what was sent to a published port, and what answers.
    ...chain('forward', 'type filter hook forward priority filter', [
      `iifname != ${ours} ip saddr ${LINKS} drop`,
      `oifname ${ours} ct status dnat accept`,
      `oifname ${ours} ct state new,invalid drop`,
    ]),
  ];
}

/** Rules of a gateway. */
function gatewayRules(): string[] {
  return [
    ...portRules(),
    ...chain('prerouting', 'type nat hook prerouting priority dstnat', [`iifname "${OUT}" jump ports`]),
    ...chain('postrouting', 'type nat hook postrouting priority srcnat', [`oifname "${OUT}" masquerade`]),
    ...chain('forward', 'type filter hook forward priority filter', [
      `iifname "${OUT}" ct status dnat accept`,
      `iifname "${OUT}" ct state new,invalid drop`,
    ]),
  ];
}
