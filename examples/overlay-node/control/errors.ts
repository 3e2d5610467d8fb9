/** What goes wrong in a way that somebody can do something about. */

/** Stable, for programs: the sentence is for people. */
export type ErrorCode =
  | 'INVALID' // what was asked for makes no sense
  | 'NOT_FOUND'
  | 'CONFLICT' // it is there already, or in use
  | 'FULL' // no address, VNI or port is left
  | 'FORBIDDEN' // not attachable, wrong token
  | 'AWAY' // the store cannot be reached: nothing was changed
  | 'NOT_JOINED' // neither init nor join was said
  | 'CORRUPT' // the store holds what is not ours under our keys
  | 'VERSION'; // somebody speaks another version

export class ControlError extends Error {
  override readonly name = 'ControlError';
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string) {
    super(message);
    this.code = code;
  }
}
