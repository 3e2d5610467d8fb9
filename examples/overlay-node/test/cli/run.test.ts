/** Commands in the foreground: in a real namespace, with exit codes and signals as Docker has them. */
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { Namespaces } from '../../../../test/gen/netns.ts';
import { noNamespaces, skip } from '../../../../test/gen/skip.ts';
import { refusal } from '../../cli/run.ts';
import { CONTAINER, ended, StandIn } from './stand-in.ts';

const start = (t: Test, namespace = 'none') =>
  StandIn.start(t, (server) => {
    const container = { ...CONTAINER, namespace };
    server.post('/v1/containers', async () => container);
    server.get('/v1/containers/web', async () => container);
    server.post(`/v1/containers/${CONTAINER.id}/started`, async () => ({}));
    server.post(`/v1/containers/${CONTAINER.id}/exited`, async () => ({}));
  });

const RUN = ['run', '--network', 'demo'];

t.test('what cannot be run is told before anything is made', async (t) => {
  const daemon = await start(t);
  const plain = join(daemon.folder, 'plain');
  writeFileSync(plain, '');
  chmodSync(plain, 0o644);
  const stderr = (text: string) => `packetweave: ${text}\n`;
  t.match(await daemon.type(...RUN, plain), { code: 126, stderr: stderr(`"${plain}" is not executable`) });
  t.match(await daemon.type(...RUN, './nope'), { code: 127, stderr: stderr('"./nope" is not found') });
  t.match(await daemon.type(...RUN, '-e', 'PATH=/nope', 'ls'), { code: 127 });
  t.match(await daemon.type(...RUN, '-w', '/nope', 'ls'), { code: 126, stderr: /there is no folder \/nope/ });
  t.same(daemon.asked, []);
  t.equal(refusal('ls', process.env, '/'), null);
  t.equal(refusal('bin/ls', {}, '/'), null);
});

t.test('whatever fails before the command is 125', async (t) => {
  const daemon = await StandIn.start(t, () => {});
  t.match(await daemon.run([...RUN, 'true']), { code: 125, stderr: 'packetweave: containers not found\n' });
});

t.test('a command in a namespace', async (t) => {
  const no = noNamespaces();
  if (no !== null) return skip(t, no);
  const spaces = new Namespaces(t);
  spaces.add('box');
  const daemon = await start(t, spaces.real('box'));

  const script = 'echo "$A $(ip netns identify) $(pwd)"; exit 7';
  const out = await daemon.run([...RUN, '--rm', '-e', 'A=b', '-w', '/', '--', 'sh', '-c', script]);
  t.same(out, { code: 7, stdout: `b ${spaces.real('box')} /\n`, stderr: '' });
  const [made, started, exited, ...more] = daemon.asked.splice(0);
  t.match(made.body, { networks: ['demo'], command: ['sh', '-c', script], remove: true, directory: '/' });
  t.type((made.body as { pid: number }).pid, 'number');
  t.match(started, { url: /\/started$/, body: { pid: Number } });
  t.match(exited, { url: /\/exited$/, body: { code: 7 } });
  t.same(more, []);

  t.match(await daemon.run(['exec', '-it', 'web', 'sh', '-c', 'ip netns identify; kill -9 $$']), {
    code: 137,
    stdout: `${spaces.real('box')}\n`,
  });
});

t.test('signals are passed on', async (t) => {
  const no = noNamespaces();
  if (no !== null) return skip(t, no);
  const spaces = new Namespaces(t);
  spaces.add('box');
  const daemon = await start(t, spaces.real('box'));
  for (const [signal, code] of [
    ['SIGTERM', 5],
    ['SIGINT', 6],
  ] as const) {
    const script = 'trap "exit 5" TERM; trap "exit 6" INT; echo ready; while :; do sleep 0.05; done';
    const child = daemon.start([...RUN, 'sh', '-c', script]);
    const outcome = ended(child);
    await new Promise((ready) => child.stdout?.once('data', ready));
    child.kill(signal);
    t.match(await outcome, { code, stdout: 'ready\n' }, signal);
  }
});
