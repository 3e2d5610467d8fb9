/** `GET /v1/stats`: what went through each port, and what was dropped and why. */
import { DROPS, type PortCounts } from 'packetweave';
import type { Stats } from '../api/api.ts';
import { networkName, portName, portNames, type Views } from './names.ts';

export interface StatsParts {
  /** Of the dataplane: the underlays, whose VNI is null, and the local ports, whose names are ids. */
  readonly ports: readonly PortCounts[];
  /** By reason. */
  readonly drops: Readonly<Record<string, number>>;
  readonly views: Views;
  /** Id of this node. */
  readonly node: string;
  /** Milliseconds since 1970. */
  readonly at: number;
}

/** All reasons are told, also those for which nothing was dropped. */
export function stats({ ports, drops, views, node, at }: StatsParts): Stats {
  const names = portNames(views, node);
  return {
    at,
    ports: ports.map(({ name, vni, ...counts }) => ({
      name: vni === null ? name : portName(names, name),
      network: vni === null ? null : networkName(views, vni),
      ...counts,
    })),
    drops: Object.fromEntries(DROPS.map(({ name, text }) => [name, { count: drops[name] ?? 0, text }])),
  };
}
