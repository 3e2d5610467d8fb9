/** All paths, in the order in which they are shown. */

import type { OwnOptions } from '../options.ts';
import { kernelVxlan, kernelVxlanNoOffload } from './kernel-vxlan.ts';
import { nebula } from './nebula.ts';
import { ovs } from './ovs.ts';
import { ownPaths } from './own.ts';
import type { Path } from './path.ts';
import { veth } from './veth.ts';
import { wireguardGo } from './wireguard-go.ts';

/** What others are compared with. */
export const REFERENCE = kernelVxlan.name;

export function allPaths(own: OwnOptions): Path[] {
  return [veth, kernelVxlan, kernelVxlanNoOffload, ...ownPaths(own), wireguardGo, nebula, ovs];
}
