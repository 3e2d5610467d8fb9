/** How a host that has the join token becomes a node that has a key. */
import { Call } from './call.ts';
import { Connection } from './connection.ts';
import { type Answered, place } from './protocol.ts';
import { parseToken } from './token.ts';

export interface EnrollOptions {
  /** Where the store is served. */
  readonly host: string;
  readonly port: number;
  /** As it was printed. */
  readonly token: string;
  /** 12 hexadecimal digits, chosen by this host. */
  readonly nodeId: string;
  /** In ms. */
  readonly timeout?: number;
}

/** The key of a node that joins, 32 bytes; it must write its record `nodes/<id>` within ten minutes. Rejects with a
 * ControlError: `FORBIDDEN` where the token is wrong or old, `CONFLICT` where there is a node with this id, `INVALID`,
 * `VERSION`, `AWAY` where nobody answers. */
export async function enroll(options: EnrollOptions): Promise<Buffer> {
  const { host, port, token, nodeId, timeout = 5000 } = options;
  const { id, key, cluster } = parseToken(token);
  const at = place(host, port);
  const identity = { type: 'token' as const, id };
  const connection = await Connection.open({ host, port, identity, key, cluster, at, timeout, beat: 1000 });
  try {
    const call = new Call('enroll', { node: nodeId }, timeout, at);
    connection.ask(call);
    return Buffer.from(((await call.answer) as Answered<'enroll'>).key, 'base64');
  } finally {
    connection.close();
  }
}
