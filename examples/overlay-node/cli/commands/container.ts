/** `packetweave ps`, `rm`, `exec`, `logs`, `wait` and `attach`. */
import type { Command } from 'commander';
import type { Container } from '../../api/api.ts';
import { ago, commandText, portText, short, span, table } from '../format.ts';
import { type AttachOptions, attachRequest, environment } from '../requests.ts';
import { act, collect, leaf, type Session } from '../session.ts';
import type { World } from '../world.ts';

export function containerCommands(program: Command, world: World): void {
  ps(program, world);
  remove(program, world);
  exec(program, world);
  logs(program, world);
  wait(program, world);
  attach(program, world);
}

interface PsOptions {
  readonly all?: boolean;
  readonly quiet?: boolean;
  readonly trunc: boolean;
}

function ps(program: Command, world: World): void {
  const command = leaf(program, 'ps', 'List containers of this host')
    .option('-a, --all', 'those that ended, too')
    .option('-q, --quiet', 'ids only')
    .option('--no-trunc', 'whole ids and commands');
  act<[], PsOptions>(command, world, async (session, _, options) => {
    const { all = false, quiet, trunc } = options;
    const containers = await session.client.get<Container[]>(['containers'], { all });
    session.show(containers, () => {
      if (quiet) return containers.map(({ id }) => (trunc ? short(id) : id)).join('\n');
      return containerTable(containers, world.now(), !trunc);
    });
    return 0;
  });
}

/** `Up 2 minutes`. */
export function statusText({ state, exitCode, created }: Container, now: number): string {
  if (state === 'running') return `Up ${span(Math.max(0, now - Date.parse(created)) / 1000)}`;
  return state === 'exited' ? `Exited (${exitCode ?? '?'})` : 'Created';
}

export function containerTable(containers: readonly Container[], now: number, whole = false): string {
  const rows = containers.map((container) => {
    const { id, command, created, endpoints, ports, name } = container;
    const addresses = endpoints.flatMap((endpoint) => endpoint.addresses.map((text) => text.split('/')[0]));
    return [
      whole ? id : short(id),
      command.length === 0 ? '' : commandText(command, whole),
      ago(created, now),
      statusText(container, now),
      addresses.join(', '),
      ports.map(portText).join(', '),
      name,
    ];
  });
  return table(['CONTAINER ID', 'COMMAND', 'CREATED', 'STATUS', 'ADDRESSES', 'PORTS', 'NAMES'], rows);
}

function remove(program: Command, world: World): void {
  const command = leaf(program, 'rm', 'Remove containers')
    .argument('<container...>', 'names or ids')
    .option('-f, --force', 'end what runs in them');
  act<[string[]], { force?: boolean }>(command, world, (session, [names], { force = false }) =>
    session.each(names, async (name) => {
      await session.client.delete(['containers', name], { force });
      session.show({ removed: name }, () => name);
    }),
  );
}

interface ExecOptions {
  readonly env?: readonly string[];
  readonly workdir?: string;
}

function exec(program: Command, world: World): void {
  const command = leaf(program, 'exec', 'Run a command in a container that runs')
    .argument('<container>', 'name or id')
    .argument('<command...>', 'what to run')
    .option('-e, --env <key=value>', 'environment variable', collect)
    .option('-w, --workdir <dir>', 'folder to run in')
    .passThroughOptions();
  dockerTerminal(command);
  act<[string, string[]], ExecOptions>(command, world, async (session, [name, argv], options) => {
    const container = await session.client.get<Container>(['containers', name]);
    const env = { ...world.env, ...environment(options.env, world.env) };
    return runInside(session, container, argv, env, options.workdir ?? world.cwd);
  });
}

/** What Docker needs to be told, and is always so here. */
export function dockerTerminal(command: Command): void {
  command.option('-i, --interactive', 'always so').option('-t, --tty', 'as the terminal that this runs in');
}

async function runInside(
  session: Session,
  container: Container,
  argv: readonly string[],
  env: World['env'],
  cwd: string,
): Promise<number> {
  const { execute, refusal } = await import('../run.ts');
  const refused = refusal(argv[0], env, cwd);
  if (refused === null) return execute(container, argv, { env, cwd });
  session.complain(new Error(refused.text));
  return refused.code;
}

function logs(program: Command, world: World): void {
  const command = leaf(program, 'logs', 'Show what a detached command printed')
    .argument('<container>', 'name or id')
    .option('-f, --follow', 'and what it prints from now on');
  act<[string], { follow?: boolean }>(command, world, async (session, [name], { follow = false }) => {
    const { pipeline } = await import('node:stream/promises');
    const stream = await session.client.stream(['containers', name, 'logs'], { follow });
    await pipeline(stream, world.stdout, { end: false });
    return 0;
  });
}

function wait(program: Command, world: World): void {
  const command = leaf(program, 'wait', 'Wait until containers end, and print their exit codes').argument(
    '<container...>',
    'names or ids',
  );
  act<[string[]]>(command, world, (session, [names]) =>
    session.each(names, async (name) => {
      const answer = await session.client.get<{ code: number }>(['containers', name, 'wait']);
      session.show(answer, () => String(answer.code));
    }),
  );
}

function attach(program: Command, world: World): void {
  const command = leaf(
    program,
    'attach',
    'Put a network namespace that is there on the overlay',
  ).requiredOption('--netns <name|pid>', 'name of "ip netns", or a process in it');
  attachmentOptions(command);
  act<[], AttachOptions>(command, world, async (session, _, options) => {
    const container = await session.client.post<Container>(['containers'], attachRequest(options));
    session.show(container, () => container.id);
    return 0;
  });
}

/** What `run` and `attach` have in common. */
export function attachmentOptions(command: Command): void {
  command
    .requiredOption('--network <network>', 'network to be on; can be given again', collect)
    .option('--name <name>', 'name of the container')
    .option('--network-alias <name>', 'another name in the networks', collect)
    .option('--ip <address>', 'IPv4 address')
    .option('--ip6 <address>', 'IPv6 address')
    .option('--mac-address <mac>', 'MAC address')
    .option('-h, --hostname <name>', 'host name inside')
    .option('--dns <address>', "name server instead of the overlay's", collect)
    .option('-p, --publish <port>', '[ADDRESS:]PUBLISHED:PORT[/udp|/sctp], or ranges of them', collect)
    .option('-l, --label <key=value>', 'label', collect)
    .helpOption('--help', 'display help for command');
}
