/** What the package says it has is there, and loads. */
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { skip } from '../gen/skip.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
type Targets = Record<'source' | 'types' | 'default', string>;
const { exports, files } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
  exports: Record<string, Targets | string>;
  files: string[];
};

/** Every module that can be imported, with the files that stand for it. */
const modules = Object.entries(exports).flatMap(([name, targets]) => {
  if (typeof targets === 'string') return [];
  if (!name.includes('*')) return [{ name, targets }];
  const [folder, end] = targets.source.split('*');
  const parts = readdirSync(join(ROOT, folder))
    .filter((file) => file.endsWith(end) && !file.endsWith('.d.ts'))
    .map((file) => file.slice(0, -end.length));
  return parts.map((part) => ({
    name: name.replace('*', part),
    targets: Object.fromEntries(
      Object.entries(targets).map(([condition, path]) => [condition, path.replace('*', part)]),
    ) as Targets,
  }));
});

t.test('what is exported is published, as source and built', async (t) => {
  const published = (path: string) => files.some((folder) => path.startsWith(`./${folder}/`));
  const wrong = modules.flatMap(({ name, targets }) =>
    Object.values(targets)
      .filter((path) => !published(path))
      .map((path) => `${name}: ${path}`),
  );
  t.same(wrong, []);
  t.ok(modules.length > 10, `${modules.length} modules`);
  const built = modules.filter(
    ({ targets }) =>
      targets.default !== targets.source.replace(/^\.\//, './dist/').replace(/\.ts$/, '.js') ||
      targets.types !== targets.default.replace(/\.js$/, '.d.ts'),
  );
  t.same(built, [], 'each is built to the place where it is looked for');
});

t.test('every module loads from its source, alone', async (t) => {
  const empty: string[] = [];
  for (const { name, targets } of modules) {
    const exported = await import(join(ROOT, targets.source));
    // A module of types alone is empty.
    const types = /^export (interface|type) /m.test(readFileSync(join(ROOT, targets.source), 'utf8'));
    if (Object.keys(exported).length === 0 && !types) empty.push(name);
  }
  t.same(empty, []);
});

t.test('codecs use nothing that only Node has', async (t) => {
  const wrong = modules.filter(({ name, targets }) => {
    if (!name.startsWith('./codecs/')) return false;
    const text = readFileSync(join(ROOT, targets.source), 'utf8').replace(/\/\*[\s\S]*?\*\//g, '');
    return /\b(process|Buffer|require|setImmediate)[.(]/.test(text);
  });
  t.same(wrong, []);
});

t.test('the built package loads by its name', async (t) => {
  const main = join(ROOT, 'dist/lib/index.js');
  if (!existsSync(main) || statSync(main).mtimeMs < statSync(join(ROOT, 'lib/index.ts')).mtimeMs) {
    skip(t, 'the package is not built: npm run build');
    return;
  }
  const program = `
    import * as all from 'packetweave';
    import * as udp from 'packetweave/codecs/udp';
    console.log(JSON.stringify([Object.keys(all), udp.SIZE]));
  `;
  const said = execFileSync(process.execPath, ['--input-type=module', '-e', program], {
    cwd: ROOT,
    encoding: 'utf8',
    env: { ...process.env, NODE_OPTIONS: '' },
  });
  const [names, size] = JSON.parse(said) as [string[], number];
  t.equal(size, 8);
  const wanted = Object.keys(await import('../../lib/index.ts'));
  t.same(names.sort(), wanted.sort());
});
