/**
 * Two hosts and a wire: the namespaces `a` and `b`, joined by a veth with the addresses 192.0.2.1 and
 * 192.0.2.2 and an MTU of 1500. A path lays its devices into the two; iperf3 and ping run between 10.0.0.1 in
 * `a` and 10.0.0.2 in `b`, beside the underlay, so that every path is measured the same way.
 *
 * A stage holds one path once. Whatever ends the bench, a signal too, takes away all that the stage made.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Namespaces } from '../../test/gen/netns.ts';
import { type Outcome, type Program, Programs, sleep } from './programs.ts';

export type Host = 'a' | 'b';
export const HOSTS: readonly Host[] = ['a', 'b'];
/** Addresses of the wire. */
export const UNDERLAY = { a: '192.0.2.1', b: '192.0.2.2' } as const;
/** Addresses inside the path that is measured. */
export const INSIDE = { a: '10.0.0.1', b: '10.0.0.2' } as const;
/** The wire's interface, in both. */
export const WIRE = 'eth0';

export function other(host: Host): Host {
  return host === 'a' ? 'b' : 'a';
}

/** Stages that still have something to take away. */
const standing = new Set<Stage>();
let stopping = false;

/** Whether a signal has ended the bench: what fails from then on is of no interest. */
export function interrupted(): boolean {
  return stopping;
}

/** Takes all stages away, waits a moment for the end of their programs, and leaves. */
async function stop(signal: number): Promise<void> {
  if (stopping) return;
  stopping = true;
  const ended = [...standing].map((stage) => stage.kill());
  await Promise.race([Promise.all(ended), sleep(2_000)]);
  process.exit(128 + signal);
}

process.on('exit', () => {
  for (const stage of standing) stage.abandon();
});
process.on('SIGHUP', () => stop(1));
process.on('SIGINT', () => stop(2));
process.on('SIGTERM', () => stop(15));

export class Stage {
  readonly #programs = new Programs();
  readonly #daemons: Program[] = [];
  readonly #ends: (() => void)[] = [];
  readonly #namespaces: Namespaces;

  constructor() {
    standing.add(this);
    this.#namespaces = new Namespaces({ teardown: (end) => this.#ends.push(end) });
    for (const host of HOSTS) this.#namespaces.add(host);
    this.#namespaces.cable('a', WIRE, 'b', WIRE);
    for (const host of HOSTS) this.sh(host, `ip addr add ${UNDERLAY[host]}/24 dev ${WIRE}`);
  }

  /** The daemons of the path, those of both hosts. */
  get daemons(): readonly Program[] {
    return this.#daemons;
  }

  /** Runs a command of the setup and returns what it printed. Throws where it fails. */
  sh(host: Host, command: string): string {
    return this.#namespaces.run(host, command);
  }

  /** Gives a device the address inside, and puts it up. */
  settle(host: Host, device: string): void {
    this.sh(host, `ip addr add ${INSIDE[host]}/24 dev ${device}`);
    this.sh(host, `ip link set ${device} up`);
  }

  /** Starts a program that belongs to the measurement. */
  start(host: Host, argv: readonly string[]): Program {
    return this.#programs.start(argv[0], this.#within(host, argv));
  }

  /** Runs a program to its end, which comes after `ms` at the latest. */
  run(host: Host, argv: readonly string[], ms: number): Promise<Outcome> {
    return this.#programs.finish(this.start(host, argv), ms);
  }

  /** Starts a program that carries the path: its processor time and its memory are the path's. */
  daemon(host: Host, argv: readonly string[], env?: NodeJS.ProcessEnv): Program {
    const program = this.#programs.start(`${argv[0]} in ${host}`, this.#within(host, argv), env);
    this.#daemons.push(program);
    return program;
  }

  /** A folder that is gone after the stage. */
  folder(): string {
    const folder = mkdtempSync(join(tmpdir(), 'packetweave-stage-'));
    this.atEnd(() => rmSync(folder, { recursive: true, force: true }));
    return folder;
  }

  /** Calls back when the stage is taken away, after its programs have ended. The last call comes first. */
  atEnd(end: () => void): void {
    this.#ends.push(end);
  }

  /** Waits until `a` reaches `b` inside. Throws where that takes 20 seconds, or a daemon has ended. */
  async reach(): Promise<void> {
    for (let i = 0; i < 40; i++) {
      const dead = this.#daemons.find(({ running }) => !running);
      if (dead !== undefined) throw new Error(`${dead.name} has ended: ${dead.lastWords}`);
      const started = performance.now();
      const { code } = await this.run('a', ['ping', '-n', '-c', '1', '-W', '0.5', INSIDE.b], 2_000);
      if (code === 0) return;
      await sleep(Math.max(0, 500 - (performance.now() - started)));
    }
    throw new Error(`${INSIDE.b} does not answer. ${this.#daemons.map((d) => d.lastWords).join('\n')}`);
  }

  /** Ends the programs in their own way, and takes everything away. */
  async close(): Promise<void> {
    await this.#programs.end();
    this.abandon();
  }

  /** Ends the programs at once. */
  kill(): Promise<void> {
    return this.#programs.kill();
  }

  /** Takes everything away at once. */
  abandon(): void {
    void this.#programs.kill();
    for (const end of this.#ends.splice(0).reverse()) {
      try {
        end();
      } catch (error) {
        console.error(`left behind: ${error}`); // and on: the others go
      }
    }
    standing.delete(this);
  }

  #within(host: Host, argv: readonly string[]): readonly string[] {
    // `ip netns exec` becomes the program: the process has the id that we know.
    return ['ip', 'netns', 'exec', this.#namespaces.real(host), ...argv];
  }
}
