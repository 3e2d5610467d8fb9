/** Real etcd members on the underlay of scenarios. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Test } from 'tap';
import { type Hosts, type Outcome, run, UNDERLAY, until } from './hosts.ts';

/** Port of the first member for clients; each has two. */
const FIRST = 2379;

class Member {
  readonly client: string;
  readonly #underlay: string;
  readonly #args: readonly string[];
  #process: ChildProcess | null = null;

  constructor(underlay: string, client: string, args: readonly string[]) {
    this.#underlay = underlay;
    this.client = client;
    this.#args = args;
  }

  start(): void {
    const line = [`--net=/run/netns/${this.#underlay}`, 'etcd', ...this.#args];
    this.#process = spawn('nsenter', line, { stdio: 'ignore' });
  }

  async kill(): Promise<void> {
    const child = this.#process;
    this.#process = null;
    if (child === null || child.exitCode !== null || child.signalCode !== null) return;
    const exited = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    await exited;
  }
}

/** What a member says of itself. */
interface MemberStatus {
  readonly Endpoint: string;
  readonly Status: {
    readonly leader: number;
    readonly header: { readonly member_id: number; readonly revision: number };
  };
}

export class EtcdMembers {
  readonly #hosts: Hosts;
  readonly #members: readonly Member[];

  /** Starts members of one cluster and waits until they answer. */
  static async start(t: Test, hosts: Hosts, count: number): Promise<EtcdMembers> {
    const folder = mkdtempSync(join(tmpdir(), 'packetweave-etcd-'));
    const members = new EtcdMembers(hosts, folder, count);
    t.teardown(async () => {
      await members.stop();
      rmSync(folder, { recursive: true, force: true });
    });
    await members.begin();
    return members;
  }

  private constructor(hosts: Hosts, folder: string, count: number) {
    this.#hosts = hosts;
    const at = (n: number, offset: number) => `http://${UNDERLAY}:${FIRST + 2 * n + offset}`;
    const all = Array.from({ length: count }, (_, n) => `m${n}=${at(n, 1)}`).join(',');
    this.#members = Array.from({ length: count }, (_, n) => {
      const args = [
        ['--name', `m${n}`, '--data-dir', join(folder, `m${n}`), '--log-level', 'error'],
        ['--listen-client-urls', at(n, 0), '--advertise-client-urls', at(n, 0)],
        ['--listen-peer-urls', at(n, 1), '--initial-advertise-peer-urls', at(n, 1)],
        ['--initial-cluster', all, '--unsafe-no-fsync'],
      ];
      return new Member(hosts.underlay, at(n, 0), args.flat());
    });
  }

  /** As the command line takes it. */
  get url(): string {
    return `etcd://${this.#members.map(({ client }) => client.slice('http://'.length)).join(',')}`;
  }

  async begin(): Promise<void> {
    for (const member of this.#members) member.start();
    const healthy = async () => (await this.ctl('endpoint', 'health')).code === 0;
    if (!(await until(healthy, 30_000))) throw new Error('etcd does not answer');
  }

  async stop(): Promise<void> {
    await Promise.all(this.#members.map((member) => member.kill()));
  }

  /** Ends the member that leads. */
  async killLeader(): Promise<void> {
    let leader: MemberStatus | undefined;
    // During an election there is none.
    await until(async () => {
      leader = (await this.#status()).find(({ Status }) => Status.leader === Status.header.member_id);
      return leader !== undefined;
    });
    if (leader === undefined) throw new Error('no member of etcd leads');
    const { Endpoint } = leader;
    await this.#members.find(({ client }) => client === Endpoint)!.kill();
  }

  /** Forgets all history. */
  async compact(): Promise<void> {
    let said = 'no member of etcd answers';
    // What is asked of a member that is gone is asked again; it may have been done.
    const done = async () => {
      const [first] = await this.#status();
      if (first === undefined) return false;
      const { revision } = first.Status.header;
      const { code, stderr } = await this.ctl('compaction', '--physical', String(revision));
      said = stderr;
      return code === 0 || stderr.includes('has been compacted');
    };
    if (!(await until(done))) throw new Error(said);
  }

  /** Of the members that answer. */
  async #status(): Promise<readonly MemberStatus[]> {
    const { stdout } = await this.ctl('endpoint', 'status', '-w', 'json');
    return stdout.trim() === '' ? [] : JSON.parse(stdout);
  }

  ctl(...args: readonly string[]): Promise<Outcome> {
    const endpoints = this.#members.map(({ client }) => client).join(',');
    return run(this.#hosts.underlay, 'env', 'ETCDCTL_API=3', 'etcdctl', `--endpoints=${endpoints}`, ...args);
  }
}
