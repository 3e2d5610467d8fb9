/** What a host must have for a node to run: looked at with a daemon or without. */
import { spawnSync } from 'node:child_process';
import { accessSync, constants, readFileSync } from 'node:fs';
import type { Check } from '../api/api.ts';

/** `advice` is what to do where it is not ok. */
export const check = (name: string, ok: boolean, found: string, advice: string): Check => ({
  name,
  ok,
  found,
  advice: ok ? null : advice,
});

export async function hostChecks(): Promise<Check[]> {
  return [system(), privilege(), iproute(), nftables(), tun(), await native(), await cipher()];
}

function system(): Check {
  const found = `${process.platform}, node ${process.versions.node}`;
  return check('system', process.platform === 'linux', found, 'a node needs Linux');
}

/** Bit of a capability in CapEff (capabilities(7)). */
const CAP_NET_ADMIN = 12n;
const CAP_SYS_ADMIN = 21n;

function privilege(): Check {
  if (process.getuid?.() !== 0) {
    const advice = 'the daemon makes devices and namespaces: sudo packetweave up';
    return check('privilege', false, `user ${process.getuid?.()}`, advice);
  }
  const capabilities = effectiveCapabilities();
  const missing = Object.entries({ NET_ADMIN: CAP_NET_ADMIN, SYS_ADMIN: CAP_SYS_ADMIN })
    .filter(([, bit]) => ((capabilities >> bit) & 1n) === 0n)
    .map(([name]) => name);
  const found = missing.length === 0 ? 'root' : `root without ${missing.join(' and ')}`;
  const advice = `in a container, give it ${missing.map((name) => `--cap-add ${name}`).join(' ')}`;
  return check('privilege', missing.length === 0, found, advice);
}

/** All of them where the system does not say. */
function effectiveCapabilities(): bigint {
  try {
    const status = readFileSync('/proc/self/status', 'latin1');
    return BigInt(`0x${/^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? 'ffffffffffffffff'}`);
  } catch {
    return 0xffff_ffff_ffff_ffffn;
  }
}

function iproute(): Check {
  return program('iproute2', 'ip', ['-Version'], 'install iproute2');
}

function nftables(): Check {
  return program('nftables', 'nft', ['--version'], 'ways out and published ports need it: install nftables');
}

function program(name: string, command: string, args: readonly string[], advice: string): Check {
  const { status, stdout } = spawnSync(command, args, { encoding: 'utf8', timeout: 2000 });
  return check(name, status === 0, status === 0 ? stdout.trim() : `no "${command}"`, advice);
}

function tun(): Check {
  try {
    accessSync('/dev/net/tun', constants.R_OK | constants.W_OK);
    return check('tun', true, '/dev/net/tun', '');
  } catch (error) {
    const advice = 'modprobe tun; in a container, give it --device /dev/net/tun and --cap-add NET_ADMIN';
    return check('tun', false, (error as Error).message, advice);
  }
}

async function native(): Promise<Check> {
  try {
    const { TapPort } = await import('packetweave');
    new TapPort({ name: 'doctor' });
    return check('native', true, 'koffi', '');
  } catch (error) {
    return check('native', false, (error as Error).message, 'npm install koffi beside packetweave-node');
  }
}

/** Never wrong: where the fastest is not there, the next is. */
async function cipher(): Promise<Check> {
  const { chooseProvider } = await import('packetweave/crypto/choose');
  const { provider, refused } = await chooseProvider();
  const faster = refused.map(({ name, reason }) => `; ${name} would be faster: ${reason}`);
  return check('cipher', true, `AES-GCM by ${provider.name}${faster[0] ?? ''}`, '');
}
