/** The log: pino, as the library takes it. */
import type { Log } from 'packetweave';
import { type Logger, pino } from 'pino';

export type { Logger } from 'pino';

export function makeLogger(level: string): Logger {
  return pino({ level, base: null, timestamp: pino.stdTimeFunctions.isoTime });
}

/** The library's words in the same log. */
export function libraryLog(logger: Logger): Log {
  return {
    debug: (message) => logger.debug(message),
    info: (message) => logger.info(message),
    warn: (message) => logger.warn(message),
    error: (message) => logger.error(message),
  };
}
