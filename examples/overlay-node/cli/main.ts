/** The program `packetweave`. */
import { commandLine } from './command-line.ts';
import { processWorld } from './world.ts';

// Whoever reads us may have seen enough: `packetweave ps | head -1`.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit();
  throw error;
});

process.exitCode = await commandLine(process.argv.slice(2), processWorld());
