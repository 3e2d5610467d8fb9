/** /etc of a container as commands see it, and the host's resolver. */
import { existsSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { skip } from '../../../../test/gen/skip.ts';
import type { Files } from '../../attach/attach.ts';
import { containerResolver, readResolver, removeFiles, writeFiles } from '../../attach/files.ts';
import { run } from '../../attach/system.ts';
import { container, folder, noAttach } from './gen.ts';

const FILES: Files = {
  nameservers: ['10.0.1.1', 'fd00:1::1'],
  search: ['example.org', 'example.net'],
  options: ['timeout:2', 'ndots:0'],
  hostname: 'web-1',
  hosts: [{ address: '10.0.1.2', names: ['web-1', 'web'] }],
};

t.test('the resolver of the host', async (t) => {
  const file = join(folder(t), 'resolv.conf');
  const text = `# of somebody
domain example.com
nameserver 192.0.2.53   # the first
nameserver\t2001:db8::53
; search wrong.example
search example.org  example.net
options timeout:2 attempts:1
options edns0
`;
  writeFileSync(file, text);
  const host = readResolver(file);
  t.same(host, {
    nameservers: ['192.0.2.53', '2001:db8::53'],
    search: ['example.org', 'example.net'],
    options: ['timeout:2', 'attempts:1', 'edns0'],
  });
  t.same(containerResolver(host, ['10.0.1.1']), {
    nameservers: ['10.0.1.1'],
    search: ['example.org', 'example.net'],
    options: ['timeout:2', 'attempts:1', 'edns0', 'ndots:0'],
  });
  t.same(containerResolver({ ...host, options: ['ndots:2'] }, []).options, ['ndots:2']);
  t.same(readResolver(join(folder(t), 'none')), { nameservers: [], search: [], options: [] });
});

const why = noAttach();
if (why !== null) skip(t, why);
else test();

function test(): void {
  t.test('a command sees them, and their changes', async (t) => {
    const name = await container(t);
    writeFiles(name, FILES);
    const cat = (file: string) => run('ip', ['netns', 'exec', name, 'cat', `/etc/${file}`]);
    t.equal(
      await cat('resolv.conf'),
      'nameserver 10.0.1.1\nnameserver fd00:1::1\nsearch example.org example.net\noptions timeout:2 ndots:0\n',
    );
    t.match(await cat('hosts'), /^127.0.0.1\tlocalhost\n::1\tlocalhost.*\n10.0.1.2\tweb-1 web\n$/s);
    t.match(await run('ip', ['netns', 'exec', name, 'getent', 'hosts', 'web']), /^10.0.1.2 /);
    if (existsSync('/etc/hostname')) t.equal(await cat('hostname'), 'web-1\n');

    const script = `read line; cat /etc/hosts`;
    const reading = run('ip', [
      'netns',
      'exec',
      name,
      'sh',
      '-c',
      `while ! grep -q later /etc/hosts; do :; done; ${script}`,
    ]);
    writeFiles(name, { ...FILES, hosts: [{ address: '10.0.9.9', names: ['later'] }] });
    t.match(await reading, /10.0.9.9\tlater\n$/, 'also one that runs already');
  });

  t.test('they are gone with it, and nobody else is touched', async (t) => {
    const name = await container(t);
    writeFiles(name, FILES);
    removeFiles(name);
    t.notOk(existsSync(`/etc/netns/${name}`));
    removeFiles(name);
    // Containers of other tests come and go.
    const others = () =>
      (existsSync('/etc/netns') ? readdirSync('/etc/netns') : []).filter((name) => !name.startsWith('pw-'));
    const before = others();
    writeFiles('/proc/1/ns/net', FILES);
    removeFiles('/proc/1/ns/net');
    t.same(others(), before);
  });
}
