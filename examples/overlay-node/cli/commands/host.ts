/** `packetweave up`, `doctor`, `version` and `completion`: what works without a daemon. */
import { resolve } from 'node:path';
import type { Command } from 'commander';
import type { Check, Info } from '../../api/api.ts';
import { ControlError } from '../../control/errors.ts';
import {
  type DaemonOptions,
  DEFAULTS,
  DOCKER_PLUGIN,
  daemonOptions,
  LOG_LEVELS,
  readConfig,
  type SomeOptions,
} from '../../daemon/options.ts';
import { VERSION } from '../../daemon/version.ts';
import { type Client, NoDaemonError, socketPath } from '../client.ts';
import { act, collect, leaf, number, type Session } from '../session.ts';
import { UsageError, type World } from '../world.ts';

/** How long a daemon that hangs is waited for, in ms. */
const PATIENCE = 3000;

export function hostCommands(program: Command, world: World): void {
  up(program, world);
  doctor(program, world);
  version(program, world);
  completion(program, world);
}

interface UpOptions extends Omit<SomeOptions, 'peers' | 'dockerPlugin'> {
  readonly peer?: readonly string[];
  /** True without a path. */
  readonly dockerPlugin?: string | boolean;
  readonly config?: string;
}

function up(program: Command, world: World): void {
  const { dataPort, espPort, storePort, state, socket, logLevel, dockerEngine } = DEFAULTS;
  const command = leaf(program, 'up', 'Run the daemon')
    .option('--advertise <address|interface>', 'what the other hosts reach this one by (default: found)')
    .option('--data-port <port>', `UDP port of VXLAN (default ${dataPort})`, number)
    .option('--esp-port <port>', `UDP port of ESP (default ${espPort})`, number)
    .option('--store-port <port>', `TCP port of the embedded store (default ${storePort})`, number)
    .option('--state <dir>', `folder of what is remembered (default ${state})`)
    .option('--socket <file>', `control socket (default ${socket})`)
    .option('--metrics <address:port>', 'where Prometheus reads (default: nowhere)')
    .option('--log-level <level>', `one of ${LOG_LEVELS.join(', ')} (default ${logLevel})`)
    .option('--mtu <bytes>', "largest IP packet of the underlay (default: its interface's)", number)
    .option('--busy-poll <microseconds>', 'lower latency for processor time (default 0)', number)
    .option('--key-period <seconds>', 'after which keys are replaced (default: 12 hours)', number)
    .option('--peer <address>', 'another host, where no store tells; can be given again', collect)
    .option('--secret-file <file>', 'encrypts what goes to --peer; the same on all')
    .option('--dns-upstream <address>', "name server for other names (default: the host's)", collect)
    .option('--docker-plugin [file]', `serve a Docker engine's networks (default ${DOCKER_PLUGIN})`)
    .option('--docker-engine <file>', `the engine's API socket (default ${dockerEngine})`)
    .option('--config <file>', 'JSON with these options in camelCase');
  act<[], UpOptions & { host?: string }>(command, world, async (_, __, options) => {
    const told = upOptions(options, world);
    const { runDaemon } = await import('../../daemon/main.ts');
    await runDaemon(told);
    return 0;
  });
}

/** What the command line, the environment and the config file say together. Throws a UsageError. */
export function upOptions(
  options: UpOptions & { host?: string },
  world: Pick<World, 'cwd' | 'env'>,
): DaemonOptions {
  try {
    const config = options.config === undefined ? {} : readConfig(resolve(world.cwd, options.config));
    return daemonOptions(upFlags(options, world), config);
  } catch (error) {
    // What is wrong will be wrong again: who starts a daemon anew after a failure is told by the exit code.
    throw error instanceof ControlError ? new UsageError(error.message) : error;
  }
}

/** What the command line and the environment say. Paths begin where the command was typed. */
function upFlags(options: UpOptions & { host?: string }, world: Pick<World, 'cwd' | 'env'>): SomeOptions {
  const { peer, config: _, host, socket, state, secretFile, dockerPlugin, dockerEngine, ...rest } = options;
  const { json: __, ...flags } = rest as typeof rest & { json?: boolean };
  const path = (given: string | null | undefined) =>
    given === undefined || given === null ? undefined : resolve(world.cwd, given);
  const named = host ?? world.env.PACKETWEAVE_SOCKET;
  return {
    ...flags,
    peers: peer,
    state: path(state),
    secretFile: path(secretFile),
    dockerPlugin: dockerPlugin === true ? DOCKER_PLUGIN : path(dockerPlugin || undefined),
    dockerEngine: path(dockerEngine),
    socket: path(socket) ?? (named === undefined ? undefined : socketPath(named)),
  };
}

function doctor(program: Command, world: World): void {
  const command = leaf(program, 'doctor', 'Look for what keeps a node from working; needs no daemon');
  act(command, world, async (session) => {
    const { daemon, checks: told } = await daemonChecks(session.impatient(PATIENCE));
    const checks = told === null ? [...(await ownChecks(daemon)), daemon] : [daemon, ...told];
    session.show(checks, () => checks.map((check) => checkText(check, session)).join(''));
    return checks.every(({ ok }) => ok) ? 0 : 1;
  });
}

/** Of this host, as far as a command line can see it. */
async function ownChecks(daemon: Check): Promise<Check[]> {
  const { hostChecks } = await import('../../watch/host-checks.ts');
  const { portChecks } = await import('../doctor.ts');
  // A daemon that fails has its ports.
  return [...(await hostChecks()), ...(daemon.ok ? await portChecks() : [])];
}

/** Whether a daemon answers, and what it finds, this host included; null where it tells nothing. */
async function daemonChecks(
  client: Client,
): Promise<{ readonly daemon: Check; readonly checks: readonly Check[] | null }> {
  try {
    const checks = await client.get<Check[]>(['doctor']);
    return {
      daemon: { name: 'daemon', ok: true, found: `answers on ${client.socket}`, advice: null },
      checks,
    };
  } catch (error) {
    const { message } = error as Error;
    if (!(error instanceof NoDaemonError)) {
      return {
        daemon: { name: 'daemon', ok: false, found: message, advice: 'see what it logged' },
        checks: null,
      };
    }
    // None has to run yet.
    const [found, advice = null] = message.split(': ');
    return { daemon: { name: 'daemon', ok: true, found, advice }, checks: null };
  }
}

function checkText({ name, ok, found, advice }: Check, session: Session): string {
  const mark = ok ? session.paint('ok  ', 'green') : session.paint('FAIL', 'red');
  const todo = advice === null ? '' : `${' '.repeat(5)}${advice}\n`;
  return `${mark} ${name}: ${found}\n${todo}`;
}

function version(program: Command, world: World): void {
  const command = leaf(program, 'version', 'Show the versions of this program and of the daemon');
  act(command, world, async (session) => {
    const info = await session
      .impatient(PATIENCE)
      .get<Info>(['info'])
      .catch(() => null);
    const all = { client: VERSION, daemon: info?.version ?? null, node: process.versions.node };
    session.show(all, () => {
      return `packetweave ${all.client}, daemon ${all.daemon ?? 'does not answer'}, node ${all.node}`;
    });
    return 0;
  });
}

function completion(program: Command, world: World): void {
  const command = program
    .command('completion')
    .description('Print what makes a shell complete: source <(packetweave completion bash)')
    .argument('<bash|zsh|fish>', 'shell');
  act<[string]>(command, world, async (session, [shell]) => {
    const { SCRIPTS } = await import('../completion.ts');
    const script = SCRIPTS.get(shell);
    if (script === undefined) throw new UsageError(`completion expected bash, zsh or fish, got "${shell}"`);
    session.print(script(program.name()));
    return 0;
  });
  const hidden = program.command('__complete', { hidden: true }).argument('[words...]').helpOption(false);
  act<[string[]]>(hidden, world, async (session, [words]) => {
    const { answer } = await import('../complete.ts');
    session.print(await answer(program, words, world));
    return 0;
  });
}
