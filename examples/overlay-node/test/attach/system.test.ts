/** The system's own tools: what they say comes back, and so does what went wrong; namespaces of somebody else. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import t, { type Test } from 'tap';
import { skip } from '../../../../test/gen/skip.ts';
import { attachNamespace, detachNamespace, removeDevice } from '../../attach/foreign.ts';
import { namespaceName } from '../../attach/namespace.ts';
import { ipBatch, nft, run, runIn, setNet } from '../../attach/system.ts';
import { cable, container, containerId, noAttach } from './gen.ts';

t.test('programs, and why they fail', async (t) => {
  t.equal(await run('cat', [], 'given'), 'given');
  await t.rejects(run('sh', ['-c', 'echo out; echo oh >&2; exit 3']), {
    name: 'SystemError',
    message: /^sh -c .*: oh$/,
  });
  await t.rejects(run('sh', ['-c', 'echo out; exit 3']), { message: /: out$/ });
  await t.rejects(run('there-is-no-such-program', []), {
    command: 'there-is-no-such-program',
    message: /it is not installed: install there-is-no-such-program$/,
  });
  t.equal(await run('true', [], 'x'.repeat(1 << 20)), '', 'who does not read');
});

/** A process in a namespace of its own, as another program's container is. */
async function foreign(t: Test): Promise<ChildProcess> {
  const child = spawn('unshare', ['--net', 'sh', '-c', 'echo up; exec sleep 60'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.teardown(() => child.kill('SIGKILL'));
  await once(child.stdout!, 'data');
  return child;
}

function test(): void {
  t.test('commands of ip, rules and parameters', async (t) => {
    const name = await container(t);
    const bridges = (...names: readonly string[]) => names.map((device) => `link add ${device} type bridge`);
    await t.rejects(ipBatch(name, bridges('one', 'two', 'one', 'three')), {
      command: 'ip link add one type bridge',
      message: `ip link add one type bridge: RTNETLINK answers: File exists (in the network namespace ${name})`,
    });
    const shown = await runIn(name, 'ip', ['-br', 'link']);
    t.match(shown, /one.*two/s);
    t.notMatch(shown, 'three', 'what comes after it is not done');
    await ipBatch(name, []);
    await nft(name, ['add table inet mine']);
    await t.rejects(nft(name, ['delete table inet mine', 'delete table inet other']), {
      message: /No such file/,
    });
    t.match(await runIn(name, 'nft', ['list', 'tables']), /table inet mine/, 'all rules or none');
    setNet(name, { 'ipv4/ip_forward': 1, 'ipv4/there_is_no_such': 1 });
    t.equal((await runIn(name, 'cat', ['/proc/sys/net/ipv4/ip_forward'])).trim(), '1');
    t.throws(() => setNet(name, { 'ipv4/ip_forward': 'much' }), {
      name: 'SystemError',
      message: /^echo much > \/proc\/sys\/net\/ipv4\/ip_forward: EINVAL/,
    });
    t.throws(() => setNet('pw-there-is-none', {}), { message: /pw-there-is-none/ });
  });

  t.test('the namespace of a process gets a name, and keeps it', async (t) => {
    const child = await foreign(t);
    const id = containerId();
    const name = await attachNamespace(id, child.pid!);
    let attached = true;
    t.teardown(() => (attached ? detachNamespace(name) : undefined));
    t.equal(name, namespaceName(id));
    const link = () => runIn(name, 'readlink', ['/proc/self/ns/net']);
    const before = await link();
    t.equal(before, await run('readlink', [`/proc/${child.pid}/ns/net`]));
    const other = await foreign(t);
    await t.rejects(attachNamespace(id, other.pid!), { code: 'INVALID', message: /File exists/ });
    t.equal(await link(), before, 'and nobody else gets it');
    const exit = once(child, 'exit');
    child.kill('SIGKILL');
    await exit;
    t.equal(await link(), before, 'also when the process is gone');
    await t.rejects(attachNamespace(containerId(), child.pid!), {
      code: 'INVALID',
      message: new RegExp(`the network namespace of process ${child.pid} cannot be had: `),
    });
    await detachNamespace(name);
    attached = false;
    await t.rejects(link());
  });

  t.test('devices in it', async (t) => {
    const [a, b] = [await container(t), await container(t)];
    await cable(a, 'eth0', b, 'eth1');
    await removeDevice(a, 'eth0');
    t.notMatch(await runIn(b, 'ip', ['-br', 'link']), 'eth1');
    await t.rejects(removeDevice(a, 'eth0'), { name: 'SystemError', message: /Cannot find device "eth0"/ });
  });
}

const why = noAttach('nft', 'nsenter', 'unshare');
if (why !== null) skip(t, why);
else test();
