/** What tests of the daemon keep of containers. */
import { namespaceName } from '../../attach/namespace.ts';
import type { ContainerRecord } from '../../daemon/records.ts';

/** A container that runs, in the foreground, and is on no network. */
export function record(id: string, more: Partial<ContainerRecord>): ContainerRecord {
  return {
    id,
    name: id.slice(0, 12),
    hostname: 'web',
    namespace: namespaceName(id),
    foreign: null,
    command: ['sleep', '60'],
    environment: {},
    directory: null,
    dns: [],
    aliases: [],
    labels: {},
    created: '2026-01-01T00:00:00.000Z',
    detached: false,
    remove: true,
    attachments: [],
    state: 'running',
    exitCode: null,
    pid: null,
    pidStarted: null,
    ...more,
  };
}
