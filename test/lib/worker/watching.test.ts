/** An overlay in a worker that is watched: captures and drops across threads, without any privilege. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { fromHex } from '../../../codecs/bytes.ts';
import { readCapture } from '../../../codecs/capture-reader.ts';
import type { DropSeen } from '../../../lib/overlay.ts';
import { OverlayWorker, type WorkerConfig } from '../../../lib/worker.ts';

const PORT = 22000 + (process.pid % 2000);
const FRAMES = 500;
/** UDP from 10.0.0.2 to 10.0.0.3. */
const FRAME =
  `020000000003020000000002` + '0800' + '4500001c00000000401166cb0a0000020a00000303e807d000080000';

/** A file with so many frames. */
function file(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'watching-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const path = join(folder, 'in.pcap');
  const header = `d4c3b2a1${'02000400'}${'00000000'.repeat(2)}ffff000001000000`;
  const record = `${'00000000'.repeat(2)}${'2a000000'.repeat(2)}${FRAME}`;
  writeFileSync(path, fromHex(header + record.repeat(FRAMES)));
  return path;
}

/** A host that sends the file's frames to another, which is not there. */
function host(path: string, ...more: object[]): WorkerConfig {
  const reader = { kind: 'pcap-reader', path, id: 'the reader', name: 'reader', repeat: 20 };
  return {
    local: { address: '127.0.0.1', port: PORT },
    networks: [{ vni: 42, remotes: ['127.0.0.2'], ports: [{ port: reader, ...more[0] }] }],
  } as WorkerConfig;
}

async function start(t: Test, config: WorkerConfig): Promise<OverlayWorker> {
  const node = await OverlayWorker.start(config);
  t.teardown(() => node.stop());
  return node;
}

t.test('captures', async (t) => {
  const node = await start(t, { local: { address: '127.0.0.1', port: PORT }, networks: [{ vni: 42 }] });
  await t.rejects(
    node.capture({ what: { network: 43 } }, () => {}),
    /^no network has the VNI 43$/,
  );
  await t.rejects(
    node.capture({ what: { port: 'the reader' } }, () => {}),
    /^no port is called "the reader"$/,
  );
  const parts: Uint8Array[] = [];
  const all = await node.capture({ what: { network: 42 } }, (bytes) => void parts.push(bytes));
  const outside: Uint8Array[] = [];
  const few = await node.capture({ what: 'underlay', limit: { packets: 7 } }, async (bytes) => {
    await new Promise((resolve) => setImmediate(resolve));
    outside.push(bytes);
  });
  const broken = await node.capture({ what: { network: 42 } }, () => {
    throw new Error('no more');
  });
  await node.apply(host(file(t)));
  const named = await node.capture({ what: { port: 'the reader' } }, () => {});
  t.match(await few.ended, { why: 'limit', packets: 7, dropped: 0, error: null });
  t.match(await broken.ended, { why: 'failed', error: 'no more' });
  while (node.counters()['42.reader']['rx.packets'] < 20 * FRAMES) {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  t.match(await node.ports(), [{ name: 'underlay' }, { name: 'the reader', rxPackets: 20 * FRAMES }]);
  const counts = await all.stop();
  t.match(counts, { why: 'stopped', packets: 20 * FRAMES, dropped: 0 });
  const bytes = Buffer.concat(parts);
  t.equal(bytes.length, counts.bytes);
  const { packets, interfaces, error } = readCapture(bytes);
  t.equal(error, null);
  t.same([packets.length, interfaces.map(({ name }) => name)], [20 * FRAMES, ['the reader']]);
  t.equal(Buffer.from(packets[0].bytes).toString('hex'), FRAME);
  await new Promise((resolve) => setImmediate(resolve));
  t.equal(readCapture(Buffer.concat(outside)).packets.length, 7);
  await node.stop();
  t.match(await named.ended, { why: 'closed' });
  t.match(await named.stop(), { why: 'closed' }, 'nobody is kept waiting by a thread that is gone');
  await t.rejects(
    node.capture({ what: 'underlay' }, () => {}),
    { message: 'the overlay was stopped' },
  );
});

t.test('drops', async (t) => {
  const node = await start(t, { local: { address: '127.0.0.1', port: PORT }, networks: [{ vni: 42 }] });
  const drops: DropSeen[] = [];
  let leftOut = 0;
  let all: () => void = () => {};
  const seen = new Promise<void>((resolve) => {
    all = resolve;
  });
  const trace = await node.trace(
    (some, more) => {
      drops.push(...some);
      leftOut += more;
      if (drops.length + leftOut === 20 * FRAMES) all();
    },
    { limit: 10 },
  );
  const before = Date.now();
  await node.apply(host(file(t), { mac: '02:00:00:00:00:99' }));
  await seen;
  t.match(drops[0], {
    where: '42.guard',
    reason: 'spoofed-mac',
    frame: 'IP 10.0.0.2.1000 > 10.0.0.3.2000: UDP, length 0',
  });
  t.ok(drops.length >= 10 && drops.length < 1000, `${drops.length} told`);
  t.ok(drops.every(({ at }) => at > before - 10_000 && at < Date.now() + 10_000));
  await trace.stop();
  await trace.stop();
  await t.rejects(
    node.trace(() => {}, { limit: 0.5 }),
    /^"limit" expected an integer 1\.\.10000, got 0\.5$/,
  );
});
