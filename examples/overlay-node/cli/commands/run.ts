/** `packetweave run` */
import type { Command } from 'commander';
import type { Container } from '../../api/api.ts';
import { type RunOptions, runRequest } from '../requests.ts';
import { act, collect, leaf } from '../session.ts';
import type { World } from '../world.ts';
import { attachmentOptions, dockerTerminal } from './container.ts';

export function runCommand(program: Command, world: World): void {
  const command = leaf(program, 'run', 'Run a command on the overlay, in a network namespace of its own')
    .argument('<command...>', 'what to run')
    .option('-d, --detach', 'in the background: prints the id')
    .option('--rm', 'remove the container when the command ends')
    .option('-e, --env <key=value>', 'environment variable', collect)
    .option('-w, --workdir <dir>', 'folder to run in')
    .passThroughOptions();
  attachmentOptions(command);
  dockerTerminal(command);
  act<[string[]], RunOptions>(command, world, async (session, [argv], options) => {
    const request = runRequest(argv, options, { cwd: world.cwd, env: world.env, pid: process.pid });
    const { foreground, refusal } = await import('../run.ts');
    const env = { ...world.env, ...request.environment };
    const refused = refusal(argv[0], env, request.directory ?? world.cwd);
    if (refused !== null) {
      session.complain(new Error(refused.text));
      return refused.code;
    }
    if (!options.detach) return foreground(session.client, request, world.env);
    const container = await session.client.post<Container>(['containers'], request);
    session.show(container, () => container.id);
    return 0;
  });
}
