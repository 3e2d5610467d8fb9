/** Commands in the background: they outlive whoever started them, and are found again. */
import * as childProcess from 'node:child_process';
import { type SpawnOptions, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { skip } from '../../../../test/gen/skip.ts';
import {
  type CommandState,
  type DetachedOptions,
  outcome,
  readState,
  removeState,
  startDetached,
  stop,
  waitExit,
} from '../../attach/detached.ts';
import { follow, trimLog } from '../../attach/follow.ts';
import { isRunning, startTimeOf } from '../../attach/processes.ts';
import { container, containerId, folder, noAttach } from './gen.ts';

const why = noAttach('unshare');
if (why !== null) skip(t, why);
else test();

/** What is needed to start a shell script in a namespace of its own. */
async function wanted(t: Test, script: string): Promise<DetachedOptions> {
  const id = containerId();
  const namespace = await container(t, id);
  const cwd = folder(t);
  const files = { logFile: join(cwd, 'log'), stateFile: join(cwd, 'state.json') };
  return {
    id,
    namespace,
    hostname: 'web',
    command: ['sh', '-c', script],
    env: { COLOUR: 'green' },
    cwd,
    ...files,
  };
}

/** Waits until the log says something. */
async function logged(file: string, wanted: RegExp): Promise<string> {
  let text = '';
  for await (const chunk of follow(file)) if (wanted.test((text += chunk))) return text;
  return text;
}

function test(): void {
  t.test('it ends, with a log and an exit code', async (t) => {
    const options = await wanted(
      t,
      'echo "$COLOUR"; pwd; cat /proc/sys/kernel/hostname; echo oh >&2; exit 3',
    );
    writeFileSync(options.logFile, 'before\n');
    const state = await startDetached(options);
    t.equal(await waitExit(state), 3);
    t.equal(readFileSync(options.logFile, 'utf8'), `before\ngreen\n${options.cwd}\nweb\noh\n`);
    t.same(readState(options.stateFile), state);
    t.same(outcome(state), { running: false, exitCode: 3 });
    const again = await startDetached({ ...options, command: ['there-is-no-such-command'] });
    t.equal(await waitExit(again), 127);
    t.match(readFileSync(options.logFile, 'utf8'), /oh\n.*there-is-no-such-command.*not found/);
    removeState(options.stateFile);
    t.equal(readState(options.stateFile), null);
    t.ok(existsSync(options.logFile));
  });

  t.test('it outlives its parent, and is found again and ended', async (t) => {
    const options = await wanted(
      t,
      'echo started; trap "echo bye; exit 9" TERM; while :; do sleep 0.05; done',
    );
    const module = new URL('../../attach/detached.ts', import.meta.url).href;
    const program = `
      const { startDetached } = await import(${JSON.stringify(module)});
      await startDetached(${JSON.stringify(options)});
      process.kill(process.pid, 'SIGKILL');`;
    const args = [...process.execArgv, '--input-type=module', '-e', program];
    const parent = spawn(process.execPath, args, { stdio: 'inherit' });
    t.same(await once(parent, 'exit'), [null, 'SIGKILL']);
    const state = readState(options.stateFile) as CommandState;
    await logged(options.logFile, /started/);
    t.same(outcome(state), { running: true, exitCode: null });
    t.equal(state.id, options.id);
    const ended = waitExit(state);
    await stop(state);
    t.equal(await ended, 9);
    t.same(outcome(state), { running: false, exitCode: 9 });
    t.match(readFileSync(options.logFile, 'utf8'), /^started\n(Terminated\n)?bye\n$/);
    await stop(state);
  });

  t.test('one that does not listen is killed', async (t) => {
    const options = await wanted(t, 'trap "" TERM; echo started; while :; do sleep 1; done');
    const state = await startDetached(options);
    await logged(options.logFile, /started/);
    await stop(state, 200);
    t.same(outcome(state), { running: false, exitCode: 137 });
  });

  t.test('one that has only just begun hears that it is to end', async (t) => {
    const commands = await Promise.all(Array.from({ length: 8 }, () => wanted(t, 'sleep 60')));
    const codes = commands.map(async (options, i) => {
      const state = await startDetached({ ...options, command: ['sleep', '60'] });
      await pause(i);
      await stop(state);
      return outcome(state).exitCode;
    });
    t.same(new Set(await Promise.all(codes)), new Set([143]), 'by SIGTERM');
  });

  t.test('one whose shell has to wait for its turn hears it, too', async (t) => {
    const options = await wanted(t, 'sleep 60');
    const go = join(options.cwd, 'go');
    const late = `while [ ! -e ${go} ]; do sleep 0.02; done; exec /bin/sh "$@"`;
    const spawnLate = (program: string, args: readonly string[], more: SpawnOptions) =>
      spawn(program, ['-c', late, 'sh', ...args], more);
    const detached = await t.mockImport<typeof import('../../attach/detached.ts')>(
      '../../attach/detached.ts',
      { 'node:child_process': { ...childProcess, spawn: spawnLate } },
    );
    const state = await detached.startDetached(options);
    const stopped = stop(state);
    await pause(500);
    writeFileSync(go, '');
    await stopped;
    t.same(outcome(state), { running: false, exitCode: 143 }, 'by SIGTERM');
  });

  t.test('one that is killed by somebody is noted', async (t) => {
    const options = await wanted(t, 'kill -KILL $$');
    t.equal(await waitExit(await startDetached(options)), 137);
    t.equal(readFileSync(options.logFile, 'utf8'), '');
  });

  t.test('a process that got the id of another is left alone', async (t) => {
    const state = await startDetached(await wanted(t, 'sleep 60'));
    const { pid, startTime } = state;
    t.teardown(() => stop(state));
    await stop({ ...state, startTime: startTime - 1 });
    t.equal(isRunning(pid, startTime - 1), false);
    t.equal(isRunning(pid, startTime), true);
    await stop(state);
    t.equal(startTimeOf(pid), null);
  });

  t.test('what makes no sense is refused', async (t) => {
    const options = await wanted(t, 'true');
    await t.rejects(startDetached({ ...options, cwd: '/there/is/none' }), {
      code: 'INVALID',
      message: 'the working directory /there/is/none does not exist',
    });
    await t.rejects(startDetached({ ...options, command: [] }), { code: 'INVALID' });
    writeFileSync(options.stateFile, 'oh');
    t.throws(() => readState(options.stateFile), { code: 'CORRUPT' });
  });

  t.test('a log that has grown too long', async (t) => {
    const options = await wanted(t, '');
    const go = join(options.cwd, 'go');
    const script = `seq 1 20000; while [ ! -e ${go} ]; do sleep 0.02; done; echo last; sleep 60`;
    const state = await startDetached({ ...options, command: ['sh', '-c', script] });
    t.teardown(() => stop(state));
    await logged(options.logFile, /\n20000\n/);
    let text = '';
    const following = (async () => {
      for await (const chunk of follow(options.logFile)) if ((text += chunk).includes('last')) return;
    })();
    while (!text.includes('\n20000\n')) await pause(10);
    await trimLog(options.logFile, 1 << 20);
    t.equal(statSync(options.logFile).size, 108894, 'one that is not too long stays');
    await trimLog(options.logFile, 1000);
    t.equal(statSync(options.logFile).size, 0);
    writeFileSync(go, '');
    await following;
    t.match(text, /^1\n2\n.*\n20000\nlast\n$/s, 'whoever follows it goes on');
    t.equal(readFileSync(options.logFile, 'utf8'), 'last\n', 'it begins again');
    t.match(await logged(options.logFile, /last/), /^1\n2\n.*\n20000\nlast\n$/s, 'what was before is there');
  });

  t.test('a log is followed to its end', async (t) => {
    const options = await wanted(t, 'for i in 1 2 3; do echo line $i; sleep 0.1; done');
    const state = await startDetached(options);
    let text = '';
    for await (const chunk of follow(options.logFile, { ended: () => !outcome(state).running }))
      text += chunk;
    t.equal(text, 'line 1\nline 2\nline 3\n');
    const controller = new AbortController();
    for await (const _ of follow(options.logFile, { signal: controller.signal })) controller.abort();
    t.pass('or until somebody has seen enough');
  });
}
