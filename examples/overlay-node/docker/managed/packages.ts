/** Copies a package with all that it needs at run time, as a package manager would have it in a folder. */
import { cpSync, existsSync, readdirSync, readFileSync, realpathSync } from 'node:fs';
import { dirname, join, sep } from 'node:path';

interface Manifest {
  readonly files?: readonly string[];
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
}

/** A package: where it is, and where it goes. */
interface Copy {
  readonly from: string;
  readonly to: string;
}

/** Not needed to run. */
const USELESS = /\.(map|md|d\.[cm]?ts)$/;
/** Addons that are for other systems: of musl, and what is among prebuilt ones in another folder than this system's. */
const HERE = `${process.platform}-${process.arch}`;
const FOREIGN = new RegExp(`musl.*\\.node$|/prebuilds/(?!${HERE}(/|$)).`);

/** Copies a package to a folder, and its dependencies below; returns the native addons that are for this system. */
export function copyPackages(from: string, to: string): string[] {
  const root = realpathSync(from);
  /** Copied already: where from, by where to. */
  const copied = new Map<string, string>();
  const queue: Copy[] = [{ from: root, to }];
  for (let copy = queue.shift(); copy !== undefined; copy = queue.shift()) {
    copyPackage(copy);
    const { dependencies, optionalDependencies } = manifest(copy.from);
    for (const name of Object.keys({ ...dependencies, ...optionalDependencies })) {
      const found = resolvePackage(name, copy.from);
      if (found === null && optionalDependencies?.[name] !== undefined) continue;
      if (found === null) throw new Error(`${name}, which ${copy.from} needs, is not installed`);
      // Where all find it; where that is taken by another version, where this one alone does.
      const place = [to, copy.to]
        .map((folder) => join(folder, 'node_modules', name))
        .find((path) => (copied.get(path) ?? found) === found);
      if (place === undefined || copied.has(place)) continue;
      copied.set(place, found);
      queue.push({ from: found, to: place });
    }
  }
  return addons(to);
}

/** A package that is being worked on has more in its folder than is published. */
function copyPackage({ from, to }: Copy): void {
  const { files } = manifest(from);
  const published = from.includes(`${sep}node_modules${sep}`) || files === undefined;
  for (const name of published ? readdirSync(from) : ['package.json', ...files]) {
    const path = join(from, name);
    if (existsSync(path))
      cpSync(path, join(to, name), { recursive: true, dereference: true, filter: isNeeded });
  }
}

function isNeeded(path: string): boolean {
  return !path.endsWith(`${sep}node_modules`) && !USELESS.test(path) && !FOREIGN.test(path);
}

function manifest(folder: string): Manifest {
  return JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
}

/** Folder of a package as a module in `from` would find it; null where it is not there. */
function resolvePackage(name: string, from: string): string | null {
  for (let at = from; ; at = dirname(at)) {
    const path = join(at, 'node_modules', name);
    if (existsSync(path)) return realpathSync(path);
    if (at === dirname(at)) return null;
  }
}

/** Native addons among the files of a folder. */
function addons(folder: string): string[] {
  const names = readdirSync(folder, { recursive: true, encoding: 'utf8' });
  return names.filter((name) => name.endsWith('.node')).map((name) => join(folder, name));
}
