/** The program of the managed plugin: `packetweave up` as its environment says, and the way into an overlay. */
import { setTimeout as pause } from 'node:timers/promises';
import type { Info, JoinRequest } from '../../api/api.ts';
import { run } from '../../attach/system.ts';
import { Client } from '../../cli/client.ts';
import { commandLine } from '../../cli/command-line.ts';
import { processWorld } from '../../cli/world.ts';
import { STATE } from './config.ts';

/** Milliseconds before what failed is tried again, at first and at the most. */
const FIRST = 250;
const LAST = 10_000;

/** Ports beside those of a swarm, which has the daemon's own. */
const PORTS = ['--data-port', '4788', '--store-port', '2378'];
const SOCKET = `${STATE}/control.sock`;

/** Joins an overlay, as often as it takes: the host that has the store may start later. Never rejects. */
async function join({ token, store }: JoinRequest): Promise<void> {
  const client = new Client(SOCKET);
  for (let told = '', wait = FIRST; ; wait = Math.min(2 * wait, LAST)) {
    try {
      // Who is in an overlay already remembers which.
      if ((await client.get<Info>(['info'])).node === null) await client.post(['join'], { token, store });
      return;
    } catch (error) {
      const { message } = error as Error;
      if (message !== told && wait > FIRST) process.stderr.write(`join: ${message}\n`);
      told = message;
    }
    await pause(wait, undefined, { ref: false });
  }
}

const { PACKETWEAVE_OPTIONS = '', PACKETWEAVE_TOKEN: token, PACKETWEAVE_STORE: store } = process.env;

// An engine leaves it read-only, where devices and forwarding have their settings.
await run('mount', ['-o', 'remount,bind,rw', '/proc/sys']);
if (token && store) void join({ token, store });
const more = PACKETWEAVE_OPTIONS.split(/\s+/).filter(Boolean);
const up = ['up', '--state', STATE, '--socket', SOCKET, '--docker-plugin', ...PORTS, ...more];
process.exitCode = await commandLine(up, processWorld());
