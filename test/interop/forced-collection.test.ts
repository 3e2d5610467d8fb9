/**
 * Native ports while the garbage collector runs all the time. Native code holds addresses of memory: where some of it
 * could move, or nobody refers to it, it would be damaged here. TCP with its hash and pings with their patterns go
 * through TAP devices and through native UDP meanwhile, in clear and in ESP.
 *
 * Runs for twice 5 s, or for as many as the environment variable COLLECT_SECONDS says (a release runs it with 60).
 */
import { existsSync } from 'node:fs';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import t, { type Test } from 'tap';
import { TapPort } from '../../lib/io/tap.ts';
import { UdpNativePort } from '../../lib/io/udp-native.ts';
import { Overlay } from '../../lib/overlay.ts';
import { Namespaces } from '../gen/netns.ts';
import { noNamespaces, skip } from '../gen/skip.ts';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as (options?: { type: 'minor' | 'major' }) => void;

const SECONDS = Number(process.env.COLLECT_SECONDS ?? 5);
const PORT = 19000 + (process.pid % 1500) * 2;

/** Answers each connection with the SHA-256 of what came in. */
const SERVER = `
  require('node:net').createServer({ allowHalfOpen: true }, (socket) => {
    const hash = require('node:crypto').createHash('sha256');
    socket.on('data', (bytes) => hash.update(bytes));
    socket.on('end', () => socket.end(hash.digest('hex')));
    socket.on('error', () => {});
  }).listen(5001, '0.0.0.0', () => console.log('listening'));
  setTimeout(() => process.exit(), ${(SECONDS + 120) * 1000});`;

/** Sends 4 MiB at a time, all different, and exits with 1 where the hash is another. Prints how many were sent. */
const CLIENT = (address: string) => `
  const { createHash, randomBytes } = require('node:crypto');
  const end = Date.now() + ${SECONDS * 1000};
  let n = 0;
  let tries = 0;
  const once = () => {
    const bytes = randomBytes(4 << 20);
    const wanted = createHash('sha256').update(bytes).digest('hex');
    let got = '';
    const socket = require('node:net').connect(5001, '${address}', () => socket.end(bytes));
    socket.on('data', (text) => { got += text; });
    socket.on('error', (error) => {
      // The server may be about to begin.
      if (error.code === 'ECONNREFUSED' && n === 0 && tries++ < 200) return setTimeout(once, 50);
      console.error(error.message);
      process.exit(1);
    });
    socket.on('close', (failed) => {
      if (failed) return;
      if (got !== wanted) { console.error('another hash after', n); process.exit(1); }
      n++;
      if (Date.now() < end) once();
      else { console.log(n); process.exit(0); }
    });
  };
  once();`;

const LONGEST = (SECONDS + 120) * 1000;

/** Collects garbage in every turn of the event loop. */
class Collecting {
  #running = true;
  readonly #done = this.#work();

  async #work(): Promise<number> {
    let collections = 0;
    while (this.#running) {
      collect({ type: collections++ % 8 === 0 ? 'major' : 'minor' });
      // Garbage of the sizes that V8 moves, so that there is something to move into its place.
      for (let i = 0; i < 100; i++) new Uint8Array(16 + (i % 64)).fill(0xa5);
      await new Promise((resolve) => setImmediate(resolve));
    }
    return collections;
  }

  /** Ends it, and says how often that was. */
  end(): Promise<number> {
    this.#running = false;
    return this.#done;
  }
}

async function damageNothing(t: Test, encrypted: boolean): Promise<void> {
  const namespaces = new Namespaces(t);
  const names = ['a', 'b', 'c'];
  for (const name of names) namespaces.add(name);
  const tap = (name: string) => ({
    port: new TapPort({ name: `tap-${name}`, namespace: namespaces.real(name), mtu: 1400 }),
  });
  // Two devices on one host, the third on another.
  const host = (n: number, ports: ReturnType<typeof tap>[]) => {
    const address = `127.0.0.${n}`;
    const socket = (port: number) => new UdpNativePort({ address, port });
    const esp = { secret: 'a secret of both hosts', port: PORT + 1, underlay: socket(PORT + 1) };
    const local = { address, port: PORT, underlay: socket(PORT), ...(encrypted && { esp }) };
    const networks = [{ vni: 42, encrypted, remotes: [`127.0.0.${3 - n}`], ports }];
    return new Overlay({ local, networks });
  };
  const overlays = [host(1, [tap('a'), tap('b')]), host(2, [tap('c')])];
  t.teardown(() => Promise.all(overlays.map((overlay) => overlay.stop())));
  for (const overlay of overlays) await overlay.start();
  for (const [i, name] of names.entries()) {
    namespaces.run(name, `ip addr add 10.0.0.${i + 1}/24 dev tap-${name}`);
  }

  const collecting = new Collecting();
  const attempt = (name: string, command: string) => namespaces.attempt(name, command, LONGEST);
  const node = (name: string, program: string) =>
    attempt(name, `timeout ${SECONDS + 100} ${process.execPath} -e "${program.replaceAll('"', '\\"')}"`);
  const servers = ['b', 'c'].map((name) => node(name, SERVER));
  // Over ESP there have to be keys first.
  const reached = await attempt('a', 'ping -n -q -c 1 -i 0.1 -w 30 10.0.0.3');
  t.ok(reached.ok, reached.text);
  const pings = `ping -n -q -i 0.01 -w ${SECONDS} -s 1300 -p a55a 10.0.0`;
  const results = await Promise.all([
    node('a', CLIENT('10.0.0.2')),
    node('a', CLIENT('10.0.0.3')),
    attempt('b', `${pings}.1`),
    attempt('c', `${pings}.2`),
  ]);
  const collections = await collecting.end();
  for (const { ok, text } of results) {
    t.ok(ok, text.trim().split('\n').at(-1) ?? '');
    t.notMatch(text, /wrong data|another hash/);
  }
  t.ok(collections > 10, `${collections} collections`);
  for (const overlay of overlays) await overlay.stop();
  for (const { context } of overlays)
    t.same([context.pool.used, context.jumbo.used], [0, 0], 'all came home');
  namespaces.remove();
  await Promise.all(servers);
}

const reason = noNamespaces() ?? (existsSync('/dev/net/tun') ? null : 'there is no /dev/net/tun');
if (reason !== null) skip(t, reason);
else {
  for (const encrypted of [false, true]) {
    const what = `${SECONDS} s of collections damage nothing${encrypted ? ', encrypted' : ''}`;
    t.test(what, { timeout: LONGEST }, (t) => damageNothing(t, encrypted));
  }
}
