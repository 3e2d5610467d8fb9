/** The daemon as a process: its sockets, its signals, its end. */
import { checkSocket, serveControl, serveMetrics } from '../api/server.ts';
import { NodeDaemon } from './daemon.ts';
import { makeLogger } from './log.ts';
import type { DaemonOptions } from './options.ts';

/** Milliseconds that an orderly end may take. */
const PATIENCE = 15_000;

/** Runs until a signal ends it. Rejects with why it could not begin, or could not go on. */
export async function runDaemon(options: DaemonOptions): Promise<void> {
  const log = makeLogger(options.logLevel);
  // Before anything on this host is touched: another daemon may be at work.
  await checkSocket(options.socket);
  const daemon = await NodeDaemon.open(options, log);
  const servers: { close(): Promise<void> }[] = [];
  const end = new Promise<Error | null>((resolve) => {
    daemon.onFailure = (error) => resolve(error);
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => resolve(null));
  });
  try {
    servers.push(await serveControl(daemon, options.socket));
    if (options.metrics !== null) servers.push(await serveMetrics(daemon, options.metrics));
    log.info({ socket: options.socket }, 'ready');
    const failure = await end;
    if (failure !== null) throw failure;
    log.info('ending');
  } finally {
    setTimeout(() => process.exit(1), PATIENCE).unref();
    for (const server of servers) await server.close();
    await daemon.close();
  }
}
