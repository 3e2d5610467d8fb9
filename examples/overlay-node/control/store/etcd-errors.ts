/** What etcd refuses, and what becomes of it here. Codes are those of gRPC. */
import { ControlError } from '../errors.ts';
import { noLease } from './ledger.ts';

/** An attempt that failed at one address, though another attempt may succeed. */
export class Failure extends Error {
  /** Whether the request may have been done nevertheless. */
  readonly applied: 'no' | 'maybe';
  /** `pass`: it goes by in a moment. `token`: the request needs a fresh one. */
  readonly cure: 'none' | 'pass' | 'token';

  constructor(message: string, applied: Failure['applied'], cure: Failure['cure'] = 'none') {
    super(message);
    this.applied = applied;
    this.cure = cure;
  }
}

/** The revision that was asked for was compacted away. */
export class Compacted extends Error {}

/** As the gateway writes it; etcd 3.4 has both texts. */
export interface Refusal {
  readonly code: number;
  readonly message: string;
}

const invalidArgument = 3;
const notFound = 5;
const permissionDenied = 7;
const resourceExhausted = 8;
const outOfRange = 11;
const unavailable = 14;
const unauthenticated = 16;

/** Refusals that come before anything was proposed to the cluster. */
const before = /no leader|not leader|too many requests|not supported for learner|not capable/;

/** The token is not known any more, or none was sent. */
const staleToken = /invalid auth token|revision of auth store is old|user name is empty/;

/** The error to throw: a {@link Failure} where it is worth another attempt, else what the caller sees. */
export function refusalError({ code, message }: Refusal): Error {
  if (code === unauthenticated || staleToken.test(message)) return new Failure(message, 'no', 'token');
  if (code === permissionDenied || /authentication failed/.test(message)) return forbidden(message);
  if (code === notFound && /lease not found/.test(message)) return noLease();
  if (code === outOfRange && /compacted/.test(message)) return new Compacted(message);
  if (/database space exceeded/.test(message))
    return new ControlError(
      'AWAY',
      `the database of etcd is full (${message}): compact and defragment it, then disarm its alarm`,
    );
  if (code === invalidArgument) return new ControlError('INVALID', `etcd refuses: ${message}`);
  if (before.test(message)) return new Failure(message, 'no', 'pass');
  return new Failure(message, 'maybe', passes(code) ? 'pass' : 'none');
}

function passes(code: number): boolean {
  return code === unavailable || code === resourceExhausted || code === outOfRange;
}

export function forbidden(message: string): ControlError {
  const hint = /user name is empty/.test(message)
    ? 'it asks for a user: etcds://USER:PASSWORD@HOST:PORT'
    : 'check user and password, and what this user may read and write';
  return new ControlError('FORBIDDEN', `etcd refuses (${message}): ${hint}`);
}
