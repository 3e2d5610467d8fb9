/** The example `tap-overlay` on two hosts: VXLAN in clear. See tap-overlay.ts. */
import t from 'tap';
import { combinations } from './tap-overlay.ts';

combinations(t, { name: 'plain', encrypted: false, options: [], kind: 'udp-native' });
