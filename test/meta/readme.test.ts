/** What the documents say can be typed can be typed: snippets run as printed, commands and files exist. */
import { execFile } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import t from 'tap';
import ts from 'typescript';
import { fromHex } from '../../codecs/bytes.ts';
import { noNamespaces, skip } from '../gen/skip.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const read = (path: string) => readFileSync(join(ROOT, path), 'utf8');
const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> };
const DOCUMENTS = ['README.md', 'ARCHITECTURE.md', 'SECURITY.md', 'CHANGELOG.md'];
const documents = DOCUMENTS.map((name) => ({ name, text: read(name) }));
const readme = documents[0].text;

/** Folders of the repository that documents speak of. */
const FOLDERS = /^(?:codecs|crypto|lib|examples|bench|test|\.ci)\//;

// Within the project, so that `packetweave` is found by its name.
mkdirSync(join(ROOT, '.tap'), { recursive: true });
const folder = mkdtempSync(join(ROOT, '.tap/readme-'));
t.teardown(() => rmSync(folder, { recursive: true, force: true }));

/** The blocks of code that are marked as complete programs, by name. */
function snippets(): Map<string, string> {
  const blocks = readme.matchAll(/<!-- snippet: ([\w-]+) -->\n```ts\n([\s\S]*?)```/g);
  return new Map([...blocks].map(([, name, code]) => [name, code]));
}

/** Checks the types of snippets as a user's compiler would, writes them as programs, and says what is wrong. */
function compile(all: ReadonlyMap<string, string>): string[] {
  const paths = [...all].map(([name, code]) => {
    const path = join(folder, `${name}.mts`);
    writeFileSync(path, code);
    return path;
  });
  const options: ts.CompilerOptions = {
    target: ts.ScriptTarget.ES2023,
    module: ts.ModuleKind.NodeNext,
    types: ['node'],
    typeRoots: [join(ROOT, 'node_modules/@types')],
    strict: true,
    skipLibCheck: true,
  };
  const program = ts.createProgram(paths, options);
  const wrong = ts.getPreEmitDiagnostics(program).map(({ file, messageText }) => {
    return `${basename(file?.fileName ?? '')}: ${ts.flattenDiagnosticMessageText(messageText, '\n')}`;
  });
  program.emit();
  return wrong;
}

async function run(name: string, ...args: string[]): Promise<string> {
  const { stdout } = await promisify(execFile)(process.execPath, [join(folder, `${name}.mjs`), ...args], {
    cwd: folder,
    timeout: 60_000,
    env: { ...process.env, NODE_OPTIONS: '' },
  });
  return stdout;
}

/** Runs a snippet in a network namespace of its own. */
async function runApart(name: string): Promise<string> {
  const command = 'ip link set lo up && exec "$0" "$1"';
  const args = ['-n', 'sh', '-c', command, process.execPath, join(folder, `${name}.mjs`)];
  const env = { ...process.env, NODE_OPTIONS: '' };
  return (await promisify(execFile)('unshare', args, { cwd: folder, timeout: 60_000, env })).stdout;
}

t.test('the snippets of the README', async (t) => {
  if (!existsSync(join(ROOT, 'dist/lib/index.js'))) {
    skip(t, 'the package is not built: npm run build');
    return;
  }
  const all = snippets();
  t.same([...all.keys()], ['overlay', 'capture', 'worker']);
  const lines = [...all.values()].map((code) => code.trim().split('\n').length);
  t.same(
    lines.filter((n) => n > 12),
    [],
    'about ten lines each',
  );
  t.same(compile(all), []);

  // It gives up after a second, in which a machine may be busy with something else.
  const answered = /^10\.0\.0\.3 answered in [\d.]+ ms\n$/;
  let said = await run('overlay');
  for (let i = 0; i < 4 && !answered.test(said); i++) said = await run('overlay');
  t.match(said, answered);

  // One UDP datagram from 192.0.2.1 to 192.0.2.2.
  const header = 'd4c3b2a1 0200 0400 00000000 00000000 ffff0000 01000000 00000000 00000000 2a000000 2a000000';
  const frame =
    '020000000002 020000000001 0800 4500001c00000000401136cf c0000201 c0000202 03e8 07d0 0008 0000';
  writeFileSync(join(folder, 'one.pcap'), fromHex(`${header} ${frame}`));
  t.match(await run('capture', 'one.pcap'), /192\.0\.2\.1\.1000 > 192\.0\.2\.2\.2000: UDP, length 0\n$/);

  const reason = noNamespaces() ?? (existsSync('/dev/net/tun') ? null : 'there is no /dev/net/tun');
  if (reason !== null) skip(t, reason);
  else t.match(await runApart('worker'), /^a TAP device with an MTU of 1450 /m);
});

t.test('what other code in the README imports is there', async (t) => {
  const wrong: string[] = [];
  const exported = JSON.parse(read('package.json')).exports as Record<string, { source: string } | string>;
  for (const [, names, from] of readme.matchAll(/^import (.+) from '(packetweave[^']*)';$/gm)) {
    const [key, part] = /^packetweave\/(codecs|crypto|io)\/(.+)$/.exec(from)?.slice(1) ?? [];
    const target = exported[key === undefined ? '.' : `./${key}/*`];
    const path = typeof target === 'string' ? target : target.source.replace('*', part);
    const module = await import(join(ROOT, path)).catch(() => ({}));
    for (const name of names.match(/\{(.*)\}/)?.[1].split(',') ?? []) {
      if (!name.trim().startsWith('type ') && !(name.trim() in module)) wrong.push(`${name} of ${from}`);
    }
    if (Object.keys(module).length === 0) wrong.push(from);
  }
  t.same(wrong, []);
});

t.test('commands are scripts of the package and programs that exist', async (t) => {
  const wrong: string[] = [];
  const examples = readdirSync(join(ROOT, 'examples')).filter((name) => name.endsWith('.ts'));
  const heads = examples.map((name) => ({
    name: `examples/${name}`,
    text: /^(?:#!.*\n)?\/\*\*[\s\S]*?\*\//.exec(read(`examples/${name}`))?.[0] ?? '',
  }));
  t.same(
    heads.filter(({ text }) => !/npm start|node dist\/examples\//.test(text)).map(({ name }) => name),
    [],
    'each example says how it is run',
  );
  const own = Object.entries(scripts).map(([name, text]) => ({ name: `script ${name}`, text }));
  for (const { name, text } of [...documents, ...heads, ...own]) {
    for (const [command, script] of text.matchAll(/\bnpm (?:run (?:--silent )?)?([a-z]+)/g)) {
      if (script !== 'ci' && script !== 'install' && scripts[script] === undefined)
        wrong.push(`${name}: ${command}`);
    }
    for (const [, folder, program] of text.matchAll(/((?:[\w-]+\/)*)\bdist\/([\w/-]+)\.js/g)) {
      if (!existsSync(join(ROOT, folder, `${program}.ts`))) wrong.push(`${name}: ${program}`);
    }
  }
  t.same(wrong, []);
});

t.test('files that documents name exist', async (t) => {
  const wrong: string[] = [];
  for (const { name, text } of documents) {
    const links = [...text.matchAll(/\]\((?!https?:|#)([^)]+)\)/g)].map(([, path]) => path);
    const named = [...text.matchAll(/`([^`\s]+)`/g)].map(([, path]) => path);
    for (const path of [...links, ...named.filter((path) => FOLDERS.test(path) && !/[*{]/.test(path))]) {
      if (!existsSync(join(ROOT, path))) wrong.push(`${name}: ${path}`);
    }
  }
  t.same(wrong, []);
});
