/** `packetweave peers`, `stats`, `inspect`, `trace` and `capture`. */
import type { Command } from 'commander';
import type { Container, Info, NetworkDetail, PeerRow, Stats, TraceLine } from '../../api/api.ts';
import { ControlError } from '../../control/errors.ts';
import type { Network } from '../../control/model.ts';
import { table } from '../format.ts';
import { containerShape, networkShape } from '../inspect.ts';
import { act, atLeast, leaf, type Session } from '../session.ts';
import { UsageError, type World } from '../world.ts';

export function lookCommands(program: Command, world: World): void {
  peers(program, world);
  stats(program, world);
  inspect(program, world);
  capture(program, world);
  trace(program, world);
}

function peers(program: Command, world: World): void {
  const command = leaf(program, 'peers', 'List the hosts that this one exchanges frames with');
  act(command, world, async (session) => {
    const rows = await session.client.get<PeerRow[]>(['peers']);
    session.show(rows, () => peerTable(rows, session));
    return 0;
  });
}

const KEYS = new Map([
  [true, 'yes'],
  [false, 'no keys'],
  [null, '-'],
]);

function peerTable(peers: readonly PeerRow[], session: Session): string {
  const rows = peers.map(({ node, name, address, alive, encrypted, networks }) => [
    node,
    name,
    address,
    alive ? 'Ready' : 'Down',
    KEYS.get(encrypted) ?? '-',
    networks.join(', '),
  ]);
  return table(['NODE', 'HOSTNAME', 'ADDRESS', 'STATUS', 'ENCRYPTED', 'NETWORKS'], rows, (cell) => {
    if (cell === 'Ready') return session.paint(cell, 'green');
    return cell === 'Down' || cell === 'no keys' ? session.paint(cell, 'red') : cell;
  });
}

interface StatsOptions {
  readonly interval: number;
  readonly once?: boolean;
}

function stats(program: Command, world: World): void {
  const command = leaf(program, 'stats', 'Show what goes through each port, again and again')
    .option('--interval <seconds>', 'time between two looks', atLeast('--interval', 0.1), 1)
    .option('--once', 'totals since the daemon began, once');
  act<[], StatsOptions>(command, world, async (session, _, { interval, once }) => {
    const { statsText } = await import('../stats.ts');
    let before: Stats | null = null;
    for (;;) {
      const now: Stats = await session.client.get<Stats>(['stats']);
      if (session.json) session.print(JSON.stringify(now));
      else session.print(live(session, statsText(now, before)));
      if (once) return 0;
      before = now;
      await new Promise((resolve) => setTimeout(resolve, interval * 1000));
    }
  });
}

/** On a terminal each look replaces the one before: from the corner, to the end of each line, to the end of the screen. */
function live(session: Session, text: string): string {
  if (session.world.stdout.isTTY !== true) return `${text}\n`;
  return `\x1b[H${text.replaceAll('\n', '\x1b[K\n')}\x1b[J`;
}

function inspect(program: Command, world: World): void {
  const command = leaf(
    program,
    'inspect',
    'Show everything about containers or networks, or about the daemon',
  ).argument('[container|network...]', 'names or ids; none: the daemon');
  act<[string[] | undefined]>(command, world, async (session, [names = []]) => {
    if (names.length === 0) {
      session.print(JSON.stringify(await session.client.get<Info>(['info']), null, 4));
      return 0;
    }
    const found: object[] = [];
    const code = await session.each(names, async (name) => {
      found.push(await shapeOf(session, name));
    });
    session.print(JSON.stringify(found, null, 4));
    return code;
  });
}

/** A container's, or else a network's. */
async function shapeOf({ client }: Session, name: string): Promise<object> {
  const container = await orNothing(client.get<Container>(['containers', name]));
  if (container !== null) return containerShape(container, await client.get<Network[]>(['networks']));
  const network = await orNothing(client.get<NetworkDetail>(['networks', name]));
  if (network !== null) return networkShape(network);
  throw new ControlError('NOT_FOUND', `there is no container or network ${name}`);
}

async function orNothing<T>(asked: Promise<T>): Promise<T | null> {
  try {
    return await asked;
  } catch (error) {
    if (error instanceof ControlError && error.code === 'NOT_FOUND') return null;
    throw error;
  }
}

/** Ends a stream with Ctrl-C, and lets what is open be finished. */
async function untilInterrupted<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController();
  const stop = () => controller.abort();
  process.once('SIGINT', stop).once('SIGTERM', stop);
  try {
    return await work(controller.signal);
  } finally {
    process.off('SIGINT', stop).off('SIGTERM', stop);
  }
}

interface CaptureOptions {
  readonly write?: string;
  readonly decrypt?: boolean;
  readonly count?: number;
}

function capture(program: Command, world: World): void {
  const command = leaf(
    program,
    'capture',
    'Show or write the frames of a network, a container or the underlay',
  )
    .argument('<network|container|underlay>', 'name or id, or "underlay"')
    .option('-w, --write <file>', 'pcapng file to write, - for stdout')
    .option('--decrypt', 'underlay: what was inside ESP')
    .option('-c, --count <packets>', 'end after as many', atLeast('--count', 1));
  act<[string], CaptureOptions>(command, world, async (session, [what], { write, decrypt, count }) => {
    if (write === '-' && world.stdout.isTTY) {
      throw new UsageError('a capture is not text: give --write a file, or leave it out');
    }
    await untilInterrupted(async (signal) => {
      const stream = await session.client.stream(['capture'], { what, decrypt, count }, signal);
      const { toFile, toOutput, toText } = await import('../capture.ts');
      if (write === undefined) await toText(stream, (line) => session.print(line), signal);
      else if (write === '-') await toOutput(stream, world.stdout, signal);
      else await toFile(stream, write, signal);
    });
    return 0;
  });
}

function trace(program: Command, world: World): void {
  const command = leaf(program, 'trace', 'Show what is dropped, where and why').option(
    '-c, --count <frames>',
    'end after as many',
    atLeast('--count', 1),
  );
  act<[], { count?: number }>(command, world, async (session, _, { count }) => {
    await untilInterrupted(async (signal) => {
      const stream = await session.client.stream(['trace'], { count }, signal);
      const { eachLine, traceText } = await import('../trace.ts');
      await eachLine(stream, signal, (line) => {
        session.print(session.json ? line : traceText(JSON.parse(line) as TraceLine));
      });
    });
    return 0;
  });
}
