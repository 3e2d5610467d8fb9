/**
 * Who may speak with the store: TLS with pre-shared keys (RFC 4279, RFC 5489), so that both sides prove that they know
 * the key of an identity, and no certificate is needed. A host that joins is `token:<token id>` with the join key; a node
 * is `node:<node id>` with a key of its own, which the server derives and so need not keep.
 *
 * TLS 1.2 only: Node has no external pre-shared keys for TLS 1.3. ECDHE gives forward secrecy: a key that becomes known
 * later opens nothing that was recorded. The session is never resumed, since a resumed one would not ask for an identity.
 */
import { constants, hkdfSync } from 'node:crypto';
import type { SecureContextOptions } from 'node:tls';
import { ControlError } from '../errors.ts';

export type Identity =
  | { readonly type: 'token'; readonly id: string }
  | { readonly type: 'node'; readonly id: string };

export const tokenIdentity = (id: string): string => `token:${id}`;
export const nodeIdentity = (id: string): string => `node:${id}`;

/** Null for what is neither. */
export function parseIdentity(text: string): Identity | null {
  if (/^token:[0-9a-f]{8}$/.test(text)) return { type: 'token', id: text.slice(6) };
  return text.startsWith('node:') && isNodeId(text.slice(5)) ? { type: 'node', id: text.slice(5) } : null;
}

/** Whether it is an id of a node: 12 hexadecimal digits. */
export function isNodeId(id: unknown): id is string {
  return typeof id === 'string' && /^[0-9a-f]{12}$/.test(id);
}

/** A node's own key: HKDF-SHA-256 (RFC 5869) of the store's master key, with the node's id as info. 32 bytes. */
export function nodeKey(master: Buffer, node: string): Buffer {
  return Buffer.from(hkdfSync('sha256', master, 'packetweave node', node, 32));
}

/** Of both sides. The second cipher is for machines whose OpenSSL has no ChaCha20. */
export const tlsOptions: SecureContextOptions = {
  minVersion: 'TLSv1.2',
  maxVersion: 'TLSv1.2',
  ciphers: 'ECDHE-PSK-CHACHA20-POLY1305:ECDHE-PSK-AES256-CBC-SHA384',
  honorCipherOrder: true,
  secureOptions: constants.SSL_OP_NO_TICKET | constants.SSL_OP_NO_RENEGOTIATION,
};

/** The alerts by which a server says that an identity or its key is not right (RFC 5246 7.2.2, RFC 4279 2). */
const refusals = /BAD_RECORD_MAC|DECRYPT_ERROR|UNKNOWN_PSK_IDENTITY/;

/** What it means that no connection came about. `who` is what was shown; `at` is HOST:PORT. */
export function connectError(error: NodeJS.ErrnoException, at: string, who: Identity['type']): ControlError {
  const code = error.code ?? '';
  if (refusals.test(code)) return new ControlError('FORBIDDEN', refusal(at, who));
  if (code.startsWith('ERR_SSL_') || code === 'EPROTO') {
    const advice = 'check the port; Docker Swarm uses 2377 as well';
    return new ControlError('AWAY', `${at} answers, but is not the store of a cluster: ${advice}`);
  }
  const advice = 'check the address, firewalls, and that the daemon runs there';
  return new ControlError('AWAY', `nobody answers at ${at} (${error.message || code}): ${advice}`);
}

function refusal(at: string, who: Identity['type']): string {
  if (who === 'token') {
    return `${at} refuses the join token, it is wrong or old: ask for it there with "packetweave token"`;
  }
  return `${at} refuses the key of this node, it carries another cluster: leave and join again`;
}
