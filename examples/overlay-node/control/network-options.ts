/** What `--opt` can say of a network. */
import { maxPayload } from 'packetweave/crypto/esp';
import { ControlError } from './errors.ts';

export const MAX_VNI = 0xff_ffff;
const UNDERLAY_MTU = 'com.docker.network.driver.mtu';
const VNI_LIST = 'com.docker.network.driver.overlay.vxlanid_list';
const KNOWN = ['encrypted', 'mtu', 'vni', 'overlap', UNDERLAY_MTU, VNI_LIST];

/** Bytes around an inner IP packet: outer IPv4 and UDP, VXLAN, inner Ethernet. */
const VXLAN = 20 + 8 + 8 + 14;

export interface NetworkOptions {
  readonly encrypted: boolean;
  readonly mtu: number | null;
  readonly vni: number | null;
}

/** Reads `--opt`. `ipv6` asks for the 1280 bytes that IPv6 needs (RFC 8200 section 5). */
export function checkOptions(options: Readonly<Record<string, string>>, ipv6: boolean): NetworkOptions {
  for (const name of Object.keys(options)) {
    if (KNOWN.includes(name)) continue;
    throw new ControlError('INVALID', `unknown option "${name}": known are ${KNOWN.join(', ')}`);
  }
  // Docker asks only whether the option is there; who writes "false" means it.
  const encrypted = isOn(options.encrypted);
  return { encrypted, mtu: checkMtu(options, encrypted, ipv6), vni: checkVni(options) };
}

/** Whether the subnets of a network may be those of others, too. No container can be on both. */
export function mayOverlap(options: Readonly<Record<string, string>>): boolean {
  return isOn(options.overlap);
}

function isOn(option: string | undefined): boolean {
  return option !== undefined && option !== 'false';
}

/**
 * Largest inner IP packet of a network whose underlay carries packets of `underlay` bytes, as Docker counts from
 * `com.docker.network.driver.mtu`: 50 less for VXLAN in IPv4, and for an encrypted network what ESP in UDP with an ICV
 * of 16 adds, padding included. 1500 gives 1450, encrypted 1408 (Docker's 1424 has no UDP, and an ICV of 8).
 */
export function innerMtu(underlay: number, encrypted: boolean): number {
  if (!encrypted) return underlay - VXLAN;
  return maxPayload({ icv: 16 }, underlay - 20 - 8) - 8 - 8 - 14;
}

function checkMtu(
  options: Readonly<Record<string, string>>,
  encrypted: boolean,
  ipv6: boolean,
): number | null {
  const inner = options.mtu;
  const underlay = options[UNDERLAY_MTU];
  if (inner !== undefined && underlay !== undefined) {
    throw new ControlError('INVALID', `options "mtu" and "${UNDERLAY_MTU}" say the same: give one of them`);
  }
  const least = ipv6 ? 1280 : 576;
  if (inner !== undefined) return integer('mtu', inner, least, 65535);
  if (underlay === undefined) return null;
  const mtu = innerMtu(integer(UNDERLAY_MTU, underlay, 0, 65535), encrypted);
  if (mtu >= least) return mtu;
  const room = `an underlay of ${underlay} bytes leaves ${Math.max(0, mtu)} inside, less than ${least}`;
  throw new ControlError('INVALID', `option "${UNDERLAY_MTU}": ${room}`);
}

function checkVni(options: Readonly<Record<string, string>>): number | null {
  const own = options.vni === undefined ? null : integer('vni', options.vni, 1, MAX_VNI);
  if (options[VNI_LIST] === undefined) return own;
  // Docker has one for each subnet; here a network is one broadcast domain with all of its subnets.
  const [first] = options[VNI_LIST].split(',').map((vni) => integer(VNI_LIST, vni.trim(), 1, MAX_VNI));
  if (own === null || own === first) return first!;
  throw new ControlError('INVALID', `options "vni" (${own}) and "${VNI_LIST}" (${first}) are not the same`);
}

function integer(name: string, text: string, least: number, most: number): number {
  const value = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN;
  if (value >= least && value <= most) return value;
  throw new ControlError('INVALID', `option "${name}" expected an integer ${least}..${most}, got "${text}"`);
}
