/** What is in a container's /etc, which `ip netns exec` mounts over the host's, and what the host's own resolver says. */
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Files } from './attach.ts';

/** Where `ip netns exec` looks for them. */
const ROOT = '/etc/netns';

const LOCALHOST = [
  '127.0.0.1\tlocalhost',
  '::1\tlocalhost ip6-localhost ip6-loopback',
  'fe00::\tip6-localnet',
  'ff00::\tip6-mcastprefix',
  'ff02::1\tip6-allnodes',
  'ff02::2\tip6-allrouters',
];

/** What a resolv.conf says. */
export type Resolver = Pick<Files, 'nameservers' | 'search' | 'options'>;

/**
 * Writes /etc of a namespace of `ip netns`. Commands that run see changes at once, because each file stays the same
 * one. A namespace by path has the /etc of whoever made it: nothing is written.
 */
export function writeFiles(namespace: string, files: Files): void {
  if (namespace.includes('/')) return;
  const folder = join(ROOT, namespace);
  mkdirSync(folder, { recursive: true });
  const hosts = files.hosts.map(({ address, names }) => `${address}\t${names.join(' ')}`);
  const contents = {
    'resolv.conf': resolvConf(files),
    hosts: lines([...LOCALHOST, ...hosts]),
    hostname: lines([files.hostname]),
  };
  for (const [name, text] of Object.entries(contents)) {
    // What the host's /etc lacks cannot be mounted over.
    if (existsSync(join('/etc', name))) writeFileSync(join(folder, name), text);
  }
}

/** Takes /etc of a namespace away. */
export function removeFiles(namespace: string): void {
  if (!namespace.includes('/')) rmSync(join(ROOT, namespace), { recursive: true, force: true });
}

/** Reads a resolv.conf (resolv.conf(5)): of several search lines the last one counts. Empty where there is no file. */
export function readResolver(path = '/etc/resolv.conf'): Resolver {
  const found = { nameservers: [] as string[], search: [] as string[], options: [] as string[] };
  if (!existsSync(path)) return found;
  for (const line of readFileSync(path, 'utf8').split('\n')) {
    const [keyword, ...values] = line
      .replace(/[#;].*/, '')
      .trim()
      .split(/\s+/);
    if (keyword === 'nameserver') found.nameservers.push(...values.slice(0, 1));
    if (keyword === 'search' || keyword === 'domain') found.search = values;
    if (keyword === 'options') found.options.push(...values);
  }
  return found;
}

/** A container's resolver, as Docker makes it of the host's: other name servers, the search kept, and `ndots:0` where the
 * host says nothing of it, so that a container's name is looked up as it is first. */
export function containerResolver(host: Resolver, nameservers: readonly string[]): Resolver {
  const said = host.options.some((option) => option.startsWith('ndots:'));
  return { nameservers, search: host.search, options: said ? host.options : [...host.options, 'ndots:0'] };
}

function resolvConf({ nameservers, search, options }: Resolver): string {
  return lines([
    ...nameservers.map((address) => `nameserver ${address}`),
    ...(search.length > 0 ? [`search ${search.join(' ')}`] : []),
    ...(options.length > 0 ? [`options ${options.join(' ')}`] : []),
  ]);
}

function lines(all: readonly string[]): string {
  return all.map((line) => `${line}\n`).join('');
}
