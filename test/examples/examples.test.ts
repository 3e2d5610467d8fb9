/** The examples as a user runs them: what was built, as programs of their own. */
import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { readCapture } from '../../codecs/capture-reader.ts';

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
      { cwd: folder, timeout: 60_000 },
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
  const { code, stdout, stderr } = await run('two-hosts', '--port', '14790', '--capture', 'underlay.pcapng');
  t.equal(code, 0, stderr);
  t.notMatch(stdout, /FAIL/);
  t.match(stdout, /burst: 10000 of 10000 datagrams arrived/);
  const { packets, error } = readCapture(readFileSync(join(folder, 'underlay.pcapng')));
  t.equal(error, null);
  t.ok(packets.length > 10_000);
});

t.test('two-hosts tells what to do about a busy port', async (t) => {
  const { createSocket } = await import('node:dgram');
  const socket = createSocket('udp4');
  await new Promise<void>((resolve) => socket.bind(14791, '127.0.0.2', resolve));
  t.teardown(() => socket.close());
  const { code, stdout } = await run('two-hosts', '--port', '14791', '--capture', 'busy.pcapng');
  t.equal(code, 1);
  t.match(stdout, /FAIL.*127\.0\.0\.2.*14791/);
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
  if (!existsSync(join(folder, 'underlay.pcapng'))) await run('two-hosts', '--port', '14790');
  const replayed = await run('replay', 'underlay.pcapng', '--port', '14792', '--out', 'replayed.pcapng');
  t.equal(replayed.code, 0, replayed.stdout + replayed.stderr);
  const packets = (name: string) =>
    readCapture(readFileSync(join(folder, name))).packets.map(({ bytes }) =>
      Buffer.from(bytes).toString('base64'),
    );
  t.same(packets('replayed.pcapng').sort(), packets('underlay.pcapng').sort(), 'the same frames came out');

  const all = await run('sniff', 'replayed.pcapng', '--vni', '200');
  t.equal(all.code, 0, all.stderr);
  t.match(all.stdout, /vni 200/);
  t.notMatch(all.stdout, /vni 100/);
  const few = await run('sniff', 'replayed.pcapng', '--address', 'fd00::3', '--port', '4789', '--count', '2');
  t.ok(few.stdout.split('\n').filter(Boolean).length <= 2);
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
