/**
 * A dataplane in this thread, without privilege: behind each endpoint is a very small host of the library (ARP, ping, UDP)
 * in place of a network namespace. For demonstrations, simulations and tests; the tunnels are real UDP.
 */
import {
  type CaptureRequest,
  type DropTraceOptions,
  type EncryptedPeer,
  Endpoint,
  type OnBytes,
  type OnDrops,
  Overlay,
  type OverlayConfig,
  type PortCounts,
  type RunningCapture,
  type RunningTrace,
} from 'packetweave';
import type { Dataplane, DataplaneLocal, DataplaneNetwork, LocalPort } from './dataplane.ts';
import { espConfig, publications } from './desired.ts';

export class ProcessDataplane implements Dataplane {
  readonly #local: DataplaneLocal;
  readonly #overlay: Overlay;
  /** By id of the local port. */
  readonly #hosts = new Map<string, Endpoint>();

  static async start(local: DataplaneLocal): Promise<ProcessDataplane> {
    const dataplane = new ProcessDataplane(local);
    await dataplane.#overlay.start();
    return dataplane;
  }

  private constructor(local: DataplaneLocal) {
    this.#local = local;
    this.#overlay = new Overlay(this.#description([]));
  }

  /** The small host behind a local port; null where there is none. */
  host(id: string): Endpoint | null {
    return this.#hosts.get(id) ?? null;
  }

  apply(networks: readonly DataplaneNetwork[]): Promise<void> {
    const wanted = new Set(networks.flatMap(({ ports }) => ports.map(({ id }) => id)));
    for (const id of this.#hosts.keys()) if (!wanted.has(id)) this.#hosts.delete(id);
    return this.#overlay.apply(this.#description(networks));
  }

  mtu(vni: number): number {
    return this.#overlay.mtu(vni);
  }

  counters(): Record<string, Record<string, number>> {
    return this.#overlay.counters();
  }

  drops(): Record<string, number> {
    return this.#overlay.drops();
  }

  async ports(): Promise<PortCounts[]> {
    return this.#overlay.ports();
  }

  async encryptedPeers(): Promise<EncryptedPeer[]> {
    return this.#overlay.encryptedPeers();
  }

  capture(request: CaptureRequest, onBytes: OnBytes): Promise<RunningCapture> {
    return this.#overlay.capture(request, onBytes);
  }

  trace(onDrops: OnDrops, options?: DropTraceOptions): Promise<RunningTrace> {
    return this.#overlay.trace(onDrops, options);
  }

  stop(): Promise<void> {
    return this.#overlay.stop();
  }

  #description(networks: readonly DataplaneNetwork[]): OverlayConfig {
    const { address, dataPort: port, mtu, esp } = this.#local;
    return {
      local: { address, port, mtu, ...(esp !== null && { esp: espConfig(esp) }) },
      networks: networks.map(({ vni, encrypted, learning, remotes, endpoints, ports, mtu }) => ({
        vni,
        encrypted,
        learning,
        floodUnknown: learning,
        ...(mtu !== null && { mtu }),
        remotes,
        static: endpoints,
        ports: ports.map((port) => this.#port(port)),
      })),
    };
  }

  #port({ id, mac, addresses, router, ports }: LocalPort) {
    let port = this.#hosts.get(id);
    if (port === undefined) {
      port = new Endpoint({ mac, addresses, name: id, mtu: 1380 });
      this.#hosts.set(id, port);
    }
    return { port, mac, addresses, router, published: publications(ports) };
  }
}
