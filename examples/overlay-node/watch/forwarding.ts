/** Whether the host lets packets through between gateways and the world: for the way out and for published ports. */
import { readFileSync } from 'node:fs';
import { inNamespace } from 'packetweave';
import type { Check } from '../api/api.ts';
import { GATEWAY_PREFIX } from '../attach/gateway.ts';
import { runIn } from '../attach/system.ts';
import { check } from './host-checks.ts';

export interface ForwardingOptions {
  readonly ipv6: boolean;
  /** Namespace of the host; null for this one. */
  readonly namespace: string | null;
}

export async function forwardingChecks(options: ForwardingOptions): Promise<Check[]> {
  return [...kernel(options), ...(await firewall(options.namespace))];
}

function kernel({ ipv6, namespace }: ForwardingOptions): Check[] {
  const parameters = ['ipv4/ip_forward', ...(ipv6 ? ['ipv6/conf/all/forwarding'] : [])];
  return parameters.map((parameter) => {
    const name = `net.${parameter.replaceAll('/', '.')}`;
    const value = inNamespace(namespace, () => readFileSync(`/proc/sys/net/${parameter}`, 'latin1').trim());
    const advice = `nothing leaves networks and no port is published: sysctl -w ${name}=1, and look for what sets it to ${value}`;
    return check('forwarding', value === '1', `${name} is ${value}`, advice);
  });
}

/** What `nft -j list ruleset` tells of a base chain and of a rule. */
interface Listed {
  readonly chain?: {
    readonly family: string;
    readonly table: string;
    readonly name: string;
    readonly hook?: string;
    readonly policy?: string;
  };
  readonly rule?: { readonly family: string; readonly table: string };
}

/** Somebody else's chain that drops what it does not know, as Docker's does, drops what our own accepts. */
async function firewall(namespace: string | null): Promise<Check[]> {
  let listed: readonly Listed[];
  try {
    const text = await runIn(namespace, 'nft', ['-j', 'list', 'ruleset']);
    listed = (JSON.parse(text) as { readonly nftables: readonly Listed[] }).nftables;
  } catch {
    return []; // no nft: host-checks.ts says so
  }
  const drops = listed
    .map(({ chain }) => chain)
    .filter((chain) => chain !== undefined && chain.hook === 'forward' && chain.policy === 'drop');
  return drops.map((chain) => {
    const { family, table, name } = chain!;
    const ours = listed.some(
      ({ rule }) =>
        rule?.family === family && rule.table === table && JSON.stringify(rule).includes(GATEWAY_PREFIX),
    );
    const found = `chain ${name} of table ${family} ${table} drops what no rule lets pass`;
    const device = `${GATEWAY_PREFIX}*`;
    const advice = `let gateways pass: nft 'insert rule ${family} ${table} ${name} iifname "${device}" accept', and the same with oifname`;
    return check('firewall', ours, ours ? `${found}, and some are for gateways` : found, advice);
  });
}
