/** What is done in another network namespace, and that this thread is back afterwards, whatever happened. */
import { readlinkSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import t from 'tap';
import { inNamespace } from '../../../lib/index.ts';
import { openDescriptors } from '../../gen/descriptors.ts';
import { Namespaces } from '../../gen/netns.ts';
import { noNamespaces, noNative, skip } from '../../gen/skip.ts';

const here = () => readlinkSync('/proc/thread-self/ns/net');
const why = noNamespaces() ?? noNative();
if (why !== null) skip(t, why);
else test();

function test(): void {
  t.test('by the name of ip netns, by a path, and here', async (t) => {
    const namespaces = new Namespaces(t);
    namespaces.add('there');
    namespaces.run('there', 'ip address add 192.0.2.7/32 dev lo');
    const home = here();
    const addresses = () => (networkInterfaces().lo ?? []).map(({ address }) => address);
    const name = namespaces.real('there');
    t.ok(inNamespace(name, addresses).includes('192.0.2.7'));
    t.ok(inNamespace(`/run/netns/${name}`, addresses).includes('192.0.2.7'));
    t.equal(inNamespace('/proc/thread-self/ns/net', here), home);
    t.equal(inNamespace(null, here), home);
    t.notOk(addresses().includes('192.0.2.7'));
    t.equal(here(), home);
  });

  t.test('what is thrown comes out, and nothing is left open', async (t) => {
    const namespaces = new Namespaces(t);
    namespaces.add('there');
    const home = here();
    const fail = () => {
      throw new Error('no luck');
    };
    t.throws(() => inNamespace(namespaces.real('there'), fail), { message: 'no luck' });
    const before = openDescriptors();
    t.throws(() => inNamespace(namespaces.real('there'), fail), { message: 'no luck' });
    t.throws(() => inNamespace('pw-there-is-none', here), {
      code: 'NO_SUCH_DEVICE',
      message: /pw-there-is-none/,
    });
    t.throws(() => inNamespace('/dev/null', here), { message: /"\/dev\/null" cannot be entered/ });
    t.same(openDescriptors(), before);
    t.equal(here(), home);
  });
}
