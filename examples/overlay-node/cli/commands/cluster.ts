/** `packetweave init`, `join`, `leave`, `node`, `token` and `store`. */
import type { Command } from 'commander';
import type { Info, InitRequest, JoinRequest, MigrateRequest, TokenAnswer } from '../../api/api.ts';
import { ControlError } from '../../control/errors.ts';
import type { NodeState } from '../../control/model.ts';
import { ago, table } from '../format.ts';
import { act, leaf } from '../session.ts';
import type { World } from '../world.ts';

export function clusterCommands(program: Command, world: World): void {
  init(program, world);
  join(program, world);
  leave(program, world);
  const node = program.command('node').description('Manage the hosts of the overlay');
  listNodes(node, world);
  removeNode(node, world);
  token(program, world);
  migrate(program, world);
}

const howToJoin = (answer: TokenAnswer) => `To add a host, type there:\n\n    ${answer.line}\n`;

function init(program: Command, world: World): void {
  const command = leaf(program, 'init', 'Make an overlay, with this host as its first')
    .option('--advertise <address|interface>', 'what the other hosts reach this one by')
    .option('--store <url>', 'etcd://HOST:2379,... instead of the embedded store');
  act<[], InitRequest>(command, world, async (session, _, { advertise, store }) => {
    const request = { ...(store !== undefined && { store }), ...(advertise !== undefined && { advertise }) };
    const answer = await session.client.post<TokenAnswer>(['init'], request);
    session.show(answer, () => `The overlay is made, and this host is in it.\n\n${howToJoin(answer)}`);
    return 0;
  });
}

function join(program: Command, world: World): void {
  const command = leaf(program, 'join', 'Join an overlay')
    .argument('<token>', 'as "packetweave init" and "packetweave token" print it')
    .argument('<store>', 'HOST[:PORT] of the host that said "init", or an etcd address');
  act<[string, string]>(command, world, async (session, [given, store]) => {
    const request: JoinRequest = { token: given, store };
    const info = await session.client.post<Info>(['join'], request);
    session.show(info, () => `This host joined the overlay as node ${info.node?.name} (${info.node?.id}).`);
    return 0;
  });
}

function leave(program: Command, world: World): void {
  const command = leaf(program, 'leave', 'Leave the overlay').option(
    '-f, --force',
    'with containers that still run, or as the host that carries the store',
  );
  act<[], { force?: boolean }>(command, world, async (session, _, { force = false }) => {
    await session.client.post(['leave'], { force });
    session.show({ left: true }, () => 'This host left the overlay.');
    return 0;
  });
}

function listNodes(node: Command, world: World): void {
  const command = leaf(node, 'ls', 'List hosts').alias('list').option('-q, --quiet', 'ids only');
  act<[], { quiet?: boolean }>(command, world, async (session, _, { quiet }) => {
    const { client } = session;
    const [nodes, info] = await Promise.all([client.get<NodeState[]>(['nodes']), client.get<Info>(['info'])]);
    session.show(nodes, () => {
      if (quiet) return nodes.map(({ id }) => id).join('\n');
      return nodeTable(nodes, info.node?.id, world.now(), (cell, column) => {
        return column === 'STATUS' ? session.paint(cell, cell === 'Ready' ? 'green' : 'red') : cell;
      });
    });
    return 0;
  });
}

function nodeTable(
  nodes: readonly NodeState[],
  own: string | undefined,
  now: number,
  paint: (cell: string, column: string) => string,
): string {
  const rows = nodes.map((node) => [
    node.id === own ? `${node.id} *` : node.id,
    node.name,
    node.alive ? 'Ready' : 'Down',
    node.address,
    String(node.mtu),
    ago(node.joined, now),
    node.version,
  ]);
  return table(['ID', 'HOSTNAME', 'STATUS', 'ADDRESS', 'MTU', 'JOINED', 'VERSION'], rows, paint);
}

/** The node with this id, beginning of an id, or name. */
export function pickNode(nodes: readonly NodeState[], word: string): NodeState {
  const exact = nodes.find(({ id }) => id === word);
  if (exact !== undefined) return exact;
  const named = nodes.filter(({ name }) => name === word);
  const found = named.length > 0 ? named : nodes.filter(({ id }) => id.startsWith(word));
  if (found.length === 1) return found[0];
  if (found.length === 0) throw new ControlError('NOT_FOUND', `node ${word} not found`);
  const ids = found.map(({ id }) => id).join(', ');
  throw new ControlError('CONFLICT', `node ${word} is ambiguous: say one of the ids ${ids}`);
}

function removeNode(node: Command, world: World): void {
  const command = leaf(node, 'rm', 'Remove hosts that are gone')
    .alias('remove')
    .argument('<node...>', 'ids or names')
    .option('-f, --force', 'though it lives');
  act<[string[]], { force?: boolean }>(command, world, async (session, [names], { force = false }) => {
    const nodes = await session.client.get<NodeState[]>(['nodes']);
    return session.each(names, async (name) => {
      const { id } = pickNode(nodes, name);
      await session.client.delete(['nodes', id], { force });
      session.show({ removed: id }, () => name);
    });
  });
}

function token(program: Command, world: World): void {
  const command = leaf(program, 'token', 'Show what other hosts join with').option(
    '-q, --quiet',
    'token only',
  );
  act<[], { quiet?: boolean }>(command, world, async (session, _, { quiet }) => {
    const answer = await session.client.get<TokenAnswer>(['token']);
    session.show(answer, () => (quiet ? answer.token : howToJoin(answer)));
    return 0;
  });
  const rotate = leaf(command, 'rotate', 'Make a new token; the old one lets nobody in any more');
  act<[], { quiet?: boolean }>(rotate, world, async (session, _, { quiet }) => {
    const answer = await session.client.post<TokenAnswer>(['token', 'rotate']);
    session.show(answer, () => (quiet ? answer.token : howToJoin(answer)));
    return 0;
  });
}

function migrate(program: Command, world: World): void {
  const store = program.command('store').description('Manage the store that the hosts share');
  const command = leaf(store, 'migrate', 'Move the overlay to another store').argument(
    '<url>',
    'etcd://HOST:2379,...',
  );
  act<[string]>(command, world, async (session, [to]) => {
    const request: MigrateRequest = { to };
    await session.client.post(['store', 'migrate'], request);
    session.show({ migrated: to }, () => `All living nodes use ${to} now.`);
    return 0;
  });
}
