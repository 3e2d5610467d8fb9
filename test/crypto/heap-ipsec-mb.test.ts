import t from 'tap';
import { ipsecMb } from '../../crypto/providers/ipsec-mb.ts';
import { openssl } from '../../crypto/providers/openssl.ts';
import { allocatesNothing } from './heap.ts';

t.test('nothing is allocated a packet', (t) => allocatesNothing(t, () => ipsecMb(openssl())));
