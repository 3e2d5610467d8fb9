/** The example `tap-overlay` on two hosts: ESP in UDP. See tap-overlay.ts. */
import t from 'tap';
import { combinations } from './tap-overlay.ts';

combinations(t, { name: 'ESP in UDP', encrypted: true, options: [], kind: 'udp-native' });
