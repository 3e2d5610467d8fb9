/** One host in a cluster of its own, asked over its socket, and what is left of its containers. */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Test } from 'tap';
import type { Container } from '../../api/api.ts';
import { Client } from '../../cli/client.ts';
import { EmbeddedStore } from '../../control/store/embedded.ts';
import { type Host, Hosts } from './hosts.ts';

const SLEEP = ['sleep', '600'];

/** A host with a network `demo`. `prepare` is called before its daemon starts. */
export async function alone(t: Test, prepare = (_: Host): void => {}) {
  const hosts = new Hosts(t, 1);
  const [host] = hosts.all;
  prepare(host);
  await host.up('--log-level', 'debug');
  const client = new Client(host.socket);
  await client.post(['init'], {});
  await client.post(['networks'], { name: 'demo', attachable: true });
  const start = (name: string, more: object = {}) =>
    client.post<Container>(['containers'], {
      name,
      networks: ['demo'],
      command: SLEEP,
      detach: true,
      environment: { PATH: process.env.PATH },
      ...more,
    });
  const rm = (name: string) => client.delete(['containers', name], { force: true });
  const all = () => client.get<Container[]>(['containers'], { all: true });
  const up = () => host.up('--log-level', 'debug');
  return { hosts, host, client, start, rm, all, up };
}

export const state = (host: Host, ...parts: readonly string[]) => join(host.folder, 'state', ...parts);
const files = (folder: string) => (existsSync(folder) ? readdirSync(folder) : []);
export const said = async (host: Host, ...line: [string, ...string[]]) =>
  (await host.exec(...line)).stdout.trim();

/** What is left of containers that a host's log speaks of. */
export function left(host: Host): string[] {
  const made = new Set(host.log.match(/\bpw-[0-9a-f]{12}\b/g) ?? []);
  const there = ['/run/netns', '/etc/netns'].flatMap((at) => files(at).map((name) => ({ at, name })));
  return [
    ...there.filter(({ name }) => made.has(name)).map(({ at, name }) => `${at}/${name}`),
    ...['containers', 'commands'].flatMap((folder) => files(state(host, folder))),
  ];
}

/** Keys of endpoints in the store of a host whose daemon is down. */
export async function stored(host: Host): Promise<string[]> {
  const store = await EmbeddedStore.open(state(host, 'store'));
  const lists = await Promise.all(
    ['endpoints/', 'addresses/', 'on/'].map(async (prefix) => (await store.list(prefix)).entries),
  );
  await store.close();
  return lists.flat().map(({ key }) => key);
}
