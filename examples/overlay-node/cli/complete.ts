/** What can come next on a command line: from the tree of commands, and from the daemon for names. */
import type { Argument, Command, Option } from 'commander';
import type { Container } from '../api/api.ts';
import type { Network, NodeState } from '../control/model.ts';
import { Client } from './client.ts';
import { socketOf } from './session.ts';
import type { World } from './world.ts';

export interface Candidate {
  readonly value: string;
  readonly text: string;
}

/** What can come: these, and what is called by a kind: `network`, `container`, `node`, `file`, `dir`, `command`. */
export interface Completion {
  readonly candidates: readonly Candidate[];
  readonly kinds: readonly string[];
  /** What the word begins with so far, without an option's name. */
  readonly prefix: string;
  /** `--host`, where it was said. */
  readonly host: string | undefined;
}

const KINDS = ['network', 'container', 'node', 'file', 'dir', 'command'];
/** What the shell completes itself. */
const SHELL = ['file', 'dir', 'command'];

/** Names in brackets tell what a value is: `<network|container|underlay>`; what is not a kind is a word to type. */
function valuesOf(flags: string): { kinds: string[]; words: string[] } {
  const names = (/[<[](.+?)(?:\.\.\.)?[>\]]/.exec(flags)?.[1] ?? '').split('|');
  const kinds = names.filter((name) => KINDS.includes(name));
  // One that stands alone is what people put something else for.
  return { kinds, words: names.length > 1 ? names.filter((name) => !KINDS.includes(name)) : [] };
}

/** No one waits longer than this for a completion, in ms. */
const PATIENCE = 1000;

const takesValue = (option: Option) => option.required || option.optional;
const words = (values: readonly string[]): Candidate[] => values.map((value) => ({ value, text: '' }));

/** Walks the tree of commands along the words that are complete. */
class Walk {
  command: Command;
  /** How many arguments the command has already. */
  arguments = 0;
  /** The option whose value comes next. */
  option: Option | undefined;
  /** Whether nothing is an option any more. */
  operands = false;
  host: string | undefined;

  constructor(program: Command) {
    this.command = program;
  }

  step(word: string): void {
    if (this.option !== undefined) this.#value(word);
    else if (this.operands) this.arguments++;
    else if (word === '--') this.operands = true;
    else if (word.startsWith('-') && word !== '-') this.#option(word);
    else this.#operand(word);
  }

  #value(word: string): void {
    if (this.option?.long === '--host') this.host = word;
    this.option = undefined;
  }

  #option(word: string): void {
    const [name, value] = word.split('=', 2);
    const option = this.find(name);
    if (option === undefined || !takesValue(option)) return;
    this.option = option;
    if (value !== undefined) this.#value(value);
  }

  #operand(word: string): void {
    const next =
      this.arguments === 0 ? this.command.commands.find((command) => isCalled(command, word)) : undefined;
    if (next === undefined) this.arguments++;
    else this.command = next;
    // What follows a command to run is that one's.
    this.operands =
      next === undefined && this.command.registeredArguments[this.arguments - 1]?.name() === 'command';
  }

  find(name: string): Option | undefined {
    const { options } = this.command;
    return options.find(({ long, short }) => name === long || name === short);
  }

  get argument(): Argument | undefined {
    const { registeredArguments: all } = this.command;
    const last = all.at(-1);
    return all[this.arguments] ?? (last?.variadic ? last : undefined);
  }
}

const isCalled = (command: Command, word: string) =>
  command.name() === word || command.aliases().includes(word);

/** `--network`, `=`, `a`, as bash has it, is `--network=a`. */
function joined(words: readonly string[]): string[] {
  const all: string[] = [];
  for (let i = 0; i < words.length; i++) {
    if (words[i] === '=' && all.at(-1)?.startsWith('--')) all.push(`${all.pop()}=${words[++i] ?? ''}`);
    else all.push(words[i]);
  }
  return all;
}

/** What can come instead of the last word. */
export function complete(program: Command, given: readonly string[]): Completion {
  const all = joined(given);
  const current = all.pop() ?? '';
  const walk = new Walk(program);
  for (const word of all) walk.step(word);
  const { host } = walk;
  const values = (flags: string, prefix: string): Completion => {
    const { kinds, words: fixed } = valuesOf(flags);
    return { kinds, prefix, host, candidates: words(fixed) };
  };
  if (walk.option !== undefined) return values(walk.option.flags, current);
  if (!walk.operands && current.startsWith('-')) {
    const at = current.indexOf('=');
    const option = at < 0 ? undefined : walk.find(current.slice(0, at));
    if (option !== undefined) return values(option.flags, current.slice(at + 1));
    return { candidates: optionsOf(walk.command), kinds: [], prefix: current, host };
  }
  const { argument } = walk;
  const rest = values(argument === undefined ? '' : `<${argument.name()}>`, current);
  const below = walk.arguments === 0 && !walk.operands ? commandsOf(walk.command) : [];
  return { ...rest, candidates: [...below, ...rest.candidates] };
}

function optionsOf(command: Command): Candidate[] {
  return command
    .createHelp()
    .visibleOptions(command)
    .map(({ long, short, description }) => {
      return { value: long ?? short ?? '', text: description };
    });
}

function commandsOf(command: Command): Candidate[] {
  const visible = command.createHelp().visibleCommands(command);
  return visible.map((below) => ({ value: below.name(), text: below.description() }));
}

/** The names of a kind, as the daemon knows them. */
async function ask(kind: string, host: string | undefined, env: World['env']): Promise<Candidate[]> {
  const client = new Client(socketOf(host, env), PATIENCE);
  switch (kind) {
    case 'network':
      return (await client.get<Network[]>(['networks'])).map(({ name }) => ({
        value: name,
        text: 'network',
      }));
    case 'container': {
      const containers = await client.get<Container[]>(['containers'], { all: true });
      return containers.map(({ name, state }) => ({ value: name, text: `container, ${state}` }));
    }
    case 'node': {
      const nodes = await client.get<NodeState[]>(['nodes']);
      return nodes.map(({ name, address }) => ({ value: name, text: `node ${address}` }));
    }
    default:
      return [];
  }
}

/** What `packetweave __complete` prints: see completion.ts. A daemon that does not answer has no names. */
export async function answer(program: Command, given: readonly string[], world: World): Promise<string> {
  const { candidates, kinds, prefix, host } = complete(program, given);
  const shell = kinds.find((kind) => SHELL.includes(kind));
  if (shell !== undefined) return `:${shell}`;
  const named = await Promise.all(kinds.map((kind) => ask(kind, host, world.env).catch(() => [])));
  const all = [...candidates, ...named.flat()].filter(({ value }) => value.startsWith(prefix));
  return all.map(({ value, text }) => `${value}\t${text}`).join('\n');
}
