/** What the runtime says in the environment: the command, and which attachment it is about. */
import { BAD_ENVIRONMENT, CniError } from './errors.ts';

export const COMMANDS = ['ADD', 'DEL', 'CHECK', 'GC', 'VERSION', 'STATUS'] as const;
export type Command = (typeof COMMANDS)[number];

export type Env = Readonly<Record<string, string | undefined>>;

/** One attachment, as the runtime names it. */
export interface Place {
  /** The runtime's id of the container. */
  readonly container: string;
  /** Path of the network namespace; null where it is gone. */
  readonly namespace: string | null;
  /** Name of the device in it. */
  readonly device: string;
  /** CNI_ARGS. */
  readonly args: Readonly<Record<string, string>>;
}

/** Arguments that mean something to us, and those that every runtime may give. */
const KNOWN = [
  'IgnoreUnknown',
  'IP',
  'MAC',
  'K8S_POD_NAME',
  'K8S_POD_NAMESPACE',
  'K8S_POD_UID',
  'K8S_POD_INFRA_CONTAINER_ID',
];

export function commandOf(env: Env): Command {
  const asked = required(env, ['CNI_COMMAND']).CNI_COMMAND;
  const command = COMMANDS.find((one) => one === asked);
  if (command !== undefined) return command;
  throw new CniError(BAD_ENVIRONMENT, `CNI_COMMAND expected one of ${COMMANDS.join(', ')}, got "${asked}"`);
}

/** The attachment that ADD, CHECK and DEL are about. For DEL the namespace may be gone. */
export function placeOf(command: Command, env: Env): Place {
  const names = ['CNI_CONTAINERID', 'CNI_IFNAME', ...(command === 'DEL' ? [] : ['CNI_NETNS'])];
  const { CNI_CONTAINERID: container, CNI_IFNAME: device } = required(env, names);
  const namespace = env.CNI_NETNS || null;
  if (!/^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/.test(container)) {
    throw new CniError(BAD_ENVIRONMENT, `CNI_CONTAINERID has characters that no id has: "${container}"`);
  }
  if (!/^(?!\.{1,2}$)[^\s/:]{1,15}$/.test(device)) {
    throw new CniError(BAD_ENVIRONMENT, `CNI_IFNAME expected 1 to 15 characters, got "${device}"`);
  }
  if (namespace !== null && !namespace.startsWith('/')) {
    throw new CniError(BAD_ENVIRONMENT, `CNI_NETNS expected a path from / on, got "${namespace}"`);
  }
  return { container, namespace, device, args: argumentsOf(env.CNI_ARGS ?? '') };
}

/** Reads `KEY=VALUE;KEY=VALUE`. What is unknown is refused unless `IgnoreUnknown` says otherwise. */
function argumentsOf(text: string): Record<string, string> {
  const pairs = text.split(';').filter((pair) => pair !== '');
  const args: Record<string, string> = {};
  for (const pair of pairs) {
    const [, key, value] = /^([^=]+)=(.*)$/.exec(pair) ?? [];
    if (key === undefined) {
      throw new CniError(BAD_ENVIRONMENT, `CNI_ARGS expected KEY=VALUE;KEY=VALUE, got "${pair}"`);
    }
    args[key] = value;
  }
  const lenient = ['1', 'true'].includes((args.IgnoreUnknown ?? '').toLowerCase());
  const unknown = Object.keys(args).find((key) => !KNOWN.includes(key));
  if (unknown === undefined || lenient) return args;
  throw new CniError(
    BAD_ENVIRONMENT,
    `CNI_ARGS has "${unknown}", which means nothing here: set IgnoreUnknown=1`,
  );
}

/** Variables that must be there; those that are not are named together. */
function required(env: Env, names: readonly string[]): Record<string, string> {
  const missing = names.filter((name) => !env[name]);
  if (missing.length > 0) {
    throw new CniError(BAD_ENVIRONMENT, `required variables are missing: ${missing.join(', ')}`);
  }
  return Object.fromEntries(names.map((name) => [name, env[name]!]));
}
