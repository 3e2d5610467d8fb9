/** Commands in the foreground: what they see, and what comes back of them. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { hostname } from 'node:os';
import t, { type Test } from 'tap';
import { skip } from '../../../../test/gen/skip.ts';
import { commandLine, type Place } from '../../attach/command.ts';
import { container, folder, noAttach } from './gen.ts';

const why = noAttach('unshare');
if (why !== null) skip(t, why);
else test();

/** Runs a command to its end. */
async function run(
  place: Place,
  command: string[],
  options: { cwd?: string; env?: Record<string, string> } = {},
) {
  const [program, ...args] = commandLine(place, command);
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], ...options });
  const said = { out: '', err: '' };
  child.stdout.on('data', (data) => (said.out += data));
  child.stderr.on('data', (data) => (said.err += data));
  const [code, signal] = await once(child, 'close');
  return { ...said, code, signal };
}

/** A program with the function under test, as the command line is one. */
function foreground(t: Test, place: Place, command: string[]) {
  const module = new URL('../../attach/command.ts', import.meta.url).href;
  const program = `
    const { startForeground } = await import(${JSON.stringify(module)});
    const { pid, exited } = await startForeground(${JSON.stringify(place)}, ${JSON.stringify(command)});
    process.send?.(pid);
    process.exitCode = await exited;
    process.disconnect?.();`;
  const args = [...process.execArgv, '--input-type=module', '-e', program];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit', 'ipc'] });
  t.teardown(() => child.kill('SIGKILL'));
  return child;
}

function test(): void {
  t.test('directory, environment, hostname and namespace', async (t) => {
    const namespace = await container(t);
    const cwd = folder(t);
    const script =
      'pwd; echo "$COLOUR"; cat /proc/sys/kernel/hostname; readlink /proc/self/ns/net; echo "$#" "$@"';
    const command = ['sh', '-c', script, 'sh', 'a b', '', '$(c)', '-d'];
    const env = { PATH: process.env.PATH!, COLOUR: 'green' };
    const { out, code } = await run({ namespace, hostname: 'web-1' }, command, { cwd, env });
    t.equal(code, 0);
    const [directory, colour, name, inside, given] = out.split('\n');
    t.same([directory, colour, name, given], [cwd, 'green', 'web-1', '4 a b  $(c) -d']);
    t.equal(hostname() === 'web-1', false);
    const path = `/run/netns/${namespace}`;
    const byPath = await run({ namespace: path, hostname: null }, command, { cwd, env });
    t.same(byPath.out.split('\n'), [cwd, 'green', hostname(), inside, given, '']);
  });

  t.test('exit codes are the command own', async (t) => {
    const namespace = await container(t);
    for (const hostname of ['web', null]) {
      const place = { namespace, hostname };
      t.equal((await run(place, ['sh', '-c', 'exit 7'])).code, 7);
      t.equal((await run(place, ['sh', '-c', 'kill -TERM $$'])).signal, 'SIGTERM');
      const missing = await run(place, ['there-is-no-such-command']);
      t.equal(missing.code, 127);
      t.match(missing.err, /there-is-no-such-command.*(not found|No such file)/);
    }
    t.not((await run({ namespace: 'pw-there-is-none', hostname: null }, ['true'])).code, 0);
    t.throws(() => commandLine({ namespace, hostname: null }, []), { code: 'INVALID' });
  });

  t.test('signals are passed, and what they do comes back', async (t) => {
    const namespace = await container(t);
    const script = 'trap "exit 33" TERM; echo ready; while :; do sleep 0.05; done';
    const trapping = foreground(t, { namespace, hostname: 'web' }, ['sh', '-c', script]);
    const killed = foreground(t, { namespace, hostname: 'web' }, ['sh', '-c', 'echo ready; exec sleep 60']);
    const [[pid]] = await Promise.all([
      once(killed, 'message'),
      once(killed.stdout!, 'data'),
      once(trapping.stdout!, 'data'),
    ]);
    trapping.kill('SIGTERM');
    t.same(await once(trapping, 'exit'), [33, null]);
    process.kill(pid, 'SIGKILL');
    t.same(await once(killed, 'exit'), [137, null], 'the id is that of the command itself');
  });
}
