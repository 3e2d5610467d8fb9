/**
 * The programs that a stage starts, in the order of their start. They are ended by their ids: politely, then,
 * where that took too long, not.
 */
import { type ChildProcess, spawn } from 'node:child_process';

/** Characters kept of what a program says. */
const KEPT = 1 << 22;
/** Milliseconds that a program has for ending by itself. */
const GRACE = 5_000;

export interface Outcome {
  /** Null where a signal ended it. */
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** One running program. */
export class Program {
  readonly name: string;
  readonly pid: number;
  /** Settles when it has ended, however that came. */
  readonly ended: Promise<Outcome>;
  readonly #child: ChildProcess;
  #stdout = '';
  #stderr = '';
  #running = true;

  constructor(name: string, argv: readonly string[], env: NodeJS.ProcessEnv = {}) {
    const [command, ...args] = argv;
    const child = spawn(command, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...env },
    });
    this.name = name;
    this.#child = child;
    this.pid = child.pid ?? 0;
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      this.#stdout = (this.#stdout + text).slice(-KEPT);
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr = (this.#stderr + text).slice(-KEPT);
    });
    this.ended = new Promise((resolve) => {
      const end = (code: number | null) => {
        this.#running = false;
        resolve({ code, stdout: this.#stdout, stderr: this.#stderr });
      };
      child.once('close', end);
      child.once('error', (error) => {
        this.#stderr += error.message;
        end(null);
      });
    });
  }

  get running(): boolean {
    return this.#running;
  }

  /** The last lines that it said, for a message. */
  get lastWords(): string {
    return `${this.#stdout}\n${this.#stderr}`.trim().split('\n').slice(-5).join('\n');
  }

  /** Waits until a line of its output matches. Throws where it ends before, or after `ms`. */
  async line(pattern: RegExp, ms = 20_000): Promise<string> {
    for (const end = performance.now() + ms; performance.now() < end && this.#running; ) {
      const line = this.#stdout.split('\n').find((text) => pattern.test(text));
      if (line !== undefined) return line;
      await sleep(20);
    }
    throw new Error(`${this.name} ${this.#running ? 'is not ready' : 'has ended'}: ${this.lastWords}`);
  }

  signal(name: 'SIGTERM' | 'SIGKILL'): void {
    if (this.#running) this.#child.kill(name);
  }
}

export class Programs {
  readonly #all = new Set<Program>();
  #killed = false;

  start(name: string, argv: readonly string[], env?: NodeJS.ProcessEnv): Program {
    if (this.#killed) throw new Error(`${name} is not started: all have been ended`);
    const program = new Program(name, argv, env);
    this.#all.add(program);
    program.ended.then(() => this.#all.delete(program));
    return program;
  }

  /** Waits for a program, and ends it after `ms`. */
  async finish(program: Program, ms: number): Promise<Outcome> {
    const timer = setTimeout(() => program.signal('SIGKILL'), ms);
    const outcome = await program.ended;
    clearTimeout(timer);
    return outcome;
  }

  /** Ends all, the last one first. */
  async end(): Promise<void> {
    for (const program of [...this.#all].reverse()) {
      program.signal('SIGTERM');
      await this.finish(program, GRACE);
    }
  }

  /** Ends all at once. Who cannot wait for the promise need not. */
  async kill(): Promise<void> {
    this.#killed = true;
    const all = [...this.#all];
    for (const program of all) program.signal('SIGKILL');
    await Promise.all(all.map(({ ended }) => ended));
  }
}

export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
