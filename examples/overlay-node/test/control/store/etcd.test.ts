import { test } from 'tap';
import { skip } from '../../../../../test/gen/skip.ts';
import { EtcdStore } from '../../../control/store/etcd.ts';
import { EtcdClient } from '../../../control/store/etcd-client.ts';
import { conformance } from './conformance.ts';
import { EtcdServer, noEtcd, Wire } from './etcd-server.ts';

const missing = noEtcd();

test('conformance', async (t) => {
  if (missing) return skip(t, missing);
  const server = await EtcdServer.start(t);
  const client = new EtcdClient({ addresses: [server.address] });
  t.teardown(() => client.close());
  let n = 0;
  conformance(t, async (t) => {
    const wire = await Wire.to(t, server.address);
    const prefix = `/subject/${n++}/`;
    const open = (address: typeof wire.address) => {
      const store = new EtcdStore({ addresses: [address], prefix });
      t.teardown(() => store.close());
      return store;
    };
    const store = open(wire.address);
    return {
      store,
      other: async () => open(server.address),
      cut: () => wire.cut(),
      compact: async () => {
        const { revision } = await store.list('');
        await client.write('/v3/kv/compaction', { revision: String(revision) });
      },
      ttl: 1,
    };
  });
});
