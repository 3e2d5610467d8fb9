/** What is asked of the control socket in a wrong way: each is refused with a sentence that says what is wrong. */
import { mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { type Daemon, serveControl } from '../../api/server.ts';

interface Answer {
  readonly status: number | undefined;
  readonly body: { readonly code?: string; readonly message?: string };
}

function folder(t: Test): string {
  const path = mkdtempSync(join(tmpdir(), 'pw-api-'));
  t.teardown(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

/** Answers everything, and says what it was asked for. */
const agreeable = new Proxy({} as Daemon, {
  get:
    (_, name) =>
    async (...args: unknown[]) => ({ name, args }),
});

async function serve(t: Test): Promise<string> {
  const socket = join(folder(t), 's');
  const server = await serveControl(agreeable, socket);
  t.teardown(() => server.close());
  return socket;
}

function post(socketPath: string, path: string, body: string | null, type = 'application/json') {
  const headers = body === null ? {} : { 'content-type': type };
  return new Promise<Answer>((resolve, reject) => {
    const sent = request({ socketPath, path: `/v1/${path}`, method: 'POST', headers }, (response) => {
      let text = '';
      response.on('data', (part) => {
        text += part;
      });
      response.on('end', () => resolve({ status: response.statusCode, body: JSON.parse(text) }));
    });
    sent.on('error', reject);
    sent.end(body ?? undefined);
  });
}

const RUN = { networks: ['a'], command: ['b'] };
const REFUSED: [path: string, body: unknown, message: RegExp][] = [
  ['init', { store: 1 }, /"store" expected a text, got 1/],
  ['init', [], /the body expected an object, got \[\]/],
  ['init', 'x', /the body expected an object, got "x"/],
  ['join', null, /"token" expected a text, got nothing/],
  ['join', { token: 'x' }, /"store" expected a text, got nothing/],
  ['join', { token: null, store: 'x' }, /"token" expected a text, got null/],
  ['leave', { force: 'yes' }, /"force" expected true or false, got "yes"/],
  ['store/migrate', {}, /"to" expected a text, got nothing/],
  ['networks', null, /"name" expected a text, got nothing/],
  ['networks', { name: 'x', subnets: '10.0.0.0/8' }, /"subnets" expected a list, each a text, got "10/],
  ['networks', { name: 'x', labels: { a: 1 } }, /"labels" expected an object, each value a text/],
  ['networks', { name: 'x', options: [] }, /"options" expected an object/],
  ['networks', { name: 'x', ipv6: 'false' }, /"ipv6" expected true or false/],
  ['networks/x/connect', null, /"container" expected a text, got nothing/],
  ['networks/x/connect', { container: 'c', aliases: 'a' }, /"aliases" expected a list/],
  ['networks/x/disconnect', null, /"container" expected a text, got nothing/],
  ['networks/x/disconnect', { container: {} }, /"container" expected a text, got {}/],
  ['containers', { ...RUN, networks: 'x' }, /"networks" expected a list, each a text, got "x"/],
  ['containers', { ...RUN, networks: [1] }, /"networks" expected a list, each a text, got \[1\]/],
  ['containers', { ...RUN, publish: [1] }, /"publish" expected a list, each a text, got \[1\]/],
  ['containers', { ...RUN, command: 'ls' }, /"command" expected a list/],
  ['containers', { ...RUN, command: ['a\0b'] }, /"command" expected a list, each a text without NUL/],
  ['containers', { ...RUN, environment: { A: 1 } }, /"environment" expected an object/],
  [
    'containers',
    { ...RUN, dns: ['nowhere'] },
    /"dns" expected a list, each an IP address, got \["nowhere"\]/,
  ],
  ['containers', { ...RUN, pid: '1' }, /"pid" expected the id of a process, got "1"/],
  ['containers', { ...RUN, detach: 1 }, /"detach" expected true or false, got 1/],
  ['containers', { ...RUN, name: 7 }, /"name" expected a text, got 7/],
  ['containers/x/started', null, /"pid" expected the id of a process, got nothing/],
  ['containers/x/started', { pid: -1 }, /"pid" expected the id of a process, got -1/],
  ['containers/x/exited', { code: 'x' }, /"code" expected an integer 0..255, got "x"/],
  ['containers/x/exited', { code: 256 }, /"code" expected an integer 0..255, got 256/],
];

t.test('bodies of another shape', async (t) => {
  const socket = await serve(t);
  for (const [path, body, message] of REFUSED) {
    const answer = await post(socket, path, JSON.stringify(body));
    t.match(answer, { status: 400, body: { code: 'INVALID', message } }, `${path} ${JSON.stringify(body)}`);
  }
  const nothing = await post(socket, 'join', null);
  t.match(nothing, { status: 400, body: { code: 'INVALID', message: /"token" expected a text/ } }, 'no body');
});

t.test('what is no JSON', async (t) => {
  const socket = await serve(t);
  t.match(await post(socket, 'join', '{'), { status: 400, body: { code: 'INVALID' } });
  t.match(await post(socket, 'join', ''), { status: 400, body: { code: 'INVALID' } });
  t.match(await post(socket, 'join', 'x', 'text/xml'), { status: 415, body: { code: 'INVALID' } });
  const big = JSON.stringify({ token: 'x'.repeat(2 << 20) });
  t.match(await post(socket, 'join', big), { status: 413, body: { code: 'INVALID' } });
});

t.test('what is right is passed on as it is', async (t) => {
  const socket = await serve(t);
  t.match(await post(socket, 'init', null), { status: 200, body: { name: 'init', args: [{}] } });
  t.match(await post(socket, 'leave', '{}'), { status: 200, body: { name: 'leave', args: [false] } });
  t.match(await post(socket, 'leave', '{"force":true}'), { body: { args: [true] } });
  t.match(await post(socket, 'containers', JSON.stringify(RUN)), { status: 200, body: { args: [RUN] } });
  const exited = await post(socket, 'containers/x/exited', '{"code":0}');
  t.match(exited, { status: 200, body: { name: 'exited', args: ['x', 0] } });
});

t.test('where a socket cannot be made', async (t) => {
  const path = folder(t);
  const long = join(path, 'x'.repeat(100));
  await t.rejects(serveControl(agreeable, long), {
    code: 'INVALID',
    message: /at most 107 bytes, got 1\d\d/,
  });
  const file = join(path, 'file');
  writeFileSync(file, 'precious');
  await t.rejects(serveControl(agreeable, file), { code: 'INVALID', message: /is no socket/ });
  t.ok(statSync(file).isFile(), 'what is there stays');
  mkdirSync(join(path, 'dir'));
  await t.rejects(serveControl(agreeable, join(path, 'dir')), { code: 'INVALID' });
  await t.rejects(serveControl(agreeable, join(path, 'none', 's')), {
    code: 'INVALID',
    message: /cannot be/,
  });
  const socket = await serve(t);
  await t.rejects(serveControl(agreeable, socket), { code: 'CONFLICT', message: /another daemon answers/ });
});
