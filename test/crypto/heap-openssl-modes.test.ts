import t from 'tap';
import { openssl } from '../../crypto/providers/openssl.ts';
import { allocatesNothing } from './heap.ts';

t.test('nothing is allocated a packet', (t) => allocatesNothing(t, () => openssl('modes')));
