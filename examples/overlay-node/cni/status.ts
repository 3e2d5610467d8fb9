/** STATUS: whether ADD would work, as far as the daemon and the store can tell. */
import type { Info } from '../api/api.ts';
import { NoDaemonError } from '../cli/client.ts';
import { ControlError } from '../control/errors.ts';
import type { Network } from '../control/model.ts';
import type { Call } from './call.ts';
import { CniError, CUT_OFF, NOT_AVAILABLE } from './errors.ts';

export async function work({ client, config }: Call): Promise<null> {
  try {
    const wrong = trouble(await client.get<Info>(['info']));
    if (wrong !== null) throw new CniError(NOT_AVAILABLE, wrong);
    const networks = await client.get<readonly Network[]>(['networks']);
    if (networks.some(({ id, name }) => name === config.network || id === config.network)) return null;
  } catch (error) {
    // The daemon carries the frames: without it nobody is reached.
    if (error instanceof NoDaemonError) throw new CniError(CUT_OFF, error.message);
    if (error instanceof ControlError) throw new CniError(NOT_AVAILABLE, error.message);
    throw error;
  }
  throw new CniError(NOT_AVAILABLE, `there is no network "${config.network}"`);
}

function trouble({ node, control }: Info): string | null {
  if (node === null)
    return 'this host is in no overlay: "packetweave init" makes one, "packetweave join" enters one';
  if (control?.state !== 'away') return null;
  return `the store ${control.store} is away: ${control.error ?? 'it does not answer'}`;
}
