/** Notices that a member has fallen silent: streams of it would wait for ever, so they are aborted. */
import type { EtcdClient, Results } from './etcd-client.ts';
import { type Address, showAddress } from './etcd-http.ts';

/** Milliseconds between an answer and the next question. */
const interval = 2000;

interface Member {
  readonly streams: Set<Results>;
  timer: NodeJS.Timeout;
}

export class Pulse {
  readonly #client: EtcdClient;
  /** By address: those that have streams. */
  readonly #members = new Map<string, Member>();

  constructor(client: EtcdClient) {
    this.#client = client;
  }

  /** Looks after a stream until the function that is returned is called. */
  follow(stream: Results): () => void {
    const name = showAddress(stream.address);
    const member = this.#members.get(name) ?? this.#begin(name, stream.address);
    member.streams.add(stream);
    return () => {
      member.streams.delete(stream);
      if (member.streams.size > 0 || this.#members.get(name) !== member) return;
      clearTimeout(member.timer);
      this.#members.delete(name);
    };
  }

  #begin(name: string, address: Address): Member {
    const beat = async () => {
      if (!(await this.#client.beats(address)))
        for (const stream of member.streams) stream.abort(`${name} has fallen silent`);
      if (member.streams.size > 0) member.timer = setTimeout(beat, interval).unref();
    };
    const member: Member = { streams: new Set(), timer: setTimeout(beat, interval).unref() };
    this.#members.set(name, member);
    return member;
  }
}
