/** GC: removes the attachments to a network that the runtime does not know. */
import { attachmentsTo, containers, isGone, removeAll } from './attachments.ts';
import type { Call } from './call.ts';
import { BAD_CONFIG, CniError } from './errors.ts';

const VALID = 'cni.dev/valid-attachments';

export async function work({ client, config }: Call): Promise<null> {
  const { fields, name } = config;
  if (!fields.has(VALID)) {
    throw new CniError(BAD_CONFIG, `"${VALID}" is missing: without it nothing is known to be valid`);
  }
  const key = (container = '', device = '') => `${container} ${device}`;
  const valid = new Set(fields.objects(VALID).map((one) => key(one.text('containerID'), one.text('ifname'))));
  try {
    const all = attachmentsTo(name, await containers(client));
    const stale = all.filter(({ container, device }) => !valid.has(key(container, device)));
    await removeAll(
      client,
      stale.map(({ attachment }) => attachment),
    );
  } catch (error) {
    if (!isGone(error)) throw error;
  }
  return null;
}
