/**
 * What can be wrong with the shape of a header. A codec's `check` answers with one of these small numbers
 * and never throws: refusing costs about a nanosecond, an exception microseconds.
 */

/** A small integer: {@link OK} or one of the reasons below. */
export type Fault = number;

/** Every accessor of the codec is safe on this header. */
export const OK = 0;
/** The frame ends before the fixed part of the header does. */
export const SHORT = 1;
/** The header is whole, but a length in it claims more bytes than the frame has. */
export const TRUNCATED = 2;
/** The version field names another protocol or version. */
export const VERSION = 3;
/** A length field contradicts the header itself (smaller than the header, not a multiple, out of range). */
export const LENGTH = 4;
/** A type, hardware or format field has a value that this codec does not speak. */
export const TYPE = 5;
/** Options, extension headers or chunks that overrun, repeat or are not well formed. */
export const OPTIONS = 6;
/** More layers or extension headers than the bound of the walk. */
export const TOO_DEEP = 7;

/** Sentences for people, indexed by fault. */
export const FAULTS: readonly string[] = [
  'ok',
  'the frame ends inside the header',
  'a length in the header claims more bytes than there are',
  'the version is not the one expected',
  'a length field contradicts the header',
  'a type field has a value that is not understood',
  'options or extension headers are malformed',
  'there are more nested headers than are followed',
];
