/**
 * The maps of published ports in one place: the host, or the namespace of a gateway. Changes are written alone, in one
 * transaction for all that came while the last one was written. Everything is written where the maps are not what they
 * were: a gateway was made anew, or somebody has flushed them.
 */
import { statSync } from 'node:fs';
import { PORT_MAPS, type PortElement, portElements, portRules, type Redirection, TABLE } from './rules.ts';
import { namespacePath, nft, runIn } from './system.ts';

/** An element of a map as `nft -j` lists it. */
type Listed = readonly (readonly [Concatenation, Concatenation])[];

interface Concatenation {
  readonly concat: readonly (string | number)[];
}

export class PortMap {
  readonly #namespace: string | null;
  /** By map and key. */
  readonly #wanted = new Map<string, PortElement>();
  /** What the kernel has. */
  #written = new Map<string, PortElement>();
  /** Which of them may differ. */
  readonly #changed = new Set<string>();
  /** Which namespace it is that has them, of those that have had its name; null where everything is to be written. */
  #place: string | null = null;
  #applying: Promise<void> = Promise.resolve();
  #next: Promise<void> | null = null;

  /** `namespace`: null for the host. */
  constructor(namespace: string | null) {
    this.#namespace = namespace;
  }

  /** Reads what an earlier daemon has left, which stays until {@link sweep} or until a port leads elsewhere. */
  async open(): Promise<void> {
    this.#place = this.#identity();
    if (this.#place === null) return;
    try {
      const listed = await runIn(this.#namespace, 'nft', ['-j', 'list', 'table', ...TABLE.split(' ')]);
      this.#written = new Map(readElements(listed).map((one) => [nameOf(one), one]));
    } catch {
      this.#place = null; // no table yet
    }
  }

  set(redirection: Redirection): void {
    for (const element of portElements(redirection)) {
      this.#wanted.set(nameOf(element), element);
      this.#changed.add(nameOf(element));
    }
  }

  remove(redirection: Redirection): void {
    for (const element of portElements(redirection)) {
      this.#wanted.delete(nameOf(element));
      this.#changed.add(nameOf(element));
    }
  }

  /** Takes away what an earlier daemon has left and nobody wants any more. */
  sweep(): Promise<void> {
    for (const name of this.#written.keys()) if (!this.#wanted.has(name)) this.#changed.add(name);
    return this.apply();
  }

  /** Writes what has changed. Nothing happens where the namespace is gone. Rejects with a SystemError. */
  apply(): Promise<void> {
    this.#next ??= this.#applying.then(() => {
      this.#next = null;
      return this.#write();
    });
    this.#applying = this.#next.catch(() => {});
    return this.#next;
  }

  async #write(): Promise<void> {
    const place = this.#identity();
    const same = place !== null && place === this.#place;
    const changes = [...this.#changed].map((name) => ({
      before: this.#written.get(name),
      after: this.#wanted.get(name),
    }));
    this.#changed.clear();
    this.#place = null;
    if (place === null) return;
    if (!same || !(await this.#writeChanges(changes))) await this.#writeAll();
    this.#place = place;
  }

  /** Whether the maps were what they were thought to be. */
  async #writeChanges(changes: readonly Change[]): Promise<boolean> {
    const real = changes.filter(({ before, after }) => before?.value !== after?.value);
    const [gone, come] = [
      real.flatMap(({ before }) => before ?? []),
      real.flatMap(({ after }) => after ?? []),
    ];
    try {
      if (real.length > 0)
        await nft(this.#namespace, [...commands('delete', gone), ...commands('add', come)]);
    } catch {
      return false;
    }
    for (const one of gone) this.#written.delete(nameOf(one));
    for (const one of come) this.#written.set(nameOf(one), one);
    return true;
  }

  async #writeAll(): Promise<void> {
    const all = new Map(this.#wanted);
    const flush = PORT_MAPS.map((map) => `flush map ${TABLE} ${map}`);
    await nft(this.#namespace, [...portRules(), ...flush, ...commands('add', [...all.values()])]);
    this.#written = all;
  }

  /** Names are used again, and so are numbers of namespaces, but not at the same time. */
  #identity(): string | null {
    if (this.#namespace === null) return 'host';
    try {
      const { ino, ctimeNs } = statSync(namespacePath(this.#namespace), { bigint: true });
      return `${ino} ${ctimeNs}`;
    } catch {
      return null;
    }
  }
}

interface Change {
  readonly before: PortElement | undefined;
  readonly after: PortElement | undefined;
}

function nameOf({ map, key }: PortElement): string {
  return `${map} ${key}`;
}

/** One command for each map that has elements among these. */
function commands(verb: 'add' | 'delete', elements: readonly PortElement[]): string[] {
  return PORT_MAPS.flatMap((map) => {
    const list = elements.filter((one) => one.map === map).map(({ key, value }) => `${key} : ${value}`);
    return list.length === 0 ? [] : [`${verb} element ${TABLE} ${map} { ${list.join(', ')} }`];
  });
}

/** Elements of our maps in what `nft -j list table` says. */
function readElements(text: string): PortElement[] {
  const { nftables } = JSON.parse(text) as { nftables: readonly { map?: { name: string; elem?: Listed } }[] };
  return nftables.flatMap(({ map }) => {
    if (map === undefined || !PORT_MAPS.includes(map.name)) return [];
    return (map.elem ?? []).map(([key, value]) => ({
      map: map.name,
      key: key.concat.join(' . '),
      value: value.concat.join(' . '),
    }));
  });
}
