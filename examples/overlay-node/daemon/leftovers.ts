/** What is left on a host that is in no overlay any more: its containers, its gateways, its rules. */
import { stop } from '../attach/detached.ts';
import { removeFiles } from '../attach/files.ts';
import { detachNamespace } from '../attach/foreign.ts';
import { Gateways, listGateways } from '../attach/gateway.ts';
import { HostPorts } from '../attach/host-ports.ts';
import { existing, namespaceName, removeNamespace } from '../attach/namespace.ts';
import { stateFile } from './commands.ts';
import type { Logger } from './log.ts';
import { readMembership } from './membership.ts';
import { Records } from './records.ts';
import type { StateFolder } from './state.ts';

/** Takes all of it away, without a word to anybody. What cannot be taken away is told and left. */
export async function removeLeftovers(state: StateFolder, log: Logger): Promise<void> {
  const attempt = (work: Promise<unknown>) => work.catch((error: Error) => log.warn(error.message));
  const records = await Records.open(state, (message) => log.warn(message));
  const folder = await state.folder('commands');
  for (const { id, foreign, namespace, detached, pid, pidStarted } of records.all()) {
    if (detached && pid !== null && pidStarted !== null) {
      await attempt(stop({ pid, startTime: pidStarted, stateFile: stateFile(folder, id) }));
    }
    if (namespace === namespaceName(id)) {
      removeFiles(namespace);
      const there = existing().includes(namespace);
      if (there) await attempt(foreign === null ? removeNamespace(namespace) : detachNamespace(namespace));
    }
    await attempt(records.remove(id));
  }
  await state.clear('commands');
  const { node } = (await readMembership(state)) ?? { node: null };
  if (node === null) return;
  const gateways = new Gateways(node);
  await attempt(new HostPorts().close());
  for (const vni of listGateways(node)) await attempt(gateways.remove(vni));
  await attempt(gateways.close());
}
