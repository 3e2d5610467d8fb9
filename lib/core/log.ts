/** Where events that people should see go. Never called per packet. pino and console both fit. */
export interface Log {
  debug(message: string): void;
  info(message: string): void;
  warn(message: string): void;
  error(message: string): void;
}

/** Says nothing. */
export const silent: Log = { debug() {}, info() {}, warn() {}, error() {} };
