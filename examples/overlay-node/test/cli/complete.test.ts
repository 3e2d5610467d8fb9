/** Completion: from the tree of commands, from the daemon, and in a real bash. */
import { execFile, spawnSync } from 'node:child_process';
import { mkdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import t, { type Test } from 'tap';
import { has, skip } from '../../../../test/gen/skip.ts';
import { SCRIPTS } from '../../cli/completion.ts';
import { CONTAINER, NETWORK, NODES, PROGRAM, StandIn, type } from './stand-in.ts';

const start = (t: Test) =>
  StandIn.start(t, (server) => {
    server.get('/v1/networks', async () => [NETWORK, { ...NETWORK, name: 'dark' }]);
    server.get('/v1/containers', async () => [CONTAINER]);
    server.get('/v1/nodes', async () => NODES);
  });

/** What can come at the end of a line, the word that is typed included. */
const COMPLETIONS: readonly [string[], string[]][] = [
  [['net'], ['network']],
  [
    ['network', ''],
    ['create', 'ls', 'inspect', 'rm', 'connect', 'disconnect', 'help'],
  ],
  [
    ['network', 'rm', 'd'],
    ['demo', 'dark'],
  ],
  [['network', 'remove', 'demo', 'da'], ['dark']],
  [['network', 'create', '--sub'], ['--subnet']],
  [['network', 'connect', '--ip', '10.0.1.5', 'demo', ''], ['web']],
  [['network', 'connect', 'demo', 'web', ''], []],
  [['--host', 'unix:///nope', 'network', 'rm', ''], []],
  [
    ['node', 'rm', ''],
    ['alpha', 'beta'],
  ],
  [['token', ''], ['rotate']],
  [['run', '--network', 'de'], ['demo']],
  [['run', '--network=de'], ['demo']],
  [['run', '--network', '=', 'de'], ['demo']],
  [
    ['run', '--network', '='],
    ['demo', 'dark'],
  ],
  [['run', '--network', 'demo', ''], [':command']],
  [['run', '--network', 'demo', 'ls', '--network', ''], [':command']],
  [['run', '-w', ''], [':dir']],
  [['up', '--config', ''], [':file']],
  [['exec', 'w'], ['web']],
  [
    ['inspect', ''],
    ['web', 'demo', 'dark'],
  ],
  [['capture', 'u'], ['underlay']],
  [
    ['completion', ''],
    ['bash', 'zsh', 'fish'],
  ],
  [
    ['logs', '-'],
    ['--host', '--json', '--follow', '--help'],
  ],
  [['__comp'], []],
  [['nope', 'x', ''], []],
];

t.test('what can come', async (t) => {
  const daemon = await start(t);
  for (const [words, expected] of COMPLETIONS) {
    const { stdout, stderr } = await daemon.type('__complete', '--', ...words);
    const values = stdout
      .split('\n')
      .slice(0, -1)
      .map((line) => line.split('\t')[0]);
    t.strictSame([...values].sort(), [...expected].sort(), words.join(' '));
    t.equal(stderr, '');
  }
  const { stdout } = await daemon.type('__complete', '--', 'network', 'cr');
  t.equal(stdout, 'create\tCreate a network\n');
});

t.test('without a daemon, what the tree knows', async (t) => {
  const nobody = { PACKETWEAVE_SOCKET: '/nope' };
  t.same(await type(['__complete', '--', 'network', 'rm', ''], nobody), { code: 0, stdout: '', stderr: '' });
  t.match(await type(['__complete', '--', 'capture', ''], nobody), { stdout: 'underlay\t\n' });
});

t.test('bash', async (t) => {
  if (!has('bash')) return skip(t, 'bash is not installed');
  const daemon = await start(t);
  // A program by the name that is typed.
  const bin = join(daemon.folder, 'bin');
  mkdirSync(bin);
  symlinkSync(PROGRAM, join(bin, 'packetweave'));
  const env = { ...process.env, PATH: `${bin}:${process.env.PATH}`, PACKETWEAVE_SOCKET: daemon.socket };
  // What bash itself does when Tab is hit, several times after one source.
  const ask = (words: string) =>
    `COMP_WORDS=(${words}); COMP_CWORD=$((\${#COMP_WORDS[@]}-1)); _packetweave; echo "\${COMPREPLY[*]}"`;
  const lines = ['packetweave network rm de', 'packetweave run --network = da', 'packetweave exec ""'].map(
    ask,
  );
  const script = ['set -eu', 'source <(packetweave completion bash)', 'complete -p packetweave', ...lines];
  const { stdout, stderr } = await promisify(execFile)('bash', ['-c', script.join('\n')], { env });
  t.same(stdout.split('\n'), ['complete -F _packetweave packetweave', 'demo', 'dark', 'web', '']);
  t.equal(stderr, '');
  const file = ask('packetweave up --config /etc/host').replace('_packetweave;', '_packetweave 2>/dev/null;');
  const paths = `source <(packetweave completion bash); ${file}`;
  t.match((await promisify(execFile)('bash', ['-c', paths], { env })).stdout, /\/etc\/hosts/);
});

for (const shell of ['zsh', 'fish']) {
  t.test(`${shell} reads its script`, async (t) => {
    if (!has(shell)) {
      t.pass(`skipped: ${shell} is not installed`, { skip: true });
      return;
    }
    const { status, stderr } = spawnSync(shell, ['-n'], { input: SCRIPTS.get(shell)?.('packetweave') });
    t.same({ status, stderr: String(stderr) }, { status: 0, stderr: '' });
  });
}
