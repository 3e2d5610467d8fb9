/** What the daemon makes of commands that end, whoever runs them. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { skip } from '../../../../test/gen/skip.ts';
import { type CommandState, outcome, startDetached } from '../../attach/detached.ts';
import { removeNamespace } from '../../attach/namespace.ts';
import { isRunning, startTimeOf } from '../../attach/processes.ts';
import { StaticControl } from '../../control/static-control.ts';
import { nodeIdOf } from '../../control/static-place.ts';
import { Commands } from '../../daemon/commands.ts';
import { makeLogger } from '../../daemon/log.ts';
import { Records } from '../../daemon/records.ts';
import { StateFolder } from '../../daemon/state.ts';
import { container, containerId, noAttach } from '../attach/gen.ts';
import { record } from './gen.ts';

/** A daemon's commands, with a state folder of their own. */
async function world(t: Test) {
  const path = mkdtempSync(join(tmpdir(), 'pw-commands-'));
  t.teardown(() => rmSync(path, { recursive: true, force: true }));
  const state = await StateFolder.open(path);
  const folder = await state.folder('commands');
  const records = await Records.open(state, (message) => t.fail(message));
  const address = '192.0.2.1';
  const ports = { dataPort: 4789, espPort: 4500, mtu: 1500 };
  const joined = '2026-01-01T00:00:00.000Z';
  const control = await StaticControl.open({
    identity: { id: nodeIdOf(address), name: 'host', address, ...ports, version: '1', joined },
    peers: ['192.0.2.2'],
    state: { read: async () => null, write: async () => {} },
  });
  t.teardown(() => control.close());
  const commands = new Commands({ records, control, folder, log: makeLogger('silent') });
  t.teardown(() => commands.close());
  return { records, commands, folder };
}

/** A process that goes on until the test ends it. */
async function running(t: Test): Promise<{ child: ChildProcess; pid: number; started: number }> {
  const child = spawn('sleep', ['60'], { stdio: 'ignore' });
  t.teardown(() => child.kill('SIGKILL'));
  await once(child, 'spawn');
  return { child, pid: child.pid!, started: startTimeOf(child.pid!)! };
}

async function end(child: ChildProcess): Promise<void> {
  const exited = once(child, 'exit');
  child.kill('SIGKILL');
  await exited;
}

t.test('a command in the foreground has ended', async (t) => {
  const { records, commands } = await world(t);
  const command = await running(t);
  const patient = await running(t);
  const gone = await running(t);
  const ran = { pid: command.pid, pidStarted: command.started };
  const by = ({ pid, started }: { pid: number; started: number }) => ({ ...ran, caller: { pid, started } });
  const [first, second] = ['a'.repeat(64), 'b'.repeat(64)];
  await records.put(record(first, by(patient)));
  await records.put(record(second, by(gone)));
  await Promise.all([end(command.child), end(gone.child)]);

  const told: [string, number][] = [];
  const next = () =>
    new Promise<void>((resolve) => {
      commands.onExit = async (id, code) => {
        told.push([id, code]);
        await records.remove(id);
        resolve();
      };
    });
  const one = next();
  commands.watch();
  await one;
  t.same(told, [[second, 137]], 'nobody can tell how: that of the first, looked at before, can be told');
  const other = next();
  await end(patient.child);
  await other;
  t.same(told.slice(1), [[first, 137]], 'who knew is gone without a word');
});

/** A command in the background, and the record of its container. */
async function background(t: Test, folder: string) {
  const id = containerId();
  const own = record(id, { detached: true, remove: false });
  const state = await startDetached({
    id,
    namespace: await container(t, id),
    hostname: null,
    command: own.command,
    env: {},
    cwd: '/',
    logFile: join(folder, `${id}.log`),
    stateFile: join(folder, `${id}.command`),
  });
  t.teardown(() => signal(state, 'SIGKILL'));
  return { own, state };
}

function signal({ pid }: CommandState, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch {
    // it has ended
  }
}

t.test('a command in the background whose file is rubbish', async (t) => {
  const no = noAttach();
  if (no !== null) return skip(t, no);
  const { records, commands, folder } = await world(t);
  const { own, state } = await background(t, folder);
  const running = { ...own, pid: state.pid, pidStarted: state.startTime };
  await records.put(running);
  await records.put(record('b'.repeat(64), { detached: true }));
  writeFileSync(state.stateFile, '{');
  const ended = new Promise<string>((resolve) => {
    commands.onExit = async (id) => resolve(id);
  });
  commands.watch();
  t.equal(await ended, 'b'.repeat(64), 'goes on: it is another that has ended');
  await commands.end(running);
  t.same(outcome(state), { running: false, exitCode: 143 }, 'and is ended by SIGTERM');
});

t.test('nothing is left of a command in the background that nobody knows', async (t) => {
  const no = noAttach();
  if (no !== null) return skip(t, no);
  const { commands, folder } = await world(t);
  for (const noted of ['{', null]) {
    const { own, state } = await background(t, folder);
    if (noted === null) rmSync(state.stateFile);
    else writeFileSync(state.stateFile, noted);
    // As on a busy machine: it comes to note how the command ended only later.
    signal(state, 'SIGSTOP');
    await removeNamespace(own.namespace);
    await commands.forget(own);
    signal(state, 'SIGCONT');
    for (let i = 0; i < 3000 && isRunning(state.pid, state.startTime); i++) await pause(10);
    t.same(readdirSync(folder), []);
  }
});
