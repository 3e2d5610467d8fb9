/** A runtime: calls the plugin with environment and standard input, and reads its exit code and its answer. */
import { spawn } from 'node:child_process';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Test } from 'tap';
import { Namespaces } from '../../../../test/gen/netns.ts';
import { answer } from '../../cni/plugin.ts';
import { type Host, until } from '../scenario/hosts.ts';

export const PLUGIN = fileURLToPath(new URL('../../bin/packetweave-cni.js', import.meta.url));

export interface Said {
  readonly code: number | null;
  /** The answer; null where there is none. */
  readonly answer: Record<string, unknown> | null;
}

/** Which attachment a call is about. */
export interface About {
  readonly container: string;
  readonly namespace?: string;
  readonly device?: string;
  readonly args?: string;
}

type Config = Readonly<Record<string, unknown>>;

/** Calls the plugin within this process, with a configuration for a host's daemon. */
export async function call(
  host: Host,
  command: string,
  about: About | null,
  config: Config = {},
): Promise<Said> {
  const { text, code } = await answer(environment(command, about), async () => input(host, config));
  return { code, answer: text === '' ? null : JSON.parse(text) };
}

/** Runs the plugin as it was built. */
export async function execute(
  host: Host,
  command: string,
  about: About | null,
  config: Config = {},
): Promise<Said> {
  const env = environment(command, about);
  const child = spawn(PLUGIN, [], { env, stdio: ['pipe', 'pipe', 'inherit'], timeout: 60_000 });
  child.stdin.end(input(host, config));
  let text = '';
  child.stdout.setEncoding('utf8');
  child.stdout.on('data', (part) => {
    text += part;
  });
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
  return { code, answer: text === '' ? null : JSON.parse(text) };
}

function environment(command: string, about: About | null): Record<string, string> {
  return {
    PATH: process.env.PATH ?? '',
    CNI_COMMAND: command,
    CNI_PATH: '/opt/cni/bin',
    ...(about !== null && {
      CNI_CONTAINERID: about.container,
      CNI_IFNAME: about.device ?? 'eth0',
      CNI_NETNS: about.namespace ?? '',
      CNI_ARGS: about.args ?? '',
    }),
  };
}

function input(host: Host, config: Config): string {
  const whole = { cniVersion: '1.1.0', name: 'demo', type: 'packetweave', socket: host.socket, ...config };
  return JSON.stringify(whole);
}

/** Namespaces as a runtime makes them, which the plugin is told by their paths. */
export class Sandboxes {
  readonly #namespaces: Namespaces;
  readonly #t: Test;

  constructor(t: Test) {
    this.#t = t;
    this.#namespaces = new Namespaces(t);
  }

  /** Makes one, and answers its path. */
  add(name: string): string {
    this.#namespaces.add(name);
    return `/run/netns/${this.#namespaces.real(name)}`;
  }

  /** Runs a command in one, and answers what it printed. Throws where it fails. */
  run(name: string, command: string): string {
    return this.#namespaces.run(name, command);
  }

  /** Waits until an address or name answers in one. */
  reaches(name: string, to: string): Promise<boolean> {
    return until(async () => (await this.#namespaces.attempt(name, `ping -c 1 -W 1 ${to}`)).ok);
  }

  /** Takes one away before its time. */
  remove(name: string): void {
    this.#namespaces.run(name, `ip netns del ${this.#namespaces.real(name)}`);
  }

  /** Gives one the name server of a result, as runtimes do. */
  resolve(name: string, result: Said): void {
    const { dns } = (result.answer ?? { dns: { nameservers: [] } }) as { dns: { nameservers: string[] } };
    const { nameservers } = dns;
    const folder = `/etc/netns/${this.#namespaces.real(name)}`;
    this.#t.teardown(() => rmSync(folder, { recursive: true, force: true }));
    mkdirSync(folder, { recursive: true });
    writeFileSync(`${folder}/resolv.conf`, nameservers.map((one) => `nameserver ${one}\n`).join(''));
  }
}

/** Addresses of a result, without their lengths. */
export function addressesOf({ answer }: Said): string[] {
  const { ips = [] } = (answer ?? {}) as { ips?: { address: string }[] };
  return ips.map(({ address }) => address.split('/')[0]);
}
