/** Versions of the specification that are spoken, oldest first. */
import { CniError, INCOMPATIBLE } from './errors.ts';

export const VERSIONS = ['0.3.1', '0.4.0', '1.0.0', '1.1.0'] as const;
export type Version = (typeof VERSIONS)[number];
export const NEWEST: Version = '1.1.0';

export function isVersion(text: unknown): text is Version {
  return VERSIONS.some((version) => version === text);
}

/** Whether a version has what began with another. */
export function atLeast(version: Version, least: Version): boolean {
  return VERSIONS.indexOf(version) >= VERSIONS.indexOf(least);
}

/** A configuration's version. Throws INCOMPATIBLE where it is not spoken; without one it is 0.1.0. */
export function checkVersion(asked = '0.1.0'): Version {
  if (isVersion(asked)) return asked;
  const details = `config is "${asked}", plugin supports ${VERSIONS.join(', ')}`;
  throw new CniError(INCOMPATIBLE, 'incompatible CNI versions', details);
}
