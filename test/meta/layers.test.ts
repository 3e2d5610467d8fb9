/**
 * Imports point one way: codecs, crypto, then lib's core, tables, elements beside io, overlay. Examples use the
 * package by its name. Nothing that runs in a browser imports a Node module, and elements never touch the
 * slow half of a codec.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

interface Import {
  /** Path from the root, or the name of a package. */
  readonly of: string;
  /** Erased when the program is built. */
  readonly type: boolean;
}

interface Source {
  /** Path from the root. */
  readonly path: string;
  readonly text: string;
  readonly imports: readonly Import[];
}

/** Where a file may import from: whole folders, single files, packages. */
interface Layer {
  readonly files: RegExp;
  readonly values: RegExp;
  /** What else it may import types from. */
  readonly types?: RegExp;
}

const CODECS = 'codecs/';
const CRYPTO = `${CODECS}|crypto/`;
const CORE = `${CRYPTO}|lib/core/`;
const TABLES = `${CORE}|lib/tables/`;
/** What ports are is known to whoever speaks with them; which there are is not. */
const PORT = 'lib/io/port\\.ts$';

const NODE = 'examples/overlay-node/';
const PACKAGES = '[^./]*:|(?!codecs/|crypto/|lib/|bench/|test/|examples/)[^/]';

/** The first layer whose `files` match is the file's. */
const LAYERS: readonly Layer[] = [
  { files: /^codecs\/layout\.ts$/, values: /^(codecs\/|buffer-layout$)/ },
  { files: /^codecs\//, values: /^codecs\// },
  { files: /^crypto\/providers\/node\.ts$/, values: new RegExp(`^(${CRYPTO}|node:)`) },
  {
    files: /^crypto\/providers\/(native\/library|openssl\/modes)\.ts$/,
    values: new RegExp(`^(${CRYPTO}|node:)`),
    types: /^koffi$/,
  },
  { files: /^crypto\//, values: new RegExp(`^(${CRYPTO}|@noble/)`) },
  { files: /^lib\/core\//, values: new RegExp(`^(${CORE})`), types: new RegExp(`^${PORT}`) },
  { files: /^lib\/tables\//, values: new RegExp(`^(${TABLES})`) },
  { files: /^lib\/elements\//, values: new RegExp(`^(${TABLES}|lib/elements/|${PORT})`) },
  { files: /^lib\/io\//, values: new RegExp(`^(${TABLES}|lib/io/|node:)`), types: /^(koffi|cap)$/ },
  { files: /^lib\//, values: new RegExp(`^(${TABLES}|lib/|node:)`) },
  // Its tests stand above everything.
  { files: /^examples\/overlay-node\/test\//, values: /./ },
  // Of the node, control knows nothing of this host, and what is on this host nothing of the daemon.
  { files: /^examples\/overlay-node\/control\//, values: new RegExp(`^(${NODE}control/|${PACKAGES})`) },
  {
    files: /^examples\/overlay-node\/(attach|dns|api)\//,
    values: new RegExp(`^(${NODE}(attach|dns|api|control)/|${PACKAGES})`),
  },
  // Other packages too, but of this one nothing by path.
  { files: /^examples\//, values: /^(examples\/|[^./]*:|(?!codecs\/|crypto\/|lib\/|bench\/|test\/)[^/])/ },
];

function files(folder: string): string[] {
  return readdirSync(join(ROOT, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = `${folder}/${entry.name}`;
    if (entry.isDirectory()) return ['node_modules', 'dist'].includes(entry.name) ? [] : files(path);
    return entry.name.endsWith('.ts') && !entry.name.endsWith('.d.ts') ? [path] : [];
  });
}

/** Static and dynamic imports, re-exports and `typeof import()`. */
const IMPORT =
  /(?:^|\n)\s*(import|export)\s+(type\s)?(?:[^'"`;]*?\sfrom\s+)?'([^']+)'|(typeof\s+)?\bimport\(\s*'([^']+)'/g;

function read(path: string): Source {
  const text = readFileSync(join(ROOT, path), 'utf8');
  const code = text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/^\s*\/\/.*$/gm, '');
  const imports = [...code.matchAll(IMPORT)].map(([, , type, from, typeOf, dynamic]) => {
    const name = from ?? dynamic;
    const of = name.startsWith('.') ? relative(ROOT, resolve(ROOT, dirname(path), name)) : name;
    return { of, type: type !== undefined || typeOf !== undefined };
  });
  return { path, text: code, imports };
}

const sources = ['codecs', 'crypto', 'lib', 'examples'].flatMap(files).map(read);

/** What a file imports and may not. */
function upward({ path, imports }: Source): string[] {
  const layer = LAYERS.find((layer) => layer.files.test(path));
  if (layer === undefined) return [`${path} belongs to no layer`];
  return imports
    .filter(({ of, type }) => !layer.values.test(of) && !(type && layer.types?.test(of)))
    .map(({ of }) => `${path} imports ${of}`);
}

t.test('the test sees an arrow that points up', async (t) => {
  const arrow = (path: string, of: string, type = false) =>
    upward({ path, text: '', imports: [{ of, type }] }).length === 1;
  t.ok(arrow('codecs/udp.ts', 'lib/core/packet.ts'));
  t.ok(arrow('codecs/udp.ts', 'node:buffer'));
  t.ok(arrow('crypto/sa.ts', 'node:crypto'));
  t.ok(arrow('lib/core/pool.ts', 'lib/tables/fdb.ts'));
  t.ok(arrow('lib/core/graph.ts', 'lib/io/port.ts'), 'a value');
  t.notOk(arrow('lib/core/graph.ts', 'lib/io/port.ts', true), 'a type');
  t.ok(arrow('lib/tables/fdb.ts', 'lib/elements/bridge.ts', true));
  t.ok(arrow('lib/elements/bridge.ts', 'lib/io/memory.ts'));
  t.ok(arrow('lib/io/udp.ts', 'lib/elements/bridge.ts'));
  t.ok(arrow('examples/switch.ts', 'lib/index.ts'));
  t.notOk(arrow('examples/switch.ts', 'packetweave/codecs/mac'));
  t.ok(sources.length > 50 && sources.every(({ path, imports }) => path.length > 0 && imports !== undefined));
  const mac = sources.find(({ path }) => path === 'codecs/vxlan.ts');
  t.same(
    mac?.imports.map(({ of }) => of),
    ['codecs/bytes.ts', 'codecs/fault.ts', 'codecs/layout.ts'],
    'imports are found',
  );
});

t.test('imports point one way', async (t) => {
  t.same(sources.flatMap(upward), []);
});

t.test('no file imports itself by way of others', async (t) => {
  const values = new Map(
    sources.map(({ path, imports }) => [path, imports.filter(({ type }) => !type).map(({ of }) => of)]),
  );
  const done = new Set<string>();
  const cycles: string[] = [];
  const visit = (path: string, way: readonly string[]): void => {
    if (way.includes(path)) cycles.push([...way.slice(way.indexOf(path)), path].join(' > '));
    if (way.includes(path) || done.has(path)) return;
    for (const next of values.get(path) ?? []) visit(next, [...way, path]);
    done.add(path);
  };
  for (const path of values.keys()) visit(path, []);
  t.same(cycles, []);
});

/** Elements that are there for people, one line a packet. */
const COLD_ELEMENTS = ['lib/elements/trace.ts'];
const COLD = ['decode', 'encode', 'format', 'layout'];

t.test('elements never call what is for people', async (t) => {
  const headers = new Set(
    sources.filter(({ text }) => /^export const layout\b/m.test(text)).map(({ path }) => path),
  );
  const calls = sources
    .filter(({ path }) => path.startsWith('lib/elements/') && !COLD_ELEMENTS.includes(path))
    .flatMap(({ path, text }) => {
      const names = [...text.matchAll(/import \* as (\w+) from '\.\.\/\.\.\/(codecs\/[\w-]+\.ts)'/g)]
        .filter(([, , codec]) => headers.has(codec))
        .flatMap(([, name]) => COLD.map((cold) => `${name}.${cold}`));
      const named = [...text.matchAll(/import \{([^}]*)\} from '\.\.\/\.\.\/(codecs\/[\w-]+\.ts)'/g)]
        .filter(
          ([, list, codec]) => headers.has(codec) && COLD.some((c) => new RegExp(`\\b${c}\\b`).test(list)),
        )
        .map(([, , codec]) => `${path} imports the cold half of ${codec}`);
      const called = names.filter((name) => new RegExp(`\\b${name.replace('.', '\\.')}\\b`).test(text));
      return [...named, ...called.map((name) => `${path} uses ${name}`)];
    });
  t.ok(headers.size >= 4, `${headers.size} codecs of headers`);
  t.same(calls, []);
});
