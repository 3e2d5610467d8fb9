/** The example `tap-overlay` on two hosts: ESP on IP protocol 50. See tap-overlay.ts. */
import t from 'tap';
import { combinations } from './tap-overlay.ts';

combinations(t, {
  name: 'ESP on protocol 50',
  encrypted: true,
  options: ['--carrier', 'ip'],
  kind: 'raw-native',
});
