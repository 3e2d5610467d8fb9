/** The tree of commands. */
import { Command } from 'commander';
import { VERSION } from '../daemon/version.ts';
import { clusterCommands } from './commands/cluster.ts';
import { containerCommands } from './commands/container.ts';
import { hostCommands } from './commands/host.ts';
import { lookCommands } from './commands/look.ts';
import { networkCommands } from './commands/network.ts';
import { runCommand } from './commands/run.ts';
import { oneLine } from './session.ts';
import type { World } from './world.ts';

export function makeProgram(world: World): Command {
  const program = new Command('packetweave')
    .description('An overlay network over many hosts, in the words of Docker')
    .option('-H, --host <socket>', 'unix://PATH of the daemon (default: PACKETWEAVE_SOCKET)')
    .option('--json', 'print JSON')
    .version(VERSION, '-v, --version')
    .enablePositionalOptions()
    .exitOverride()
    .hook('preSubcommand', (_, command) => {
      world.command = command.name();
    })
    .showSuggestionAfterError()
    .configureOutput({
      writeOut: (text) => world.stdout.write(text),
      writeErr: (text) => world.stderr.write(text),
      outputError: (text, write) => write(`packetweave: ${oneLine(text.replace(/^error: /, ''))}\n`),
    });
  hostCommands(program, world);
  clusterCommands(program, world);
  networkCommands(program, world);
  runCommand(program, world);
  containerCommands(program, world);
  lookCommands(program, world);
  return program;
}
