/** Passwords and certificates. */
import { spawnSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Test, test } from 'tap';
import { has, skip } from '../../../../../test/gen/skip.ts';
import { EtcdClient } from '../../../control/store/etcd-client.ts';
import { showAddress } from '../../../control/store/etcd-http.ts';
import { EtcdKeys } from '../../../control/store/etcd-keys.ts';
import { openEtcd } from '../../../control/store/locate.ts';
import type { Store } from '../../../control/store/store.ts';
import { Log } from './conformance.ts';
import { EtcdServer, insist, noEtcd } from './etcd-server.ts';

const missing = noEtcd();
const away = { code: 'AWAY' };
const forbidden = { code: 'FORBIDDEN' };

function openUrl(t: Test, url: string): Store {
  const store = openEtcd(url);
  t.teardown(() => store.close());
  return store;
}

/** A user `node`, who may do everything below `/packetweave/`, and a `root`, as etcd wants it. */
async function withUsers(t: Test, server: EtcdServer): Promise<void> {
  const client = new EtcdClient({ addresses: [server.address] });
  t.teardown(() => client.close());
  const perm = { permType: 'READWRITE', ...new EtcdKeys('/packetweave/').range('') };
  for (const [path, body] of [
    ['role/add', { name: 'root' }],
    ['role/add', { name: 'overlay' }],
    ['role/grant', { name: 'overlay', perm }],
    ['user/add', { name: 'root', password: 'toor' }],
    ['user/grant', { user: 'root', role: 'root' }],
    ['user/add', { name: 'node', password: 's€cret' }],
    ['user/grant', { user: 'node', role: 'overlay' }],
    ['enable', {}],
  ] as const)
    await client.write(`/v3/auth/${path}`, body);
}

test('user and password', async (t) => {
  if (missing) return skip(t, missing);
  const server = await EtcdServer.start(t, { flags: ['--bcrypt-cost', '4', '--auth-token-ttl', '1'] });
  const at = showAddress(server.address);
  const login = `node:${encodeURIComponent('s€cret')}`;
  const store = openUrl(t, `etcd://${login}@${at}`);
  await store.put('a', '1');
  t.pass('an etcd without users takes everybody');

  await withUsers(t, server);
  const revision = await store.put('a', '2');
  const log = new Log(store, '', revision);
  await store.put('a', '3');
  await log.until(() => log.calls.length === 1);
  const lease = await store.grant(60);
  await store.put('alive', '', lease);
  await lease.keepAlive();

  await t.rejects(openUrl(t, `etcd://node:wrong@${at}`).get('a'), {
    ...forbidden,
    message: /check user and password/,
  });
  await t.rejects(openUrl(t, `etcd://${at}`).get('a'), { ...forbidden, message: /USER:PASSWORD/ });
  const outside = openUrl(t, `etcd://${login}@${at}/elsewhere`);
  await t.rejects(outside.put('a', ''), { ...forbidden, message: /permission denied/ });
  await t.rejects(outside.list(''), forbidden);
  const denied = new Log(outside, '', revision);
  await denied.until(() => denied.ends.length > 0);
  t.strictSame(denied.ends, ['away']);

  const { revision: seen } = await store.list('');
  await server.kill();
  await log.until(() => log.ends.length > 0);
  await server.run();
  // Tokens are gone with the process: the first to notice is a watch.
  const late = new Log(store, '', seen);
  await insist(() => store.put('a', '4'));
  await late.until(() => late.calls.length + late.ends.length > 0);
  t.strictSame([late.lines, late.ends], [['a=4'], []]);
  await server.kill();
  await server.run();
  // It listens before it answers. Another asks, so that the old token stays.
  const other = openUrl(t, `etcd://${login}@${at}`);
  await insist(() => other.get('a'));
  const together = Array.from({ length: 20 }, (_, i) => insist(() => store.put(`b/${i}`, '')));
  t.strictSame(await Promise.all(together), Array(20).fill(0), 'a change with an old token is no failure');
});

test('a token that has expired', async (t) => {
  if (missing) return skip(t, missing);
  const server = await EtcdServer.start(t, { flags: ['--bcrypt-cost', '4', '--auth-token-ttl', '1'] });
  await withUsers(t, server);
  const at = showAddress(server.address);
  const store = openUrl(t, `etcd://node:${encodeURIComponent('s€cret')}@${at}`);
  const revision = await store.put('a', '1');
  // Longer than it lives, and than etcd takes to look.
  await new Promise((resolve) => setTimeout(resolve, 2500));
  const log = new Log(store, '', revision - 1);
  await log.until(() => log.calls.length + log.ends.length > 0);
  t.strictSame([log.lines, log.ends], [['a=1'], []]);
  log.watch.close();
  await store.put('a', '2');
});

/** An authority, what it has signed for a server and for a client, and an authority that has signed nothing. */
async function certificates(t: Test): Promise<(name: string) => string> {
  const folder = await mkdtemp(join(tmpdir(), 'packetweave-tls-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const file = (name: string) => join(folder, name);
  const openssl = (...args: string[]) => {
    const { status, stderr } = spawnSync('openssl', args);
    if (status !== 0) throw new Error(`openssl ${args[0]}: ${stderr}`);
  };
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout'];
  for (const name of ['ca', 'stranger']) {
    const made = [file(`${name}.key`), '-out', file(`${name}.pem`), '-days', '2', '-subj', `/CN=${name}`];
    openssl('req', '-x509', ...key, ...made);
  }
  await writeFile(file('names'), 'subjectAltName=IP:127.0.0.1\n');
  for (const name of ['server', 'client']) {
    openssl('req', '-new', ...key, file(`${name}.key`), '-out', file(`${name}.csr`), '-subj', `/CN=${name}`);
    const ca = ['-CA', file('ca.pem'), '-CAkey', file('ca.key'), '-CAcreateserial', '-days', '2'];
    const files = ['-in', file(`${name}.csr`), '-out', file(`${name}.pem`), '-extfile', file('names')];
    openssl('x509', '-req', ...ca, ...files);
  }
  return file;
}

test('certificates', async (t) => {
  if (missing) return skip(t, missing);
  if (!has('openssl')) return skip(t, 'openssl is not installed');
  const file = await certificates(t);
  const tls = { cert: file('server.pem'), key: file('server.key'), ca: file('ca.pem') };
  const server = await EtcdServer.start(t, { tls });
  const at = showAddress(server.address);
  const files = `ca=${file('ca.pem')}&cert=${file('client.pem')}&key=${file('client.key')}`;
  const store = openUrl(t, `etcds://${at}?${files}`);
  const log = new Log(store, '', await store.put('a', '1'));
  await store.put('a', '2');
  await log.until(() => log.calls.length > 0);
  t.strictSame(log.lines, ['a=2']);
  log.watch.close();

  const refused: [string, RegExp][] = [
    [`etcds://${at}`, /certificate/],
    [`etcds://${at}?${files.replace('ca.pem', 'stranger.pem')}`, /certificate|signature/],
    [`etcds://${at}?ca=${file('ca.pem')}`, /alert|certificate|ECONNRESET|hang up/],
    [`etcds://localhost:${server.address.port}?${files}`, /altnames/],
    [`etcd://${at}`, /not etcd's|hang up|ECONNRESET/],
  ];
  for (const [url, message] of refused) {
    await t.rejects(openUrl(t, url).get('a'), { ...away, message });
    await t.rejects(openUrl(t, url).put('a', '3'), away);
  }
  t.equal((await store.get('a'))?.value, '2');
  const mixed = `etcds://${at}?ca=${file('ca.pem')}&cert=${file('client.pem')}&key=${file('server.key')}`;
  t.throws(() => openEtcd(mixed), { code: 'INVALID' }, 'a key of another certificate');
  t.throws(() => openEtcd(`etcds://${at}?ca=${file('names')}`), { code: 'INVALID' }, 'no PEM file');
});
