/** Addresses of stores as people write them. */
import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createSecureContext } from 'node:tls';
import { ControlError } from '../errors.ts';
import { EtcdStore } from './etcd.ts';
import type { Address, TlsMaterial } from './etcd-http.ts';
import type { Store } from './store.ts';

export interface StoreUrl {
  /** At least one, none twice. */
  readonly addresses: readonly Address[];
  /** Begins and ends with `/`. */
  readonly prefix: string;
  /** Paths of PEM files, by what they are for; null for `etcd://`. */
  readonly tls: { readonly [file in TlsFile]?: string } | null;
  readonly user: { readonly name: string; readonly password: string } | null;
}

type TlsFile = 'ca' | 'cert' | 'key';

const form =
  'etcd://HOST[:PORT][,HOST...][/PREFIX] or etcds://[USER:PASSWORD@]HOST...[?ca=FILE&cert=FILE&key=FILE]';
const defaultPort = 2379;
const defaultPrefix = '/packetweave/';
/** Characters; keys of the store come behind it. */
const maxPrefix = 256;

/** Whether this is meant as the address of an etcd, well formed or not. */
export function isStoreUrl(text: string): boolean {
  return /^etcds?:/.test(text);
}

/** For people: without the password. */
export function redact(url: string): string {
  return url.replace(/^([a-z]*:\/\/[^:@]*):.*@/s, '$1:***@');
}

/**
 * `etcd://a:2379,b:2379/prefix`, `etcds://user:password@a:2379?ca=FILE&cert=FILE&key=FILE`. User and password are
 * percent-encoded. Without `ca` a server's certificate is checked against the authorities that node knows.
 * Throws a ControlError `INVALID`.
 */
export function parseStoreUrl(text: string): StoreUrl {
  const refuse = (what: string) =>
    new ControlError('INVALID', `the store ${redact(text)}: ${what}; expected ${form}`);
  const match = /^(etcds?):\/\/(?:(.*)@)?([^/?#]*)([^?#]*)(?:\?([^#]*))?$/s.exec(text);
  if (!match) throw refuse('this is not the address of an etcd');
  const [, scheme, login, hosts, path, query] = match;
  try {
    const files = parseFiles(query ?? '');
    if (scheme === 'etcd' && query !== undefined) throw new Error('files for TLS need etcds://');
    return {
      addresses: parseHosts(hosts!),
      prefix: parsePrefix(path!),
      tls: scheme === 'etcds' ? files : null,
      user: login === undefined ? null : parseLogin(login),
    };
  } catch (error) {
    throw refuse((error as Error).message);
  }
}

/** Does not connect yet. Throws a ControlError `INVALID`, also where a file of the address cannot be read. */
export function openEtcd(url: string): Store {
  const { tls, ...options } = parseStoreUrl(url);
  return new EtcdStore({ ...options, tls: tls && readFiles(tls) });
}

function parseHosts(text: string): Address[] {
  const seen = new Set<string>();
  return text.split(',').map((part) => {
    const match = /^(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9._-]+))(?::(\d{1,5}))?$/.exec(part);
    const port = Number(match?.[3] ?? defaultPort);
    if (!match || port < 1 || port > 65535) throw new Error(`"${part}" is not HOST or HOST:PORT`);
    if (seen.size === seen.add(`${match[1] ?? match[2]} ${port}`).size)
      throw new Error(`${part} is there twice`);
    return { host: (match[1] ?? match[2])!, port };
  });
}

function parsePrefix(path: string): string {
  if (path === '' || path === '/') return defaultPrefix;
  if (!/^(\/[A-Za-z0-9._~-]+)+\/?$/.test(path) || path.length > maxPrefix)
    throw new Error(`the prefix "${path}" has letters, digits and . _ ~ - between slashes`);
  return path.endsWith('/') ? path : `${path}/`;
}

function parseLogin(text: string): { name: string; password: string } {
  const colon = text.indexOf(':');
  const name = text.slice(0, Math.max(colon, 0));
  const password = text.slice(colon + 1);
  if (name === '' || password === '') throw new Error('before the @ comes USER:PASSWORD');
  if (/[@/?#]/.test(text)) throw new Error('@ / ? # in user or password are written %40 %2F %3F %23');
  try {
    return { name: decodeURIComponent(name), password: decodeURIComponent(password) };
  } catch {
    throw new Error('a % in user or password is written %25');
  }
}

function parseFiles(query: string): { [file in TlsFile]?: string } {
  const files: { [file in TlsFile]?: string } = {};
  for (const [name, path] of new URLSearchParams(query)) {
    if (name !== 'ca' && name !== 'cert' && name !== 'key') throw new Error(`"${name}" is not known`);
    if (path === '') throw new Error(`"${name}" needs a file`);
    if (files[name] !== undefined) throw new Error(`"${name}" is there twice`);
    files[name] = path;
  }
  if ((files.cert === undefined) !== (files.key === undefined))
    throw new Error('"cert" and "key" come together');
  return files;
}

function readFiles(files: { readonly [file in TlsFile]?: string }): TlsMaterial {
  const material: { [file in TlsFile]?: Buffer } = {};
  let reading = '';
  try {
    for (const [name, path] of Object.entries(files) as [TlsFile, string][]) {
      reading = `${name}=${path}`;
      material[name] = readFileSync(path);
      // A file without a certificate would be taken for no authority at all.
      if (name !== 'key') new X509Certificate(material[name]);
    }
    createSecureContext(material);
  } catch (error) {
    const hint = 'give PEM files that this process can read, and the key of this certificate';
    throw new ControlError('INVALID', `the store's ${reading}: ${(error as Error).message}; ${hint}`);
  }
  return material;
}
