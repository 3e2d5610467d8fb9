/** Errors as CNI has them: a number that the runtime looks at, and sentences for people (CNI 1.1.0, "Error"). */
import { NoDaemonError } from '../cli/client.ts';
import { ControlError, type ErrorCode } from '../control/errors.ts';

/** Up to 99 they are the specification's, from 100 on our own; 999 is what the runtimes' own plugins have for the rest. */
export const INCOMPATIBLE = 1;
export const UNSUPPORTED_FIELD = 2;
export const NO_CONTAINER = 3;
export const BAD_ENVIRONMENT = 4;
export const IO_FAILURE = 5;
export const NOT_JSON = 6;
export const BAD_CONFIG = 7;
export const TRY_AGAIN = 11;
export const NOT_AVAILABLE = 50;
/** Not available, and what is attached already may be cut off, too. */
export const CUT_OFF = 51;
/** A name, an address, a port or a device is somebody's already. */
export const IN_USE = 100;
/** No address or port is left. */
export const FULL = 101;
/** The store holds what this version does not read. */
export const UNREADABLE = 102;
/** CHECK: the daemon does not know the attachment. */
export const NOT_ATTACHED = 103;
/** CHECK: device, address or route is not as it was. */
export const BROKEN = 104;
export const INTERNAL = 999;

export class CniError extends Error {
  override readonly name = 'CniError';
  readonly code: number;
  /** More of it, or empty. */
  readonly details: string;

  constructor(code: number, message: string, details = '') {
    super(message);
    this.code = code;
    this.details = details;
  }
}

const REFUSED: Readonly<Record<ErrorCode, number>> = {
  INVALID: BAD_CONFIG,
  NOT_FOUND: BAD_CONFIG,
  FORBIDDEN: BAD_CONFIG,
  CONFLICT: IN_USE,
  FULL,
  AWAY: TRY_AGAIN,
  NOT_JOINED: TRY_AGAIN,
  CORRUPT: UNREADABLE,
  VERSION: UNREADABLE,
};

/** Whatever went wrong as an error of CNI. */
export function cniError(error: unknown): CniError {
  if (error instanceof CniError) return error;
  const { message } = error as Error;
  if (error instanceof ControlError) return new CniError(REFUSED[error.code] ?? INTERNAL, message);
  return new CniError(error instanceof NoDaemonError ? IO_FAILURE : INTERNAL, message);
}
