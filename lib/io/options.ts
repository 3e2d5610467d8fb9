/** Checks of what ports are made with. */

/** Returns an integer `least..most`; throws a RangeError that names the field for anything else. */
export function integer(field: string, value: number, least: number, most: number): number {
  if (Number.isInteger(value) && value >= least && value <= most) return value;
  throw new RangeError(`"${field}" expected an integer ${least}..${most}, got ${value}`);
}
