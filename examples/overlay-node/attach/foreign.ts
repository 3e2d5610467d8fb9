/** Namespaces that somebody else made, and devices in them. */
import { ControlError } from '../control/errors.ts';
import { namespaceName } from './namespace.ts';
import { run, runIn } from './system.ts';

/** Gives the namespace of a process a container's name, by which it stays also when the process has ended. */
export async function attachNamespace(container: string, pid: number): Promise<string> {
  const name = namespaceName(container);
  try {
    await run('ip', ['netns', 'attach', name, String(pid)]);
  } catch (error) {
    throw new ControlError(
      'INVALID',
      `the network namespace of process ${pid} cannot be had: ${(error as Error).message}`,
    );
  }
  return name;
}

/** Takes that name away again; what runs in the namespace goes on. */
export async function detachNamespace(name: string): Promise<void> {
  await run('ip', ['netns', 'del', name]);
}

/** Names of the devices in a namespace. Rejects with a SystemError where there is none. */
export async function devicesOf(namespace: string): Promise<string[]> {
  const shown = JSON.parse(await runIn(namespace, 'ip', ['-j', 'link', 'show'])) as { ifname: string }[];
  return shown.map(({ ifname }) => ifname);
}

/** Whether a namespace has an IPv4 default route. Rejects with a SystemError where there is no namespace. */
export async function hasDefaultRoute(namespace: string): Promise<boolean> {
  const shown = await runIn(namespace, 'ip', ['-4', '-j', 'route', 'show', 'default']);
  return (JSON.parse(shown || '[]') as unknown[]).length > 0;
}

/** Removes a device from a namespace. Rejects with a SystemError where there is none. */
export async function removeDevice(namespace: string, device: string): Promise<void> {
  await runIn(namespace, 'ip', ['link', 'del', 'dev', device]);
}
