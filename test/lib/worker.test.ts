/** An overlay in a worker, without any privilege: captures as ports, UDP on the loopback interface as underlay. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { fromHex } from '../../codecs/bytes.ts';
import { CaptureReader } from '../../codecs/capture-reader.ts';
import { PortError } from '../../lib/io/port.ts';
import { KeyDirectory } from '../../lib/overlay.ts';
import { OverlayWorker, type OverlayWorkerOptions, type WorkerConfig } from '../../lib/worker.ts';

const FRAMES = 100;
/** UDP from 10.0.0.2 to 10.0.0.3. */
const FRAME =
  '020000000003 020000000002 0800 4500001c00000000401166cb 0a000002 0a000003 03e8 07d0 0008 0000'.replaceAll(
    ' ',
    '',
  );

/** A folder with a capture of so many frames in it. */
function folder(t: Test): string {
  const path = mkdtempSync(join(tmpdir(), 'worker-'));
  t.teardown(() => rmSync(path, { recursive: true, force: true }));
  const header = 'd4c3b2a1 0200 0400 00000000 00000000 ffff0000 01000000'.replaceAll(' ', '');
  const record = `${'00000000'.repeat(2)}${'2a000000'.repeat(2)}${FRAME}`;
  writeFileSync(join(path, 'in.pcap'), fromHex(header + record.repeat(FRAMES)));
  return path;
}

/** How many frames are in a capture. */
function frames(path: string): number {
  const reader = new CaptureReader(readFileSync(path));
  let n = 0;
  while (reader.next()) n++;
  return n;
}

async function until(condition: () => boolean | Promise<boolean>): Promise<boolean> {
  for (let i = 0; i < 500; i++) {
    if (await condition()) return true;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  return false;
}

/** Names of the descriptors that this process has open, without those of the listing itself. */
function descriptors(): number {
  return readdirSync('/proc/self/fd').length;
}

function threads(): number {
  return readdirSync('/proc/self/task').length;
}

const PORT = 24000 + (process.pid % 4000) * 2;

/** A socket that sends datagrams one by one: what a capture can hold. */
const socket = (n: number, port: number) => ({
  kind: 'udp-native',
  address: `127.0.0.${n}`,
  port,
  mtu: 1472,
  segmentation: false,
});

/** One of two hosts, 127.0.0.1 and 127.0.0.2, on the same ports. */
function host(n: 1 | 2, ports: readonly object[], esp?: object): WorkerConfig {
  const secret = 'a secret that is long enough';
  return {
    local: {
      address: `127.0.0.${n}`,
      port: PORT,
      underlay: socket(n, PORT),
      ...(esp && { esp: { secret, port: PORT + 1, underlay: socket(n, PORT + 1), ...esp } }),
    },
    networks: [
      {
        vni: 42,
        remotes: [`127.0.0.${3 - n}`],
        ports: ports.map((port) => ({ port })),
        encrypted: esp !== undefined,
      },
    ],
  } as WorkerConfig;
}

async function start(
  t: Test,
  config: WorkerConfig,
  options: OverlayWorkerOptions = {},
): Promise<OverlayWorker> {
  const node = await OverlayWorker.start(config, options);
  t.teardown(() => node.stop());
  return node;
}

t.test('frames go from worker to worker, apply changes the difference, stop leaves nothing', async (t) => {
  const path = folder(t);
  const before = { descriptors: descriptors(), threads: threads() };
  const writer = { kind: 'pcap-writer', path: join(path, 'out.pcap'), name: 'writer' };
  const reader = { kind: 'pcap-reader', path: join(path, 'in.pcap'), name: 'reader' };
  const b = await start(t, host(2, [writer]));
  const a = await start(t, host(1, []));
  t.equal(a.mtu(42), 1450);
  t.throws(() => a.mtu(43), { name: 'RangeError', message: 'no network has the VNI 43' });
  t.same(
    (await a.ports()).map(({ name, vni }) => [name, vni]),
    [['underlay', null]],
  );

  await a.apply(host(1, [reader]));
  t.ok(await until(() => b.counters()['42.writer']?.['tx.packets'] === FRAMES));
  t.equal(a.counters()['42.reader']['rx.packets'], FRAMES, 'a port that came later is in the directory');

  await a.apply(host(1, [{ ...reader }]));
  t.equal(a.counters()['42.reader']['rx.packets'], FRAMES, 'an equal description is the same port');
  const [, port] = await a.ports();
  t.match(port, { name: 'reader', vni: 42, rxPackets: FRAMES });
  await t.rejects(a.apply(host(1, [{ ...reader, repeat: 2 }])), {
    name: 'RangeError',
    message:
      '"networks[0].ports[0].port" describes "reader" otherwise than before: ' +
      'take the port out of the description first, or give it another "id" and name',
  });
  await a.apply(host(1, [{ ...reader, id: 'again', name: 'again' }]));
  t.ok(await until(() => b.counters()['42.writer']['tx.packets'] === 2 * FRAMES));
  t.equal(a.counters()['42.reader'], undefined, 'a port that went is in it no more');
  t.same(a.drops(), {});

  for (const node of [a, b]) await node.stop();
  await a.stop();
  t.equal(frames(writer.path), 2 * FRAMES, 'the capture is whole');
  t.ok(
    await until(() => descriptors() <= before.descriptors && threads() <= before.threads),
    `${descriptors()} descriptors and ${threads()} threads, before ${JSON.stringify(before)}`,
  );
  await t.rejects(a.ports(), { message: 'the overlay was stopped' });
  await t.rejects(a.apply(host(1, [])), { message: 'the overlay was stopped' });
});

t.test('stop carries what has arrived to its end', async (t) => {
  const path = folder(t);
  const writer = { kind: 'pcap-writer', path: join(path, 'out.pcap'), name: 'writer' };
  const reader = { kind: 'pcap-reader', path: join(path, 'in.pcap'), repeat: 5, name: 'reader' };
  const node = await start(t, {
    local: { address: '127.0.0.1', port: PORT },
    networks: [{ vni: 42, ports: [{ port: reader }, { port: writer }] }],
  } as WorkerConfig);
  await node.stop();
  t.equal(frames(writer.path), 5 * FRAMES, 'every frame of the one is in the other');
});

t.test('encrypted, with keys in band and by a channel of the main thread', async (t) => {
  for (const channel of [undefined, new KeyDirectory()]) {
    const path = folder(t);
    const keys: string[] = [];
    const esp = channel && {
      channel,
      onKeys: ({ from, to }: { from: string; to: string }) => keys.push(`${from} ${to}`),
    };
    const b = await start(
      t,
      host(2, [{ kind: 'pcap-writer', path: join(path, 'out.pcap'), name: 'writer' }], esp ?? {}),
    );
    const a = await start(t, host(1, [], esp ?? {}));
    const ready = async (node: OverlayWorker) => (await node.encryptedPeers()).every((peer) => peer.ready);
    t.ok(await until(async () => (await ready(a)) && (await ready(b))), 'they have keys');
    t.match(await a.encryptedPeers(), [{ address: '127.0.0.2', ready: true }]);
    await a.apply(host(1, [{ kind: 'pcap-reader', path: join(path, 'in.pcap') }], esp ?? {}));
    t.ok(await until(() => b.counters()['42.writer']?.['tx.packets'] === FRAMES), 'frames are carried');
    t.equal(keys.includes('127.0.0.1 127.0.0.2'), channel !== undefined, 'keys are told where wanted');
    for (const node of [a, b]) await node.stop();
  }
});

t.test('errors are those of an overlay on this thread', async (t) => {
  const before = descriptors();
  const wrong: [unknown, OverlayWorkerOptions, { name: string; message?: string | RegExp; code?: string }][] =
    [
      [
        { local: 'x', networks: [] },
        {},
        { name: 'TypeError', message: '"local.address" expected an IP address, got "x"' },
      ],
      [
        { local: '127.0.0.1', networks: 1 },
        {},
        { name: 'TypeError', message: '"networks" expected an array, got 1' },
      ],
      [undefined, {}, { name: 'TypeError' }],
      [
        host(1, [{ kind: 'tip', name: 'tip0' }]),
        {},
        {
          name: 'TypeError',
          message: /^"networks\[0\]\.ports\[0\]\.port\.kind" expected one of "tap", .*, got "tip"$/,
        },
      ],
      [
        host(1, [{ kind: 'toString' }]),
        {},
        { name: 'TypeError', message: /expected one of .*, got "toString"$/ },
      ],
      [
        host(1, [{ kind: 'tap', mtu: 7 }]),
        {},
        { name: 'RangeError', message: '"mtu" expected an integer 68..65521, got 7' },
      ],
      [
        host(1, [{ kind: 'tap', name: () => 'x' }]),
        {},
        { name: 'TypeError', message: /expected plain data/ },
      ],
      [
        host(1, [{ kind: 'pcap-reader', path: '/does/not/exist.pcap' }]),
        {},
        { name: 'PortError', code: 'NO_SUCH_FILE' },
      ],
      [
        host(1, []),
        { busyPoll: -1 },
        { name: 'RangeError', message: /^"busyPoll" expected an integer 0\.\.1000000/ },
      ],
      [host(1, []), { packets: 0 }, { name: 'RangeError', message: /^"packets" expected/ }],
      [host(1, []), { macs: -1 }, { name: 'RangeError' }],
    ];
  // Each of these is a thread: few of them.
  for (const [config, options, error] of [wrong[0], wrong[2], ...wrong.slice(-4)]) {
    await t.rejects(OverlayWorker.start(config as WorkerConfig, options), error);
  }
  const node = await start(t, host(1, []));
  for (const [config, options, error] of wrong) {
    if (Object.keys(options).length === 0) await t.rejects(node.apply(config as WorkerConfig), error);
  }
  const refused = await node
    .apply(host(1, [{ kind: 'pcap-reader', path: '/does/not/exist.pcap' }]))
    .catch((error: unknown) => error);
  t.ok(refused instanceof PortError, 'of the same class');
  await node.apply(host(1, []));
  await node.stop();
  t.ok(await until(() => descriptors() <= before), 'no descriptor is left');
});

t.test('a thread that dies hangs nobody', async (t) => {
  const before = descriptors();
  const errors: Error[] = [];
  const node = await start(t, host(1, []), {
    resourceLimits: { maxOldGenerationSizeMb: 64 },
    onError: (error) => errors.push(error),
  });
  // More networks than fit its heap.
  const networks = Array.from({ length: 60_000 }, (_, i) => ({ vni: i + 1, remotes: ['127.0.0.2'] }));
  const [applied, asked] = await Promise.allSettled([node.apply({ ...host(1, []), networks }), node.ports()]);
  t.equal(applied.status, 'rejected');
  t.equal(asked.status, 'rejected');
  t.match((applied as PromiseRejectedResult).reason, { code: 'ERR_WORKER_OUT_OF_MEMORY' });
  t.equal(errors.length, 1);
  await t.rejects(node.ports(), { code: 'ERR_WORKER_OUT_OF_MEMORY' });
  t.type(node.counters(), 'object');
  await node.stop();
  t.ok(await until(() => descriptors() <= before), 'what it had open is closed');
  const again = await start(t, host(1, []));
  await again.stop();
});

t.test('the log and the names of threads', async (t) => {
  const lines: string[] = [];
  const say = (level: string) => (line: string) => void lines.push(`${level}: ${line}`);
  const log = { debug: say('debug'), info: say('info'), warn: say('warn'), error: say('error') };
  const node = await start(t, host(1, [], {}), { log, name: 'overlay' });
  await node.stop();
  t.ok(
    lines.some((line) => /^info: ESP by /.test(line)),
    lines.join('\n'),
  );
});
