/** Hosts of one encrypted network in one process, and a look at what they put on the wire. */
import type { LoggedKey } from '../../crypto/epoch.ts';
import type { Batch } from '../../lib/core/batch.ts';
import { type Log, silent } from '../../lib/core/log.ts';
import type { Packet } from '../../lib/core/packet.ts';
import type { Endpoint } from '../../lib/io/endpoint.ts';
import { MemoryUnderlay } from '../../lib/io/memory.ts';
import type { Port } from '../../lib/io/port.ts';
import { Wrapper } from '../../lib/io/wrap/wrapper.ts';
import { type EspConfig, KeyDirectory, Overlay } from '../../lib/overlay.ts';
import { identity, World } from './world.ts';

const VNI = 2;

/** Sees every packet that is sent through a port, before it leaves. */
export class Tap extends Wrapper {
  readonly #onSend: (p: Packet) => void;

  constructor(inner: Port, onSend: (p: Packet) => void) {
    super(inner);
    this.#onSend = onSend;
  }

  override send(batch: Batch): void {
    for (let i = 0; i < batch.length; i++) this.#onSend(batch.packets[i]);
    super.send(batch);
  }
}

export interface EncryptedOptions {
  /** Addresses of the hosts on the underlay. */
  readonly hosts: readonly string[];
  /** What each host's ESP goes through. */
  readonly wrap?: (port: Port, host: number) => Port;
  /** Told each key that a host derives. */
  readonly onKeys?: (host: number, key: LoggedKey) => void;
  readonly esp?: Partial<EspConfig>;
  /** Secrets of single hosts that are not the common one. */
  readonly secrets?: Readonly<Record<number, string>>;
  /** Announcements travel in band, and not in process. Default false. */
  readonly inBand?: boolean;
  readonly log?: Log;
  /** Slots of the pool. */
  readonly packets?: number;
}

/** A network between hosts, each with one endpoint, whose addresses all others are told beforehand. */
export class EncryptedWorld extends World {
  /** A network of its own for ESP, as the other UDP port is on real hosts. */
  readonly espUnderlay = new MemoryUnderlay();
  readonly channel = new KeyDirectory();
  readonly #options: EncryptedOptions;

  constructor(options: EncryptedOptions) {
    super(options.packets ?? 4096);
    this.#options = options;
  }

  /** Starts a host, for the first time or again. Its endpoint is number `host + 2`. */
  async start(host: number, port: Endpoint): Promise<Overlay> {
    const { hosts, wrap = (port) => port, onKeys = () => {}, log = silent, ...more } = this.#options;
    const others = hosts.map((remote, i) => ({ remote, ...identity(i + 2) }));
    others.splice(host, 1);
    const underlay = this.espUnderlay.port(hosts[host], { capacity: 4096 });
    const overlay = new Overlay(
      {
        local: {
          address: hosts[host],
          underlay: this.underlay.port(hosts[host]),
          esp: {
            secret: more.secrets?.[host] ?? 'a secret of all hosts, 32 bytes.',
            underlay: wrap(underlay, host),
            provider: 'node',
            onKeys: (key) => onKeys(host, key),
            ...(more.inBand ? {} : { channel: this.channel }),
            ...more.esp,
          },
        },
        networks: [
          {
            vni: VNI,
            encrypted: true,
            remotes: others.map(({ remote }) => remote),
            ports: [{ port, ...identity(host + 2) }],
            static: others,
          },
        ],
      },
      { pool: this.pool, clock: this.clock, log, macs: 1024, neighbors: 1024 },
    );
    this.overlays.push(overlay);
    await overlay.open();
    return overlay;
  }

  /** Stops a host. What is on its way to it is lost. */
  async stop(overlay: Overlay): Promise<void> {
    await overlay.stop();
    this.overlays.splice(this.overlays.indexOf(overlay), 1);
  }
}

/** Adds counters to a sum, name by name. */
export function add(sum: Record<string, number>, more: Readonly<Record<string, number>>): void {
  for (const [key, n] of Object.entries(more)) sum[key] = (sum[key] ?? 0) + n;
}
