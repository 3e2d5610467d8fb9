/** The state folder: what is in it is rubbish, half-written, or another's. */
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { startTimeOf } from '../../attach/processes.ts';
import { readMembership } from '../../daemon/membership.ts';
import { Records } from '../../daemon/records.ts';
import { StateFolder } from '../../daemon/state.ts';
import { record } from './gen.ts';

async function folder(t: Test): Promise<StateFolder> {
  const path = mkdtempSync(join(tmpdir(), 'pw-state-'));
  t.teardown(() => rmSync(path, { recursive: true, force: true }));
  mkdirSync(join(path, 'containers'));
  return StateFolder.open(path);
}

const id = (digit: string) => digit.repeat(64);

const kept = record(id('a'), {
  name: 'web',
  command: ['sleep', '1'],
  detached: true,
  remove: false,
  attachments: [{ network: 'n', endpoint: 'e', device: 'eth0', publish: [] }],
  pid: 1,
  pidStarted: 1,
});

t.test('records of containers', async (t) => {
  const state = await folder(t);
  const file = (name: string) => join(state.path, 'containers', name);
  const warnings: string[] = [];
  const open = () => Records.open(state, (message) => warnings.push(message));
  await (await open()).put(kept);
  const rubbish: Record<string, string> = {
    b: '',
    c: '{"id":',
    d: 'null',
    e: JSON.stringify({ ...kept, id: id('e'), attachments: 'none' }),
    f: JSON.stringify(kept),
  };
  for (const [digit, text] of Object.entries(rubbish)) writeFileSync(file(`${id(digit)}.json`), text);
  writeFileSync(file(`${id('9')}.json.01234567`), 'half-writ');
  writeFileSync(file('notes.json'), '{}');
  const records = await open();
  t.same(records.get(id('a')), kept, 'what is readable is read');
  t.equal(records.all().length, 6);
  t.equal(warnings.length, 5);
  for (const digit of Object.keys(rubbish)) {
    t.match(records.find(digit.repeat(12)), { state: 'exited', attachments: [], id: id(digit) }, digit);
    t.match(warnings.join('\n'), id(digit));
    await records.remove(id(digit));
  }
  t.same(readdirSync(join(state.path, 'containers')).sort(), [`${id('a')}.json`, 'notes.json']);
});

t.test('what this node is a member of', async (t) => {
  const state = await folder(t);
  t.equal(await readMembership(state), null);
  const good = { node: 'a', cluster: 'b', secret: 'c', store: { kind: 'embedded' }, master: 'm', joined: '' };
  await state.write('node', good);
  t.same(await readMembership(state), good);
  const bad = [
    null,
    [],
    7,
    'x',
    {},
    { ...good, secret: 1 },
    { ...good, store: { kind: 'served', host: 'h' } },
  ];
  for (const value of bad) {
    await state.write('node', value);
    await t.rejects(readMembership(state), { code: 'CORRUPT', message: /node\.json/ }, JSON.stringify(value));
  }
  writeFileSync(join(state.path, 'node.json'), '');
  await t.rejects(readMembership(state), { code: 'CORRUPT' }, 'an empty file');
});

t.test('one daemon has it', async (t) => {
  const state = await folder(t);
  await state.lock();
  await state.lock();
  await state.unlock();
  t.notOk(await state.has('lock.json'));
  await state.write('lock', { pid: process.ppid, started: startTimeOf(process.ppid) });
  const message = new RegExp(`process ${process.ppid} has the state folder`);
  await t.rejects(state.lock(), { code: 'CONFLICT', message });
  await state.unlock();
  t.ok(await state.has('lock.json'), "another's lock stays");
  await state.write('lock', { pid: process.ppid, started: 1 });
  await state.lock();
  t.match(await state.read('lock'), { pid: process.pid }, 'a number that is used again is nobody');
  writeFileSync(join(state.path, 'lock.json'), '{');
  await state.lock();
});
