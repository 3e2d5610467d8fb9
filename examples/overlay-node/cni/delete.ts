/** DEL: nothing is left of an attachment, whether its namespace is there or not, and however often it is said. */
import { attachmentsOf, containers, isGone, removeAll } from './attachments.ts';
import type { PlacedCall } from './call.ts';

export async function work(call: PlacedCall): Promise<null> {
  try {
    await removeAll(call.client, attachmentsOf(call, await containers(call.client)));
  } catch (error) {
    if (!isGone(error)) throw error;
  }
  return null;
}
