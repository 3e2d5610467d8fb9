/** Tables, times and names as Docker prints them. */
import type { PublishedPort } from '../control/model.ts';

/** Docker's columns: at least this wide, with this much between them. */
const LEAST = 10;
const PADDING = 3;

/** Rows under headings. Colours are put on after the columns have their widths: see `paint`. */
export function table(
  headings: readonly string[],
  rows: readonly (readonly string[])[],
  paint: (cell: string, column: string) => string = (cell) => cell,
): string {
  const widths = headings.map((_, i) => {
    return Math.max(LEAST, ...[headings, ...rows].map((row) => row[i].length + PADDING));
  });
  const line = (row: readonly string[], dress: typeof paint) => {
    const cells = row.map((cell, i) => {
      const room = i === row.length - 1 ? '' : ' '.repeat(widths[i] - cell.length);
      return dress(cell, headings[i]) + room;
    });
    return `${cells.join('').trimEnd()}\n`;
  };
  return line(headings, (cell) => cell) + rows.map((row) => line(row, paint)).join('');
}

const COLOURS = { red: 31, green: 32, yellow: 33 };
export type Paint = (text: string, colour: keyof typeof COLOURS) => string;

/** Colours where they are wanted. */
export function painter(wanted: boolean): Paint {
  return (text, colour) => (wanted ? `\x1b[${COLOURS[colour]}m${text}\x1b[0m` : text);
}

const MINUTE = 60;
const HOUR = 60 * MINUTE;

/** A span in words, as Docker rounds it. */
export function span(seconds: number): string {
  if (seconds < 1) return 'Less than a second';
  if (seconds < 2) return '1 second';
  if (seconds < MINUTE) return `${Math.floor(seconds)} seconds`;
  if (seconds < 2 * MINUTE) return 'About a minute';
  if (seconds < HOUR) return `${Math.floor(seconds / MINUTE)} minutes`;
  // Docker rounds hours.
  const hours = Math.floor(seconds / HOUR + 0.5);
  if (hours === 1) return 'About an hour';
  if (hours < 48) return `${hours} hours`;
  const days = Math.floor(hours / 24);
  if (days < 14) return `${days} days`;
  if (days < 60) return `${Math.floor(days / 7)} weeks`;
  if (days < 730) return `${Math.floor(days / 30)} months`;
  return `${Math.floor(days / 365)} years`;
}

/** `2 minutes ago`; `iso` is ISO 8601, `now` milliseconds since 1970. */
export function ago(iso: string, now: number): string {
  return `${span(Math.max(0, now - Date.parse(iso)) / 1000)} ago`;
}

/** The first 12 digits, by which people know it. */
export const short = (id: string) => id.slice(0, 12);

const range = (first: number, count: number) => (count === 1 ? `${first}` : `${first}-${first + count - 1}`);

/** `127.0.0.1:8080-8081->80-81/tcp`. */
export function portText(port: PublishedPort): string {
  const { hostAddress, published, count, protocol } = port;
  const host = hostAddress === null ? '' : `${hostAddress.includes(':') ? `[${hostAddress}]` : hostAddress}:`;
  return `${host}${range(published, count)}->${range(port.port, count)}/${protocol}`;
}

/** A command in quotes, cut to what a table has room for. */
export function commandText(command: readonly string[], whole = false): string {
  const text = command.join(' ');
  return `"${whole || text.length <= 20 ? text : `${text.slice(0, 19)}…`}"`;
}

const UNITS = ['', 'k', 'M', 'G', 'T'];

/** `1.23M` for 1,234,567. */
export function amount(value: number): string {
  let step = 0;
  let left = value;
  while (left >= 1000 && step < UNITS.length - 1) {
    left /= 1000;
    step++;
  }
  return step === 0 ? String(Math.round(left)) : `${left.toPrecision(3)}${UNITS[step]}`;
}
