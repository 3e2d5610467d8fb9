/** The wire alone: what the machine gives when nothing is in between. */
import { HOSTS, WIRE } from '../stage.ts';
import type { Path } from './path.ts';

export const veth: Path = {
  name: 'veth',
  missing: () => null,
  lay(stage) {
    for (const host of HOSTS) stage.settle(host, WIRE);
  },
};
