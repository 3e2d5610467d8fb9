/** The daemon. */
import type { DaemonOptions } from './options.ts';

/** Runs until a signal ends it. */
export function runDaemon(_options: DaemonOptions): Promise<void> {
  return Promise.reject(new Error('there is no daemon yet'));
}
