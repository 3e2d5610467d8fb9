/** What tests of attachments have in common: containers' namespaces that are gone at the end, and a folder. */
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Test } from 'tap';
import { has, noNamespaces, noNative } from '../../../../test/gen/skip.ts';
import { removeFiles } from '../../attach/files.ts';
import { makeNamespace, removeNamespace } from '../../attach/namespace.ts';
import { run } from '../../attach/system.ts';

/** Why nothing can be attached here, or null where it can. */
export function noAttach(...programs: string[]): string | null {
  const missing = programs.find((program) => !has(program));
  return noNamespaces() ?? noNative() ?? (missing === undefined ? null : `${missing} is not installed`);
}

/** A folder that is gone at the end. */
export function folder(t: Test): string {
  const path = mkdtempSync(join(tmpdir(), 'packetweave-attach-'));
  t.teardown(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

/** Id of a container that nobody else has. */
export function containerId(): string {
  return randomBytes(32).toString('hex');
}

/** Makes the namespace of a container; it is gone at the end with all that is in it. */
export async function container(t: Test, id = containerId()): Promise<string> {
  const name = await makeNamespace(id);
  t.teardown(async () => {
    await removeNamespace(name);
    removeFiles(name);
  });
  return name;
}

/** Joins two namespaces by a cable, as TAP devices of one network would be. */
export async function cable(a: string, deviceA: string, b: string, deviceB: string): Promise<void> {
  const args = ['link', 'add', deviceA, 'netns', a, 'type', 'veth', 'peer', 'name', deviceB, 'netns', b];
  await run('ip', args);
}
