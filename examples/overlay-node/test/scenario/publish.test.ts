/** Published ports of every kind: on the overlay all of them, on the host's addresses TCP and UDP. */
import { join } from 'node:path';
import t from 'tap';
import { skip } from '../../../../test/gen/skip.ts';
import { type Host, Hosts, LIMIT, noScenarios, until } from './hosts.ts';

/** Answers every line or datagram with a text. */
const ECHO = `
const answer = 'it is ';
const net = require('net'), dgram = require('dgram');
for (const port of [53, 7000, 7001, 7009]) {
  net.createServer((s) => s.on('error', () => {}).end(answer + 'tcp ' + port + '\\n')).listen(port, '::');
  const u = dgram.createSocket('udp6').bind(port);
  u.on('message', (_, { port: to, address }) => u.send(answer + 'udp ' + port + '\\n', to, address));
}
setTimeout(() => {}, 1e9);`;

/** Where distributions put scapy. */
const PYTHON = '/usr/bin/python3';

/** An SCTP INIT (RFC 9260 section 3.3.2) from one port to another. */
const SCTP = (to: string, src: number, dst: number) => `
from scapy.all import IP, SCTP, SCTPChunkInit, send, conf
conf.verb = 0
send(IP(dst="${to}")/SCTP(sport=${src}, dport=${dst})/SCTPChunkInit(init_tag=7, a_rwnd=65536, n_out_streams=1, n_in_streams=1, init_tsn=1))`;

/** Shell commands that ask for the text; they end with the answer, and say nothing where there is none. */
const TCP = (...to: readonly string[]) => `echo hi | timeout 30 ncat -w 10 ${to.join(' ')} || true`;
const UDP = (...to: readonly string[]) =>
  `timeout 5 ncat -u ${to.join(' ')} --sh-exec 'echo hi; head -n 1 >&2' 2>&1 || true`;

const ask = (host: Host, command: string) => host.exec('sh', '-c', command).then(({ stdout }) => stdout);

t.test('published ports', { timeout: LIMIT }, async (t) => {
  const no = noScenarios('ncat', 'tshark', 'tcpdump');
  if (no !== null) return skip(t, no);
  const hosts = new Hosts(t, 2);
  const [one, two] = hosts.all;
  await hosts.cluster();
  await one.cli('network', 'create', '--attachable', '--ipv6', '--subnet', 'fd00:77::/64', 'demo');
  const ports = ['8053:53/tcp', '8053:53/udp', '9000-9009:7000-7009', '7777:77/sctp', '127.0.0.1:8100:53'];
  const publish = ports.flatMap((port) => ['-p', port]);
  const run = ['run', '-d', '--network', 'demo', '--name'];
  await one.cli(...run, 'server', ...publish, '--', process.execPath, '-e', ECHO);
  await two.cli(...run, 'client', '--', 'sleep', '600');
  const inside = (command: string) => two.cli('exec', 'client', 'sh', '-c', command);
  t.ok(await until(async () => (await inside(TCP('server', '53'))) !== ''), 'it serves');

  t.test('on the overlay', async (t) => {
    for (const family of ['-4', '-6']) {
      t.equal(await inside(TCP(family, 'server', '8053')), 'it is tcp 53\n', `tcp ${family}`);
      // A datagram may be lost on a busy machine.
      const answered = async () => (await inside(UDP(family, 'server', '8053'))) === 'it is udp 53\n';
      t.ok(await until(answered), `udp ${family}`);
      t.equal(await inside(TCP(family, 'server', '9001')), 'it is tcp 7001\n', `of a range ${family}`);
      t.equal(await inside(TCP(family, 'server', '7001')), 'it is tcp 7001\n', `its own port ${family}`);
    }
    t.equal(await inside(TCP('server', '9009')), 'it is tcp 7009\n', 'the last one');
    t.equal(await inside(TCP('server', '8054')), '', 'no other');
  });

  t.test('on the addresses of the host', async (t) => {
    for (const from of [one, two]) {
      t.equal(await ask(from, TCP(one.address, '8053')), 'it is tcp 53\n', `tcp from ${from.name}`);
      const answered = async () => (await ask(from, UDP(one.address, '8053'))) === 'it is udp 53\n';
      t.ok(await until(answered), `udp from ${from.name}`);
      t.equal(await ask(from, TCP(one.address, '9001')), 'it is tcp 7001\n', `of a range from ${from.name}`);
    }
    t.equal(await ask(one, TCP('127.0.0.1', '8100')), 'it is tcp 53\n', 'one address of the host');
    t.equal(await ask(two, TCP(one.address, '8100')), '', 'and no other');
    t.equal(await ask(two, TCP(two.address, '8053')), '', 'other hosts have it not');
  });

  t.test('SCTP on the overlay, as packets', async (t) => {
    const dump = join(one.folder, 'sctp.pcap');
    const [container] = JSON.parse(await one.cli('ps', '--json'));
    const tcpdump = one.startCli(
      'exec',
      'server',
      'tcpdump',
      '-i',
      'eth0',
      '-U',
      '--immediate-mode',
      '-w',
      dump,
      'sctp',
    );
    t.teardown(() => tcpdump.kill('SIGKILL'));
    await new Promise((resolve) => tcpdump.stderr?.once('data', resolve));
    const to = container.endpoints[0].addresses[0].split('/')[0];
    for (const [i, port] of [7777, 77].entries())
      await two.cli('exec', 'client', PYTHON, '-c', SCTP(to, 5000 + i, port));
    const fields = ['-T', 'fields', '-e', 'sctp.dstport', '-e', 'sctp.checksum.status'];
    const seen = async () =>
      (
        await one.exec(
          'tshark',
          '-r',
          dump,
          '-o',
          'sctp.checksum:CRC 32c',
          '-Y',
          'sctp.srcport < 5002',
          ...fields,
        )
      ).stdout;
    t.ok(await until(async () => (await seen()).split('\n').length > 2));
    t.equal(await seen(), '77\t1\n77\t1\n', 'port 77, with a right CRC32c');
  });

  t.test('what is taken, and what is free again', async (t) => {
    const again = ['--', 'true'];
    const both = ['run', '--network', 'demo', '-p', '8053:1/udp'];
    t.match(await one.attempt(...both, ...again), {
      code: 125,
      stderr: /0\.0\.0\.0:8053 failed: port is already/,
    });
    t.match(await one.attempt('run', '--network', 'demo', '-p', '9005:1', ...again), { code: 125 });
    t.match(await two.attempt(...both, ...again), { code: 0 }, 'another host');
    t.match(await one.attempt('run', '--network', 'demo', '-p', '99999:1', ...again), {
      code: 125,
      stderr: /invalid hostPort/,
    });
    await one.cli('rm', '-f', 'server');
    t.match(await one.attempt(...both, ...again), { code: 0 });
  });
});
