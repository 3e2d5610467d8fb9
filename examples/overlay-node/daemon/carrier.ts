/** The embedded store of a cluster: carried by this node in its state folder, and served to the others. */
import { createCluster, findCluster } from '../control/cluster.ts';
import { followKey } from '../control/follow-key.ts';
import { currentJoinKey, newJoinKey, readJoinKey, TOKEN } from '../control/join-key.ts';
import { EmbeddedStore } from '../control/store/embedded.ts';
import { MOVED, movedRecord } from '../control/store/migrate.ts';
import { StoreServer } from '../control/store/server.ts';
import type { Store } from '../control/store/store.ts';
import { type Logger, libraryLog } from './log.ts';

export interface CarrierOptions {
  /** Folder of the store. */
  readonly folder: string;
  /** TCP port that it is served on. */
  readonly port: number;
  /** What the keys of the other nodes are made of. */
  readonly master: Buffer;
  readonly log: Logger;
}

export class Carrier {
  /** Id of the cluster. */
  readonly cluster: string;
  readonly #behind: EmbeddedStore;
  readonly #server: StoreServer;
  readonly #unfollow: () => void;

  /** Makes a store that carries a new cluster, and serves it. */
  static create(options: CarrierOptions): Promise<Carrier> {
    return Carrier.#begin(options, async (store) => {
      const { id } = await createCluster(store);
      await newJoinKey(store);
      return id;
    });
  }

  /** Goes on serving a store. Rejects with a ControlError where the folder or the port cannot be had. */
  static open(options: CarrierOptions): Promise<Carrier> {
    return Carrier.#begin(options, async (store) => (await findCluster(store)).id);
  }

  static async #begin(
    options: CarrierOptions,
    identify: (store: Store) => Promise<string>,
  ): Promise<Carrier> {
    const { folder, port, master, log } = options;
    const behind = await EmbeddedStore.open(folder);
    let unfollow = () => {};
    try {
      const cluster = await identify(behind);
      let joinKey = await currentJoinKey(behind);
      unfollow = followKey(behind, TOKEN, (value) => {
        if (value !== null) joinKey = readJoinKey(value);
      });
      const server = await StoreServer.start({
        store: behind,
        cluster,
        port,
        log: libraryLog(log),
        keys: {
          master,
          token: () => joinKey,
          allows: async (node) => (await behind.get(`nodes/${node}`)) !== null,
        },
      });
      return new Carrier(cluster, behind, server, unfollow);
    } catch (error) {
      unfollow();
      await behind.close();
      throw error;
    }
  }

  private constructor(cluster: string, behind: EmbeddedStore, server: StoreServer, unfollow: () => void) {
    this.cluster = cluster;
    this.#behind = behind;
    this.#server = server;
    this.#unfollow = unfollow;
  }

  get store(): Store {
    return this.#server.store;
  }

  /** Refuses changes from now on. Resolves when those under way are made. */
  freeze(): Promise<void> {
    return this.#server.freeze();
  }

  thaw(): void {
    this.#server.thaw();
  }

  /** Tells all who ask that the cluster is at `url` now. */
  async moved(url: string): Promise<void> {
    await this.#behind.put(MOVED, movedRecord(url));
  }

  async close(): Promise<void> {
    this.#unfollow();
    await this.#server.close();
    await this.#behind.close();
  }
}
