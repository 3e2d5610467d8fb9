/**
 * Makes the folder of a managed plugin, for `docker plugin create`: config.json, and a root file system of what this
 * host has. Nothing is downloaded; it runs on hosts with the same kind of processor.
 *
 *     node dist/docker/managed/build.js FOLDER
 */
import { execFileSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, realpathSync, symlinkSync, writeFileSync } from 'node:fs';
import { delimiter, dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { pluginConfig } from './config.ts';
import { copyPackages } from './packages.ts';

/** What the daemon runs. */
const PROGRAMS = ['ip', 'nft', 'nsenter', 'unshare', 'ping', 'mount'];
/** Libraries that the daemon loads by itself, where they are there: for AES-GCM. */
const LIBRARIES = ['libIPSec_MB.so.2', 'libIPSec_MB.so.1'];
/** What those read where it is there. */
const FILES = ['/etc/protocols', '/etc/services', '/etc/nsswitch.conf'];
const FOLDERS = [
  'proc',
  'sys',
  'dev',
  'tmp',
  'run/netns',
  'run/docker',
  'var/lib/packetweave',
  'usr/bin',
  'etc',
];

/** Where the package is in the plugin. */
const APP = '/usr/lib/packetweave-node';
const START = `${APP}/dist/docker/managed/start.js`;
const PACKAGE = fileURLToPath(new URL('../../..', import.meta.url));

export function buildPlugin(folder: string): void {
  if (existsSync(folder)) throw new Error(`${folder} is there already: remove it, or name another folder`);
  const root = join(folder, 'rootfs');
  for (const name of FOLDERS) mkdirSync(join(root, name), { recursive: true });
  symlinkSync('../run', join(root, 'var/run'));
  const programs = PROGRAMS.map(find);
  for (const path of programs)
    copyFileSync(path, join(root, 'usr/bin', path.slice(path.lastIndexOf('/') + 1)));
  copyFileSync(process.execPath, join(root, 'usr/bin/node'));
  for (const path of FILES) if (existsSync(path)) copyFileSync(path, join(root, path));
  const addons = copyPackages(PACKAGE, join(root, APP));
  for (const library of [...libraries([process.execPath, ...programs, ...addons]), ...installed(LIBRARIES)]) {
    mkdirSync(join(root, dirname(library)), { recursive: true });
    copyFileSync(library, join(root, library));
  }
  const config = pluginConfig(['/usr/bin/node', START]);
  writeFileSync(join(folder, 'config.json'), `${JSON.stringify(config, null, 2)}\n`);
}

/** Path of a program of this host. */
function find(program: string): string {
  const places = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/sbin'];
  const found = places.map((place) => join(place, program)).find((path) => existsSync(path));
  if (found === undefined) throw new Error(`${program} is not installed: the plugin needs it`);
  return realpathSync(found);
}

/** Paths of all libraries that programs and addons load, as ldd(1) says. */
function libraries(files: readonly string[]): Set<string> {
  const said = execFileSync('ldd', files, { encoding: 'utf8' });
  // "libm.so.6 => /lib/libm.so.6 (0x7f)", or the loader: "/lib64/ld-linux-x86-64.so.2 (0x7f)".
  return new Set([...said.matchAll(/^\t(?:\S+ => )?(\/\S+) \(0x/gm)].map(([, path]) => path));
}

/** Paths of those libraries that this host has, as ldconfig(8) says. */
function installed(names: readonly string[]): string[] {
  const said = execFileSync(find('ldconfig'), ['-p'], { encoding: 'utf8' });
  // "	libIPSec_MB.so.1 (libc6,x86-64) => /lib/x86_64-linux-gnu/libIPSec_MB.so.1"
  return [...said.matchAll(/^\t(\S+) \(.*\) => (\/\S+)$/gm)]
    .filter(([, name]) => names.includes(name!))
    .map(([, , path]) => path!);
}

const [, main, folder] = process.argv;
if (main !== undefined && realpathSync(main) === fileURLToPath(import.meta.url)) {
  if (folder === undefined) {
    process.stderr.write('usage: node build.js FOLDER\n');
    process.exitCode = 2;
  } else {
    try {
      buildPlugin(resolve(folder));
      process.stdout.write(`${resolve(folder)}\n`);
    } catch (error) {
      process.stderr.write(`${(error as Error).message}\n`);
      process.exitCode = 1;
    }
  }
}
