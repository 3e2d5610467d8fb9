/** The examples as a user runs them: what was built, as programs of their own. */
import { execFile, spawnSync } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { readCapture } from '../../codecs/capture-reader.ts';
import { Namespaces } from '../gen/netns.ts';
import { has, noNamespaces, noNative, skip } from '../gen/skip.ts';

const root = new URL('../../', import.meta.url).pathname;
const folder = mkdtempSync(join(tmpdir(), 'packetweave-'));
t.teardown(() => rmSync(folder, { recursive: true, force: true }));

interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs an example to its end in a folder of its own. */
function run(name: string, ...args: string[]): Promise<Outcome> {
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      [join(root, 'dist/examples', `${name}.js`), ...args],
      { cwd: folder, timeout: 60_000, maxBuffer: 64 << 20 },
      (error, stdout, stderr) =>
        resolve({ code: error === null ? 0 : Number(error.code ?? -1), stdout, stderr }),
    );
  });
}

t.test('every example has fewer than 80 lines', async (t) => {
  const files = readdirSync(join(root, 'examples')).filter((name) => name.endsWith('.ts'));
  const lines = (name: string) => readFileSync(join(root, 'examples', name), 'utf8').split('\n').length - 1;
  t.same(
    files.filter((name) => lines(name) >= 80),
    [],
  );
  t.ok(files.length >= 4);
});

t.test('two-hosts', async (t) => {
  const { code, stdout, stderr } = await run('two-hosts', '--port', '14790', '--esp-port', '14890');
  t.equal(code, 0, stderr);
  t.notMatch(stdout, /FAIL/);
  for (const vni of [100, 200, 300]) t.match(stdout, `network ${vni}: 5000 of 5000 datagrams arrived`);
  const plain = readCapture(readFileSync(join(folder, 'underlay.pcapng')));
  t.equal(plain.error, null);
  t.ok(plain.packets.length > 10_000);
  const sealed = readCapture(readFileSync(join(folder, 'underlay-esp.pcapng')));
  t.ok(sealed.packets.length > 5000);
  const zeros = Buffer.alloc(64);
  const clear = (packets: typeof plain.packets) =>
    packets.filter(({ bytes }) => Buffer.from(bytes).includes(zeros));
  t.ok(clear(plain.packets).length >= 10_000, 'the payload of plain networks is in the capture');
  t.equal(clear(sealed.packets).length, 0, 'that of the encrypted one is not');
});

t.test('tshark looks into the encrypted network, given the keys', async (t) => {
  if (!has('tshark')) return skip(t, 'tshark is not installed');
  const lines = readFileSync(join(folder, 'underlay-esp.keys'), 'utf8').split('\n').filter(Boolean);
  const keys = lines.flatMap((line) => ['-o', `uat:esp_sa:${line}`]);
  const ports = ['-d', 'udp.port==14890,udpencap', '-d', 'udp.port==14790,vxlan'];
  const fields = ['-T', 'fields', '-e', 'vxlan.vni', '-e', 'icmp.type'];
  const args = [
    '-r',
    'underlay-esp.pcapng',
    '-n',
    '-o',
    'esp.enable_encryption_decode:TRUE',
    ...ports,
    ...keys,
    ...fields,
  ];
  const { stdout } = spawnSync('tshark', ['-c', '4', ...args], { cwd: folder, encoding: 'utf8' });
  t.same(stdout.split('\n').slice(0, 4), ['300\t', '300\t', '300\t8', '300\t0']);
});

t.test('two-hosts tells what to do about a busy port', async (t) => {
  const socket = createSocket('udp4');
  await new Promise<void>((resolve) => socket.bind(14791, '127.0.0.2', resolve));
  t.teardown(() => socket.close());
  const args = ['--port', '14791', '--esp-port', '14891', '--capture', 'busy'];
  const { code, stdout } = await run('two-hosts', ...args);
  t.equal(code, 1);
  t.match(stdout, /FAIL.*14791/);
  t.match(stdout, /FAIL.*127\.0\.0\.2/);
});

t.test('esp-tunnel: two processes that share only a secret', async (t) => {
  writeFileSync(join(folder, 'secret'), 'only a test: never do this\n');
  const ports = ['--port', '14793', '--esp-port', '14893', '--secret-file', 'secret'];
  const addresses = ['127.0.0.1', '127.0.0.2'];
  const ends = await Promise.all(
    addresses.map((local, i) =>
      run('esp-tunnel', '--local', local, '--remote', addresses[1 - i], '--count', '3', ...ports),
    ),
  );
  for (const [i, { code, stdout, stderr }] of ends.entries()) {
    t.equal(code, 0, stdout + stderr);
    t.equal(stdout.match(new RegExp(`ping 10.0.0.${2 - i}: [\\d.]+ ms`, 'g'))?.length, 3);
    t.notMatch(stdout, /bad-icv|unknown-spi|replayed|forged|clear-text/);
  }
  t.equal((await run('esp-tunnel', '--local', '127.0.0.1')).code, 2, 'what is missing is said');
});

t.test('tap-overlay, told to end while it says that it is ready', async (t) => {
  const no = noNamespaces() ?? noNative() ?? (existsSync('/dev/net/tun') ? null : 'there is no /dev/net/tun');
  if (no !== null) return skip(t, no);
  const spaces = new Namespaces(t);
  spaces.add('host');
  const hasty = `const { log } = console;
    console.log = (...texts) => {
      log(...texts);
      if (/^ready/.test(texts[0])) process.kill(process.pid, "SIGTERM");
    };`;
  const preload = `data:text/javascript,${encodeURIComponent(hasty)}`;
  const example = join(root, 'dist/examples/tap-overlay.js');
  const ends = '--local 127.0.0.1 --remote 127.0.0.2';
  // Without what the test runner loads into every process: it waits for signals itself.
  const line = `env -u NODE_OPTIONS ${process.execPath} --import '${preload}' ${example} ${ends}`;
  const { ok, text } = await spaces.attempt('host', line);
  t.match({ ok, text }, { ok: true, text: /^ready: tap0/ }, 'it ends in order');
});

t.test('switch', async (t) => {
  const { code, stdout, stderr } = await run('switch');
  t.equal(code, 0, stderr);
  t.match(stdout, /10\.0\.0\.2 -> 10\.0\.0\.4: [\d.]+ ms/);
});

t.test('switch over files', async (t) => {
  const frame = (dst: number, src: number): Uint8Array => {
    const bytes = new Uint8Array(60);
    bytes.set([2, 0, 0, 0, 0, dst], 0);
    bytes.set([2, 0, 0, 0, 0, src], 6);
    bytes.set([0x88, 0xb5], 12);
    return bytes;
  };
  writeFileSync(join(folder, 'a.pcap'), pcap([frame(9, 1), frame(9, 1)]));
  writeFileSync(join(folder, 'b.pcap'), pcap([frame(1, 2)]));
  const { code, stdout, stderr } = await run('switch', 'a.pcap', 'b.pcap');
  t.equal(code, 0, stderr);
  t.match(stdout, /02:00:00:00:00:01/);
  const count = (name: string) => readCapture(readFileSync(join(folder, name))).packets.length;
  t.equal(count('a.out.pcapng'), 1, 'what is for the station behind a');
  t.equal(count('b.out.pcapng'), 2, 'what is for nobody known');
});

t.test('replay, and sniff of what was replayed', async (t) => {
  const replayed = await run('replay', 'underlay.pcapng', '--out', 'replayed.pcapng');
  t.equal(replayed.code, 0, replayed.stdout + replayed.stderr);
  const packets = (name: string) =>
    readCapture(readFileSync(join(folder, name))).packets.map(({ bytes }) =>
      Buffer.from(bytes).toString('base64'),
    );
  t.same(packets('replayed.pcapng').sort(), packets('underlay.pcapng').sort(), 'the same frames came out');

  const all = await run('sniff', 'replayed.pcapng', '--vni', '200', '--vxlan', '14790');
  t.equal(all.code, 0, all.stderr);
  t.match(all.stdout, /vni 200/);
  t.notMatch(all.stdout, /vni 100/);
  const few = await run(
    'sniff',
    'replayed.pcapng',
    '--address',
    'fd00::3',
    '--vxlan',
    '14790',
    '--count',
    '2',
  );
  t.equal(few.stdout.split('\n').filter(Boolean).length, 2);
  t.match(few.stdout, /fd00::3/);
  const none = await run('sniff', 'nothing-of-that-name');
  t.not(none.code, 0);
});

/** A pcap file of Ethernet frames. */
function pcap(frames: readonly Uint8Array[]): Uint8Array {
  const out: Uint8Array[] = [
    Uint8Array.of(0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 1, 0, 0, 0),
  ];
  for (const frame of frames) {
    const head = new DataView(new ArrayBuffer(16));
    head.setUint32(8, frame.length, true);
    head.setUint32(12, frame.length, true);
    out.push(new Uint8Array(head.buffer), frame);
  }
  return Buffer.concat(out);
}
