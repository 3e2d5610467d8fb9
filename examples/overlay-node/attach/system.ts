/** The system's own tools, here and in network namespaces: what they say, and what went wrong in their words. */
import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { inNamespace } from 'packetweave';

/** A tool of the system failed. */
export class SystemError extends Error {
  override readonly name = 'SystemError';
  /** The command as somebody would type it. */
  readonly command: string;

  constructor(command: string, words: string) {
    super(`${command}: ${words}`);
    this.command = command;
  }
}

const PACKAGES: Readonly<Record<string, string>> = {
  ip: 'iproute2',
  nft: 'nftables',
  nsenter: 'util-linux',
  ping: 'iputils-ping',
  unshare: 'util-linux',
};

/** Runs a program to its end and returns what it printed. Rejects with a SystemError. */
export function run(program: string, args: readonly string[], input = ''): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = execFile(program, args, { maxBuffer: 64 << 20 }, (error, stdout, stderr) => {
      if (error === null) return resolve(stdout);
      const missing = `it is not installed: install ${PACKAGES[program] ?? program}`;
      const words = stderr.trim() || stdout.trim() || error.message;
      reject(new SystemError([program, ...args].join(' '), error.code === 'ENOENT' ? missing : words));
    });
    // A program that ends before it has read everything says why by itself.
    child.stdin?.on('error', () => {});
    child.stdin?.end(input);
  });
}

/** Path of a network namespace: names are those of `ip netns`. */
export function namespacePath(namespace: string): string {
  return namespace.includes('/') ? namespace : `/run/netns/${namespace}`;
}

/** {@link run} in a network namespace; null for this one. */
export function runIn(
  namespace: string | null,
  program: string,
  args: readonly string[],
  input = '',
): Promise<string> {
  if (namespace === null) return run(program, args, input);
  return run('nsenter', [`--net=${namespacePath(namespace)}`, program, ...args], input);
}

/** Runs commands of `ip` in one call. Rejects with the one that failed and its words; those before it are done. */
export async function ipBatch(namespace: string | null, commands: readonly string[]): Promise<void> {
  try {
    await runIn(namespace, 'ip', ['-batch', '-'], `${commands.join('\n')}\n`);
  } catch (error) {
    const [, words, line] = /^ip.*?-batch -: (.*)\nCommand failed -:(\d+)/s.exec(afterNsenter(error)) ?? [];
    if (words === undefined) throw error;
    throw new SystemError(`ip ${commands[Number(line) - 1]}`, where(namespace, words));
  }
}

function afterNsenter(error: unknown): string {
  return (error as Error).message.replace(/^nsenter --net=\S+ /, '');
}

function where(namespace: string | null, words: string): string {
  return namespace === null ? words : `${words} (in the network namespace ${namespace})`;
}

/** Loads rules of nftables as one transaction: all of them are there, or none. */
export async function nft(namespace: string | null, lines: readonly string[]): Promise<void> {
  await runIn(namespace, 'nft', ['-f', '-'], `${lines.join('\n')}\n`);
}

/** Sets kernel parameters below /proc/sys/net; those that this kernel does not have are left out. Throws a SystemError,
 * or a PortError where there is no such namespace. */
export function setNet(namespace: string | null, values: Readonly<Record<string, string | number>>): void {
  inNamespace(namespace, () => {
    for (const [name, value] of Object.entries(values)) {
      try {
        writeFileSync(`/proc/sys/net/${name}`, `${value}`);
      } catch (error) {
        const { code, message } = error as NodeJS.ErrnoException;
        if (code !== 'ENOENT') throw new SystemError(`echo ${value} > /proc/sys/net/${name}`, message);
      }
    }
  });
}
