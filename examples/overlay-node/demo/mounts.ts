/** A mount namespace in which a Docker engine has /run/docker to itself, so that several run on one machine; what it mounts
 * is its own, too. The /run of `ip netns` is shared. */
import { type ChildProcess, spawn } from 'node:child_process';

const HOLD = `mount --make-private / && { mount --make-private /run 2>/dev/null || true; } &&
mkdir -p /run/docker && mount -t tmpfs tmpfs /run/docker && mkdir /run/docker/plugins && echo ready`;

/** Starts a process that keeps such a namespace for as long as it runs, `seconds` at the most. */
export async function holdMounts(seconds: number): Promise<ChildProcess> {
  const script = `${HOLD} && exec sleep ${seconds}`;
  const holder = spawn('unshare', ['-m', '--propagation', 'unchanged', 'sh', '-c', script]);
  await new Promise<void>((resolve, reject) => {
    holder.stdout.once('data', () => resolve());
    holder.once('exit', () => reject(new Error('a mount namespace cannot be made')));
  });
  return holder;
}
