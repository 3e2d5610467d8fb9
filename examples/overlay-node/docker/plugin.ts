/** The plugin of a Docker engine as a whole: its socket, what it remembers, and the engine that it follows. */
import type { Logger } from '../daemon/log.ts';
import type { Running } from '../daemon/running.ts';
import type { StateFolder } from '../daemon/state.ts';
import { networkMethods } from './driver.ts';
import { type EndpointRecord, Endpoints } from './endpoints.ts';
import { Engine } from './engine.ts';
import { Follower } from './follower.ts';
import { ipamMethods } from './ipam.ts';
import { type NetworkRecord, Networks } from './networks.ts';
import { servePlugin } from './server.ts';
import { Shelf } from './shelf.ts';

export interface PluginOptions {
  /** Where the engine finds the plugin. */
  readonly socket: string;
  /** Socket of the engine's API. */
  readonly engine: string;
  readonly state: StateFolder;
  /** What runs on this host. Throws where it is in no overlay. */
  readonly here: () => Running;
  readonly log: Logger;
  /** Milliseconds since 1970. Default: the system's. */
  readonly now?: () => number;
}

export class DockerPlugin {
  readonly #endpoints: Endpoints;
  readonly #follower: Follower;
  readonly #log: Logger;
  readonly #server: { close(): Promise<void> };
  #unfollow = (): void => {};

  /** Rejects with `CONFLICT` where another daemon serves the socket. */
  static async open(options: PluginOptions): Promise<DockerPlugin> {
    const { socket, state, here, log, now = Date.now } = options;
    const warn = (message: string) => log.warn(message);
    const networks = new Networks({
      shelf: await Shelf.open<NetworkRecord>(state, 'docker-networks', warn),
      control: () => here().control,
      log,
      now,
    });
    const endpoints = new Endpoints({
      shelf: await Shelf.open<EndpointRecord>(state, 'docker-endpoints', warn),
      networks,
      here,
      log,
      now,
    });
    const server = await servePlugin({
      socket,
      methods: {
        'Plugin.Activate': async () => ({ Implements: ['NetworkDriver', 'IpamDriver'] }),
        ...networkMethods(networks, endpoints),
        ...ipamMethods(networks, endpoints),
      },
      onError: (method, message) => log.warn(`${method}: ${message}`),
    });
    log.info({ socket }, 'serving a Docker engine');
    const engine = new Engine(options.engine);
    const follower = new Follower({ engine, networks, endpoints, state, log, now });
    return new DockerPlugin(endpoints, follower, server, log);
  }

  private constructor(
    endpoints: Endpoints,
    follower: Follower,
    server: { close(): Promise<void> },
    log: Logger,
  ) {
    this.#endpoints = endpoints;
    this.#follower = follower;
    this.#server = server;
    this.#log = log;
  }

  /** Has its endpoints on what runs on this host from now on; null: nothing. */
  follow(running: Running | null): void {
    this.#unfollow();
    this.#endpoints.forget();
    if (running === null) {
      this.#unfollow = () => {};
      return;
    }
    const unplace = running.addPlacer((endpoint) => this.#endpoints.place(endpoint));
    this.#unfollow = unplace;
    void this.#restore();
  }

  async close(): Promise<void> {
    this.#unfollow();
    await this.#follower.close();
    await this.#server.close();
    await this.#endpoints.idle();
  }

  async #restore(): Promise<void> {
    try {
      await this.#endpoints.restore();
      await this.#follower.look();
    } catch (error) {
      this.#log.warn(`what Docker has here is not as it should be: ${(error as Error).message}`);
    }
  }
}
