/** What others read in the files that are written here: tshark, capinfos, tcpdump; and what we read in theirs. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { INBOUND, OUTBOUND } from '../../codecs/capture.ts';
import { readCapture } from '../../codecs/capture-reader.ts';
import { CaptureWriter, type CaptureWriterOptions } from '../../codecs/capture-writer.ts';
import * as ethernet from '../../codecs/ethernet.ts';
import { parse } from '../../codecs/ip.ts';
import * as linktype from '../../codecs/linktype.ts';
import * as vxlan from '../../codecs/vxlan.ts';
import { MemoryUnderlay } from '../../lib/io/memory.ts';
import { Capture } from '../../lib/io/wrap/capture.ts';
import { testContext } from '../gen/context.ts';
import { has, skip } from '../gen/skip.ts';
import { FarPort } from '../lib/io/conformance.ts';

const folder = mkdtempSync(join(tmpdir(), 'packetweave-'));
t.teardown(() => rmSync(folder, { recursive: true }));
const path = (name: string) => join(folder, name);

/** Runs a program and returns what it prints; throws where it fails. */
function run(program: string, ...args: string[]): string {
  const { status, stdout, stderr } = spawnSync(program, args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${program} ${args.join(' ')}: ${stderr}`);
  return stdout;
}

/** One line of fields a packet, as tshark sees them with its checks of checksums on. */
function tshark(file: string, ...fields: string[]): string[][] {
  const list = fields.flatMap((field) => ['-e', field]);
  const checks = ['-o', 'udp.check_checksum:TRUE', '-o', 'ip.check_checksum:TRUE'];
  const lines = run('tshark', '-r', file, '-n', ...checks, '-T', 'fields', ...list).split('\n');
  return lines.filter((line) => line !== '').map((line) => line.split('\t'));
}

function frame(length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  ethernet.write(new DataView(bytes.buffer), 0, 0xffff, 0xffffffff, 0x0200, 1, 0x88b5);
  return bytes;
}

/** Two interfaces, four packets, everything that the format can say. */
function write(name: string, options: CaptureWriterOptions): string {
  const parts: Uint8Array[] = [];
  const section = {
    application: 'packetweave',
    os: 'an os',
    hardware: 'some hardware',
    comment: 'a section',
  };
  const writer = new CaptureWriter((bytes) => parts.push(bytes.slice()), {
    section,
    snaplen: 100,
    ...options,
  });
  const a = writer.interface({
    link: linktype.ETHERNET,
    name: 'first',
    description: 'the first',
    comment: 'i',
  });
  const classic = options.format === 'pcap';
  if (!classic) writer.secrets(0x544c534b, new TextEncoder().encode('CLIENT_RANDOM 00 11\n'));
  const b = classic ? a : writer.interface({ link: linktype.ETHERNET, name: 'second' });
  writer.frame(a, 1_700_000_000, 123_456_789, INBOUND, frame(60), 0, 60, 'hello, wörld');
  writer.frame(b, 1_700_000_001, 1, OUTBOUND, frame(61), 0, 61);
  writer.frame(a, 1_700_000_001, 999_999_999, 0, frame(1514), 0, 1514);
  writer.frame(b, 1_700_000_002, 0, 0, frame(62), 0, 62, 'bye');
  writer.flush();
  writeFileSync(path(name), Buffer.concat(parts));
  return path(name);
}

const TIMES = [
  '1700000000.123456789',
  '1700000001.000000001',
  '1700000001.999999999',
  '1700000002.000000000',
];

t.test('tshark reads what is written', async (t) => {
  if (!has('tshark')) return skip(t, 'tshark is not installed');
  for (const littleEndian of [true, false]) {
    const classic = write('classic.pcap', { format: 'pcap', littleEndian });
    t.same(
      tshark(classic, 'frame.time_epoch', 'frame.len', 'frame.cap_len', 'eth.type'),
      TIMES.map((time, i) => [time, [60, 61, 1514, 62][i], [60, 61, 100, 62][i], '0x88b5'].map(String)),
    );
    const file = write('full.pcapng', { littleEndian });
    const fields = ['frame.time_epoch', 'frame.len', 'frame.cap_len', 'frame.interface_name'];
    t.same(
      tshark(file, ...fields, 'frame.interface_description', 'frame.packet_flags_direction', 'frame.comment'),
      [
        [TIMES[0], '60', '60', 'first', 'the first', '0x00000001', 'hello, wörld'],
        [TIMES[1], '61', '61', 'second', '', '0x00000002', ''],
        [TIMES[2], '1514', '100', 'first', 'the first', '', ''],
        [TIMES[3], '62', '62', 'second', '', '', 'bye'],
      ],
    );
    const json = JSON.parse(run('tshark', '-r', file, '-T', 'json'));
    t.equal(json.length, 4);
  }
});

t.test('capinfos and editcap read what is written', async (t) => {
  if (!has('capinfos') || !has('editcap')) return skip(t, 'the tools of wireshark are not installed');
  const file = write('infos.pcapng', {});
  const infos = run('capinfos', file);
  t.match(infos, /File type: +Wireshark\/... - pcapng/);
  t.match(infos, /File timestamp precision: +nanoseconds \(9\)/);
  t.match(infos, /Number of packets: +4/);
  t.match(infos, /Capture oper-sys: +an os/);
  t.match(infos, /Capture application: +packetweave/);
  t.match(infos, /Capture hardware: +some hardware/);
  t.match(infos, /Capture comment: +a section/);
  t.match(infos, /Name = first.*Description = the first.*Name = second/s);

  // What editcap writes of it is read again here, in microseconds and in a format of its own.
  run('editcap', '-F', 'pcap', file, path('edited.pcap'));
  run('editcap', file, path('edited.pcapng'));
  const [was, classic, again] = [file, path('edited.pcap'), path('edited.pcapng')].map((name) =>
    readCapture(readFileSync(name)),
  );
  t.same(classic.error ?? again.error, null);
  t.same(
    classic.packets.map(({ bytes, seconds, original }) => [
      Buffer.from(bytes).toString('hex'),
      seconds,
      original,
    ]),
    was.packets.map(({ bytes, seconds, original }) => [
      Buffer.from(bytes).toString('hex'),
      seconds,
      original,
    ]),
  );
  t.same(again.packets, was.packets);
  t.same(again.secrets, was.secrets);
  t.same(
    again.interfaces.map(({ name, description, link }) => [name, description, link]),
    was.interfaces.map(({ name, description, link }) => [name, description, link]),
  );
});

t.test('tcpdump reads what is written, and writes what is read', async (t) => {
  if (!has('tcpdump')) return skip(t, 'tcpdump is not installed');
  for (const [name, format] of [
    ['d.pcap', 'pcap'],
    ['d.pcapng', 'pcapng'],
  ] as const) {
    for (const littleEndian of [true, false]) {
      const file = write(name, { format, littleEndian });
      const lines = run('tcpdump', '-r', file, '-tt', '-n', '--nano').trim().split('\n');
      t.same(
        lines.filter((line) => /^\d+\.\d+ /.test(line)).map((line) => line.split(' ')[0]),
        TIMES,
      );
      run('tcpdump', '-r', file, '-w', path('copy.pcap'));
      const { packets, error } = readCapture(readFileSync(path('copy.pcap')));
      t.equal(error, null);
      t.same(
        packets.map(({ seconds, nanoseconds, original, bytes }) => [
          seconds,
          nanoseconds,
          original,
          bytes.length,
        ]),
        [
          [1_700_000_000, 123_456_000, 60, 60],
          [1_700_000_001, 0, 61, 61],
          [1_700_000_001, 999_999_000, 1514, 100],
          [1_700_000_002, 0, 62, 62],
        ],
      );
    }
  }
});

t.test('a captured underlay is VXLAN to tshark and tcpdump, with right checksums', async (t) => {
  if (!has('tshark') || !has('tcpdump')) return skip(t, 'tshark or tcpdump is not installed');
  for (const [us, them, ip] of [
    ['192.0.2.1', '192.0.2.2', 'ip'],
    ['2001:db8::1', '2001:db8::2', 'ipv6'],
  ]) {
    const file = path(`underlay.${ip}.pcapng`);
    const context = testContext();
    const underlay = new MemoryUnderlay();
    const [inner, other] = [underlay.port(us), underlay.port(them)];
    inner.peers.set({ address: parse(them), port: vxlan.PORT });
    const peer = other.peers.set({ address: parse(us), port: vxlan.PORT });
    const here = new FarPort(
      new Capture(inner, { to: file, local: { address: us, port: vxlan.PORT } }),
      context,
    );
    const far = new FarPort(other, context, peer);
    await here.open();
    await far.open();
    for (const vni of [100, 0xffffff]) {
      const bytes = new Uint8Array(vxlan.SIZE + 61);
      vxlan.write(new DataView(bytes.buffer), 0, vni);
      bytes.set(frame(61), vxlan.SIZE);
      here.deliver([bytes]);
      far.deliver([bytes]);
      far.collect();
      here.collect();
    }
    await here.close();
    await far.close();
    t.equal(context.pool.used, 0);
    const sums = ip === 'ip' ? ['ip.checksum.status'] : [];
    const fields = [
      `${ip}.src`,
      `${ip}.dst`,
      'vxlan.vni',
      'frame.packet_flags_direction',
      'udp.checksum.status',
    ];
    const good = sums.map(() => '1');
    t.same(tshark(file, ...fields, ...sums), [
      [us, them, '100', '0x00000002', '1', ...good],
      [them, us, '100', '0x00000001', '1', ...good],
      [us, them, '16777215', '0x00000002', '1', ...good],
      [them, us, '16777215', '0x00000001', '1', ...good],
    ]);
    const text = run('tcpdump', '-r', file, '-nn');
    t.equal(text.match(/VXLAN, flags \[I\] \(0x08\), vni (100|16777215)/g)?.length, 4);
  }
});
