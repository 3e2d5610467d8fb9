/** The kernel's VXLAN, with its offloads as they come, and without. */
import { HOSTS, other, type Stage, UNDERLAY, WIRE } from '../stage.ts';
import { APT, needs, type Path } from './path.ts';

const DEVICE = 'vx0';

function lay(stage: Stage): void {
  for (const host of HOSTS) {
    const ends = `local ${UNDERLAY[host]} remote ${UNDERLAY[other(host)]}`;
    stage.sh(host, `ip link add ${DEVICE} type vxlan id 42 dstport 4789 ${ends} dev ${WIRE}`);
    stage.settle(host, DEVICE);
  }
}

export const kernelVxlan: Path = { name: 'kernel-vxlan', missing: () => null, lay };

export const kernelVxlanNoOffload: Path = {
  name: 'kernel-vxlan-no-offload',
  missing: () => needs(['ethtool'], `${APT} ethtool`),
  lay(stage) {
    lay(stage);
    const tunnel = 'tx-udp_tnl-segmentation off tx-udp_tnl-csum-segmentation off';
    for (const host of HOSTS) {
      stage.sh(host, `ethtool -K ${DEVICE} tso off gso off gro off`);
      stage.sh(host, `ethtool -K ${WIRE} ${tunnel}`);
    }
  },
};
