/**
 * Counters that only grow. Those of the dataplane go away with the element or port that they belong to, and begin at 0
 * where it comes again; what they had counted when somebody looked last is kept here.
 */
import { DROPS } from 'packetweave';

/** As `Dataplane.counters()` tells them: by name of element or port, and by name of the counter. */
export type Counts = Readonly<Record<string, Readonly<Record<string, number>>>>;

/** What went through the ports of a network or an underlay, as the dataplane sees it. */
export interface Carried {
  /** From the ports. */
  readonly rxPackets: number;
  readonly rxBytes: number;
  /** To the ports. */
  readonly txPackets: number;
  readonly txBytes: number;
}

export class Totals {
  #last: Counts = {};
  /** By name of the counter. */
  readonly #sums = new Map<string, number>();
  /** By VNI or underlay, of those that there are, then by name of the counter. */
  readonly #groups = new Map<string, Map<string, number>>();

  /** Takes what the dataplane has counted by now. What counts and goes away between two calls is missed. */
  take(now: Counts): void {
    for (const [owner, counters] of Object.entries(now)) {
      const group = this.#group(owner);
      for (const [name, value] of Object.entries(counters)) {
        const before = this.#last[owner]?.[name] ?? 0;
        // Less than before is another one of the same name.
        const more = value < before ? value : value - before;
        this.#sums.set(name, this.sum(name) + more);
        group.set(name, (group.get(name) ?? 0) + more);
      }
    }
    this.#last = now;
    const alive = new Set(Object.keys(now).map(groupOf));
    for (const group of this.#groups.keys()) if (!alive.has(group)) this.#groups.delete(group);
  }

  /** One counter of everybody. */
  sum(name: string): number {
    return this.#sums.get(name) ?? 0;
  }

  /** Packets that died for each reason; 0 is told, too. */
  drops(): Record<string, number> {
    return Object.fromEntries(DROPS.map(({ name }) => [name, this.sum(`drop.${name}`)]));
  }

  /** What was carried, by VNI or by name of the underlay. */
  carried(): ReadonlyMap<string, Carried> {
    const all = new Map<string, Carried>();
    for (const [group, counters] of this.#groups) {
      const of = (name: string) => counters.get(name) ?? 0;
      all.set(group, {
        rxPackets: of('rx.packets'),
        rxBytes: of('rx.bytes'),
        txPackets: of('tx.packets'),
        txBytes: of('tx.bytes'),
      });
    }
    return all;
  }

  #group(owner: string): Map<string, number> {
    const name = groupOf(owner);
    const group = this.#groups.get(name) ?? new Map<string, number>();
    this.#groups.set(name, group);
    return group;
  }
}

/** `4097` of `4097.guard` and `4097.eth0`; all else is a group of its own. */
function groupOf(owner: string): string {
  return /^\d+(?=\.)/.exec(owner)?.[0] ?? owner;
}
