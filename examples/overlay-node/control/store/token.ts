/**
 * The join token: what a host must know to become part of a cluster, as one word to type or paste.
 *
 *     PWTKN-1-<cluster, token id>-<join key>-<cluster secret>-<checksum>
 *
 * All in lower-case hexadecimal digits: 16 + 4, 32, 32 and 4 bytes. The checksum is the beginning of the SHA-256 of all
 * that stands before it, so that a slip in typing is told from a token that is out of date.
 */
import { createHash } from 'node:crypto';
import { ControlError } from '../errors.ts';

export interface TokenParts {
  /** Id of the cluster, 32 hexadecimal digits. */
  readonly cluster: string;
  /** 8 hexadecimal digits; another at each rotation. */
  readonly id: string;
  /** Opens the store's port for a host that joins; 32 bytes, another at each rotation. */
  readonly key: Buffer;
  /** What the overlay is encrypted with: 32 bytes in base64. */
  readonly secret: string;
}

const form = /^PWTKN-1-([0-9a-f]{32})([0-9a-f]{8})-([0-9a-f]{64})-([0-9a-f]{64})-([0-9a-f]{8})$/;

/** Throws a ControlError `INVALID` where a part has not its length. */
export function makeToken({ cluster, id, key, secret }: TokenParts): string {
  const text = `PWTKN-1-${cluster}${id}-${key.toString('hex')}-${Buffer.from(secret, 'base64').toString('hex')}`;
  const token = `${text}-${checksum(text)}`;
  if (form.test(token)) return token;
  throw new ControlError('INVALID', 'a part of the token is not as long as it should be');
}

/** Throws a ControlError: `VERSION` for a token of another version, `INVALID` for what was not copied whole. */
export function parseToken(given: string): TokenParts {
  const token = given.trim();
  const [, version] = /^PWTKN-(\d+)-/.exec(token) ?? [];
  if (version === undefined) {
    throw new ControlError(
      'INVALID',
      'a join token begins with PWTKN-1-: copy what "packetweave token" prints',
    );
  }
  if (version !== '1') {
    const advice = 'use the same version of the program on all hosts';
    throw new ControlError(
      'VERSION',
      `the join token has version ${version}, this program knows 1: ${advice}`,
    );
  }
  const [, cluster, id, key, secret, sum] = form.exec(token) ?? [];
  if (sum === undefined) throw new ControlError('INVALID', damage(token));
  if (sum !== checksum(token.slice(0, token.lastIndexOf('-')))) {
    throw new ControlError('INVALID', 'the join token has a typing error: copy it again');
  }
  return {
    cluster: cluster!,
    id: id!,
    key: Buffer.from(key!, 'hex'),
    secret: Buffer.from(secret!, 'hex').toString('base64'),
  };
}

/** Characters of a whole token. */
const whole = 8 + 40 + 1 + 64 + 1 + 64 + 1 + 8;

function damage(token: string): string {
  if (/\s/.test(token)) return 'the join token has a space or a line break within: copy it as one word';
  if (token.length < whole)
    return `the join token is cut off: it has ${token.length} characters, not ${whole}`;
  if (token.length > whole)
    return `the join token is too long: it has ${token.length} characters, not ${whole}`;
  return 'the join token has a typing error: copy it again';
}

function checksum(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 8);
}
