/**
 * Ports by description: plain data, such as `{ kind: 'tap', name: 'tap0' }`, that can travel to a thread. One line of
 * `KINDS` is all that a kind needs: its options are those of its constructor, and its module is loaded when somebody
 * wants it.
 */
import type { Port } from '../io/port.ts';
import { show } from '../overlay/values.ts';

const KINDS = {
  tap: async () => (await import('../io/tap.ts')).TapPort,
  tun: async () => (await import('../io/tap.ts')).TunPort,
  udp: async () => (await import('../io/udp.ts')).UdpPort,
  'udp-native': async () => (await import('../io/udp-native.ts')).UdpNativePort,
  'raw-native': async () => (await import('../io/raw-native.ts')).RawNativePort,
  'af-packet': async () => (await import('../io/af-packet.ts')).AfPacketPort,
  'pcap-live': async () => (await import('../io/pcap-live.ts')).PcapLive,
  'pcap-reader': async () => (await import('../io/pcap-file.ts')).PcapReader,
  'pcap-writer': async () => (await import('../io/pcap-file.ts')).PcapWriter,
} satisfies Record<string, () => Promise<new (options: never) => Port>>;

/** Kinds of ports that can be described. */
export type PortKind = keyof typeof KINDS;

type OptionsOf<K extends PortKind> = NonNullable<
  ConstructorParameters<Awaited<ReturnType<(typeof KINDS)[K]>>>[0]
>;

/** A port as plain data: its kind and the options of its class. */
export type PortSpec = {
  [K in PortKind]: {
    readonly kind: K;
    /** What the port is known by from one description to the next. Default: `name`, or all of the options. */
    readonly id?: string;
  } & OptionsOf<K>;
}[PortKind];

interface Known {
  /** The whole description. */
  readonly text: string;
  readonly port: Port;
}

/** The ports that descriptions speak of: a description that stays the same stays the same port. */
export class SpecPorts {
  #known = new Map<string, Known>();
  #next = new Map<string, Known>();
  readonly #ids = new WeakMap<Port, string>();

  /** Begins another set of descriptions. */
  begin(): void {
    this.#next = new Map();
  }

  /** The port of a description. Rejects with a TypeError or RangeError where it makes no sense; `path` is its name. */
  async port(path: string, spec: PortSpec | undefined): Promise<Port> {
    if (spec === null || spec === undefined || !Object.hasOwn(KINDS, spec.kind)) {
      const known = Object.keys(KINDS).map((kind) => `"${kind}"`);
      throw new TypeError(`"${path}.kind" expected one of ${known.join(', ')}, got ${show(spec?.kind)}`);
    }
    const { kind, id, ...options } = spec;
    const text = canonical(spec);
    const key = `${kind} ${id ?? ('name' in options ? options.name : undefined) ?? text}`;
    const known = this.#next.get(key) ?? this.#known.get(key);
    if (known !== undefined && known.text !== text) {
      throw new RangeError(
        `"${path}" describes "${id ?? known.port.name}" otherwise than before: ` +
          'take the port out of the description first, or give it another "id" and name',
      );
    }
    const port = known?.port ?? new (await KINDS[kind]())(options as never);
    this.#next.set(key, { text, port });
    if (id !== undefined) this.#ids.set(port, id);
    return port;
  }

  /** What a port is known by: the `id` of its description, else its name. */
  idOf(port: Port): string {
    return this.#ids.get(port) ?? port.name;
  }

  /** The descriptions since `begin` are those that count from now on. */
  commit(): void {
    this.#known = this.#next;
  }
}

/** A text that is the same for equal data. */
function canonical(value: unknown): string {
  if (ArrayBuffer.isView(value)) return `[${value}]`;
  if (Array.isArray(value)) return `[${value.map(canonical)}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? 'null';
  const fields = Object.entries(value).filter(([, x]) => x !== undefined);
  return `{${fields.sort(([a], [b]) => (a < b ? -1 : 1)).map(([key, x]) => `${key}:${canonical(x)}`)}}`;
}
