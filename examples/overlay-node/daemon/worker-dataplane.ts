/** The dataplane of a node on Linux: an overlay in a thread of its own, with a TAP device for each endpoint. */
import {
  type CaptureRequest,
  type DropTraceOptions,
  type EncryptedPeer,
  type Log,
  type OnBytes,
  type OnDrops,
  OverlayWorker,
  type PortCounts,
  type RunningCapture,
  type RunningTrace,
  type WorkerConfig,
  type WorkerNetwork,
  type WorkerPort,
} from 'packetweave';
import { parse } from 'packetweave/codecs/mac';
import type { Dataplane, DataplaneLocal, DataplaneNetwork, LocalPort } from './dataplane.ts';
import { espConfig, publications } from './desired.ts';

export interface WorkerDataplaneOptions {
  readonly log: Log;
  /** As of OverlayWorkerOptions. */
  readonly busyPoll?: number;
  /** A device was made anew after it had been deleted: it has no addresses. */
  readonly onPortBack: () => void;
  /** The thread died: nothing is carried any more. */
  readonly onError: (error: Error) => void;
}

export class WorkerDataplane implements Dataplane {
  readonly #local: DataplaneLocal;
  readonly #worker: OverlayWorker;

  static async start(local: DataplaneLocal, options: WorkerDataplaneOptions): Promise<WorkerDataplane> {
    const { log, busyPoll = 0, onPortBack, onError } = options;
    const worker = await OverlayWorker.start(description(local, []), {
      log,
      busyPoll,
      onPortError: (name, error) => log.warn(`${name}: ${error.message}`),
      onPortBack,
      onError,
    });
    return new WorkerDataplane(local, worker);
  }

  private constructor(local: DataplaneLocal, worker: OverlayWorker) {
    this.#local = local;
    this.#worker = worker;
  }

  apply(networks: readonly DataplaneNetwork[]): Promise<void> {
    return this.#worker.apply(description(this.#local, networks));
  }

  mtu(vni: number): number {
    return this.#worker.mtu(vni);
  }

  counters(): Record<string, Record<string, number>> {
    return this.#worker.counters();
  }

  drops(): Record<string, number> {
    return this.#worker.drops();
  }

  ports(): Promise<PortCounts[]> {
    return this.#worker.ports();
  }

  encryptedPeers(): Promise<EncryptedPeer[]> {
    return this.#worker.encryptedPeers();
  }

  capture(request: CaptureRequest, onBytes: OnBytes): Promise<RunningCapture> {
    return this.#worker.capture(request, onBytes);
  }

  trace(onDrops: OnDrops, options?: DropTraceOptions): Promise<RunningTrace> {
    return this.#worker.trace(onDrops, options);
  }

  stop(): Promise<void> {
    return this.#worker.stop();
  }
}

function description(local: DataplaneLocal, networks: readonly DataplaneNetwork[]): WorkerConfig {
  const { address, dataPort: port, mtu, esp } = local;
  return {
    local: {
      address,
      port,
      mtu,
      ...(esp !== null && { esp: espConfig(esp) }),
    },
    networks: networks.map((network) => described(network)),
  };
}

function described(network: DataplaneNetwork): WorkerNetwork {
  const { vni, mtu, encrypted, learning, remotes, endpoints, ports } = network;
  return {
    vni,
    encrypted,
    learning,
    floodUnknown: learning,
    ...(mtu !== null && { mtu }),
    remotes: remotes.map(({ address, port }) => ({ address, port })),
    static: endpoints.map(({ mac, remote, addresses }) => ({ mac, remote, addresses })),
    ports: ports.map(describedPort),
  };
}

/** The device stays where this program ends, so that what runs in the namespace keeps its addresses. */
function describedPort({ device, namespace, id, mac, addresses, router, ports }: LocalPort): WorkerPort {
  const { hi, lo } = parse(mac);
  const bytes = new Uint8Array(6);
  new DataView(bytes.buffer).setUint16(0, hi);
  new DataView(bytes.buffer).setUint32(2, lo);
  const at = namespace === null ? { up: false } : { namespace };
  return {
    port: { kind: 'tap', id, name: device, ...at, mac: bytes, persistent: true },
    mac,
    addresses,
    router,
    published: publications(ports),
  };
}
