/** The daemon as a process: its sockets, its signals, its end. */
import { checkSocket, serveControl, serveMetrics } from '../api/server.ts';
import type { DockerPlugin } from '../docker/plugin.ts';
import { NodeDaemon } from './daemon.ts';
import { type Logger, makeLogger } from './log.ts';
import type { DaemonOptions } from './options.ts';
import { StateFolder } from './state.ts';

/** Milliseconds that an orderly end may take. */
const PATIENCE = 15_000;

/** Loaded by those alone who want it. */
async function openPlugin(daemon: NodeDaemon, options: DaemonOptions, log: Logger): Promise<DockerPlugin> {
  const { DockerPlugin } = await import('../docker/plugin.ts');
  const plugin = await DockerPlugin.open({
    socket: options.dockerPlugin!,
    engine: options.dockerEngine,
    state: await StateFolder.open(options.state),
    here: () => daemon.here(),
    log: log.child({ part: 'docker' }),
  });
  daemon.followRunning((running) => plugin.follow(running));
  return plugin;
}

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
    if (options.dockerPlugin !== null) servers.push(await openPlugin(daemon, options, log));
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
