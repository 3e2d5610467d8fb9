/** What became of a packet in ESP: a small number, never an exception. */

/** A small integer: an index into {@link RESULTS}. */
export type Result = number;

/** Sealed, or opened: the payload may be used. */
export const OK = 0;
/** Opened, and to be discarded silently: the next header is 59 (RFC 4303 section 2.6). */
export const DUMMY = 1;
/** The packet is shorter than ESP is, or does not end on a multiple of four bytes. */
export const MALFORMED = 2;
/** The sequence number was seen before. */
export const REPLAYED = 3;
/** The sequence number is left of the window: whether it was seen before is not known. */
export const TOO_OLD = 4;
/** The packet is not what the peer sent, or was sealed with another key. */
export const BAD_ICV = 5;
/** The packet is the peer's own, and its padding is not what it should be. */
export const BAD_TRAILER = 6;
/** All sequence numbers are used: nothing leaves before there is a new key. */
export const EXHAUSTED = 7;
/** There is no room in front of or behind the payload. */
export const NO_ROOM = 8;
/** The key was closed. */
export const NO_KEY = 9;

/** Name (the counter's) and sentence of every result, in the order of their numbers. */
export const RESULTS: readonly { readonly name: string; readonly text: string }[] = [
  { name: 'ok', text: 'ok' },
  { name: 'esp-dummy', text: 'the packet is a dummy that hides the amount of traffic' },
  { name: 'esp-malformed', text: 'the ESP packet is too short or not a multiple of four bytes' },
  { name: 'esp-replayed', text: 'the sequence number was received before' },
  { name: 'esp-too-old', text: 'the sequence number is left of the replay window' },
  { name: 'esp-bad-icv', text: 'the integrity check value is wrong' },
  { name: 'esp-bad-trailer', text: 'the padding is not the one that ESP prescribes' },
  { name: 'esp-exhausted', text: 'the sequence numbers of the security association are used up' },
  { name: 'esp-no-room', text: 'the slot has no room for the ESP header, padding and ICV' },
  { name: 'esp-no-key', text: 'the security association was closed' },
];
