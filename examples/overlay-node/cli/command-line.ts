/** From what was typed to the exit code. */
import { CommanderError } from 'commander';
import { makeProgram } from './program.ts';
import { Session } from './session.ts';
import { UsageError, type World } from './world.ts';

const FAILED = 1;
const USAGE = 2;
/** Whatever keeps `run` from running a command, so that the command's own codes are told from it; as in Docker. */
const RUN_FAILED = 125;

export async function commandLine(typed: readonly string[], world: World): Promise<number> {
  try {
    await makeProgram(world).parseAsync(typed, { from: 'user' });
    return world.exitCode;
  } catch (error) {
    if (error instanceof CommanderError) {
      // It has been told already: the error, the help that was asked for, or the help of a command without an end.
      return error.exitCode === 0 ? 0 : failureCode(world, USAGE);
    }
    new Session(world, {}).complain(error);
    return failureCode(world, error instanceof UsageError ? USAGE : FAILED);
  }
}

const failureCode = ({ command }: World, code: number) => (command === 'run' ? RUN_FAILED : code);
