/**
 * Attachments as the daemon keeps them: each is a container of its own, without a command, and its labels have the three
 * names that a runtime knows it by. Nothing else is remembered.
 */
import type { Container } from '../api/api.ts';
import type { Client } from '../cli/client.ts';
import { ControlError } from '../control/errors.ts';
import type { PlacedCall } from './call.ts';

const NETWORK = 'cni.network';
const CONTAINER = 'cni.container';
const DEVICE = 'cni.interface';

export function labelsOf({ config, place }: PlacedCall): Record<string, string> {
  return { [NETWORK]: config.name, [CONTAINER]: place.container, [DEVICE]: place.device };
}

/** All containers of this host. */
export function containers(client: Client): Promise<readonly Container[]> {
  return client.get<readonly Container[]>(['containers'], { all: true });
}

/** The attachments of a call's container and device; more than one where something went wrong. */
export function attachmentsOf(call: PlacedCall, all: readonly Container[]): readonly Container[] {
  const wanted = Object.entries(labelsOf(call));
  return all.filter(({ labels }) => wanted.every(([name, value]) => labels[name] === value));
}

/** The attachments to a network, with the runtime's names of each. */
export function attachmentsTo(network: string, all: readonly Container[]) {
  return all
    .filter(({ labels }) => labels[NETWORK] === network)
    .map((attachment) => {
      const { labels } = attachment;
      return { attachment, container: labels[CONTAINER], device: labels[DEVICE] };
    });
}

/** Removes attachments; those that are gone already are no error. Rejects with what failed first, after all. */
export async function removeAll(client: Client, all: readonly Container[]): Promise<void> {
  const results = await Promise.allSettled(
    all.map(({ id }) => client.delete(['containers', id], { force: true })),
  );
  for (const result of results) {
    if (result.status === 'rejected' && !isGone(result.reason)) throw result.reason;
  }
}

/** Whether an error says that what was to be removed is not there: a host that left its overlay has nothing left. */
export function isGone(error: unknown): boolean {
  return error instanceof ControlError && ['NOT_FOUND', 'NOT_JOINED'].includes(error.code);
}
