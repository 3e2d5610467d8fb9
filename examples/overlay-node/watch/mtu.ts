/** How large packets to other hosts may be: measured by pings that routers may not fragment. */
import { isIPv6 } from 'node:net';
import { runIn } from '../attach/system.ts';

export interface MtuProbe {
  /** Of the other host. */
  readonly address: string;
  /** Of this one. */
  readonly from: string;
  /** Size that packets ought to have room for: a whole IP packet, in bytes. */
  readonly mtu: number;
  /** Namespace that the pings leave from; null for this one. */
  readonly namespace: string | null;
}

/** Bytes that have arrived; `mtu` says what the way or this host itself said, or the largest that was answered. */
export type MtuFound =
  | { readonly kind: 'fits' }
  | { readonly kind: 'smaller'; readonly mtu: number }
  /** Not even small pings were answered, or there is no ping. */
  | { readonly kind: 'unknown'; readonly why: string };

/** Seconds that an answer may take; there are two rounds at the most. */
const PATIENCE = 1;
/** Any way has room for these. */
const SMALL = 128;
/** Sizes that ways have, in bytes: IPv6's least, tunnels, PPPoE, Ethernet, jumbo frames. */
const USUAL = [576, 1280, 1372, 1400, 1420, 1450, 1472, 1492, 1500, 4000, 8900, 8950, 9000];

/** Measures within about two seconds. Never rejects. */
export async function probeMtu(probe: MtuProbe): Promise<MtuFound> {
  const { mtu } = probe;
  const [large, small] = await Promise.all([ping(probe, mtu), ping(probe, SMALL)]);
  if (large === null) return { kind: 'fits' };
  const said = /mtu ?[=:] ?(\d+)/i.exec(large)?.[1];
  if (said !== undefined && Number(said) < mtu) return { kind: 'smaller', mtu: Number(said) };
  if (small !== null) {
    const missing = small.includes('not installed');
    return { kind: 'unknown', why: missing ? 'ping is not installed' : 'no ping is answered' };
  }
  // Larger packets vanish without a word.
  const sizes = USUAL.filter((size) => size < mtu);
  const answers = await Promise.all(sizes.map((size) => ping(probe, size)));
  const arrived = sizes.filter((_, i) => answers[i] === null);
  return { kind: 'smaller', mtu: Math.max(SMALL, ...arrived) };
}

/** Null where a packet of this size was answered, else what was said. */
async function ping({ address, from, namespace }: MtuProbe, size: number): Promise<string | null> {
  // IPv4 or IPv6 header, and that of ICMP.
  const data = size - (isIPv6(address) ? 48 : 28);
  const bounds = ['-c', '1', '-w', `${PATIENCE}`];
  const args = ['-n', ...bounds, '-M', 'do', '-s', `${data}`, '-I', from, address];
  try {
    await runIn(namespace, 'ping', args);
    return null;
  } catch (error) {
    return (error as Error).message;
  }
}
