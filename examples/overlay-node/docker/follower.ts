/**
 * Follows a Docker engine beside the plugin's calls, never from within one (the engine holds locks then): who the
 * containers of endpoints are, and what of ours it has not any more.
 */
import { setTimeout as pause } from 'node:timers/promises';
import type { EndpointChange } from '../control/model.ts';
import type { Logger } from '../daemon/log.ts';
import type { StateFolder } from '../daemon/state.ts';
import type { EndpointRecord, Endpoints } from './endpoints.ts';
import type { Engine, EngineAttachment, EngineContainer, EngineEvent } from './engine.ts';
import type { Networks } from './networks.ts';

/** Milliseconds until an engine that is away is looked for again, at the most. */
const AWAY = 2000;
/** Milliseconds between looks at everything, and before what failed is tried again. */
const LOOK = 30_000;
const AGAIN = 1000;
/** Milliseconds that something of ours may not be in the engine's lists: it is being made. */
const YOUNG = 60_000;
const NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/;
const HOSTNAME = /^[a-zA-Z0-9]([a-zA-Z0-9.-]{0,61}[a-zA-Z0-9])?$/;
/** Digits of a container's id that is an alias in every engine. */
const SHORT = 12;

export interface FollowerOptions {
  readonly engine: Engine;
  readonly networks: Networks;
  readonly endpoints: Endpoints;
  /** Keeps which engine it is. */
  readonly state: StateFolder;
  readonly log: Logger;
  /** Milliseconds since 1970. */
  readonly now: () => number;
}

export class Follower {
  readonly #options: FollowerOptions;
  readonly #abort = new AbortController();
  /** Ids of containers that are to be asked for. */
  readonly #wanted = new Set<string>();
  #asking: Promise<void> | null = null;
  readonly #timer: NodeJS.Timeout;
  readonly #done: Promise<void>;

  constructor(options: FollowerOptions) {
    this.#options = options;
    this.#timer = setInterval(() => void this.look(), LOOK).unref();
    this.#done = this.#follow();
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    this.#abort.abort();
    await this.#done;
  }

  async #follow(): Promise<void> {
    const { signal } = this.#abort;
    for (let told = false, wait = 100; !signal.aborted; wait = Math.min(2 * wait, AWAY)) {
      try {
        const opened = () => {
          [told, wait] = [false, 100];
          void this.look();
        };
        for await (const event of this.#options.engine.events(opened, signal)) this.#hear(event);
      } catch (error) {
        if (!told && !signal.aborted) this.#options.log.info(`no Docker engine: ${(error as Error).message}`);
        told = true;
      }
      await pause(wait, undefined, { signal, ref: false }).catch(() => {});
    }
  }

  #hear({ Type, Action, Actor }: EngineEvent): void {
    if (Type === 'network' && Action === 'connect') this.#want(Actor.Attributes.container);
    if (Type === 'container' && ['start', 'rename'].includes(Action)) this.#want(Actor.ID);
  }

  #want(container: string): void {
    this.#wanted.add(container);
    this.#asking ??= this.#ask().finally(() => {
      this.#asking = null;
    });
  }

  async #ask(): Promise<void> {
    while (this.#wanted.size > 0 && !this.#abort.signal.aborted) {
      const [id] = this.#wanted;
      this.#wanted.delete(id);
      try {
        const container = await this.#options.engine.container(id);
        if (container !== null) await this.#tell(container);
      } catch (error) {
        this.#options.log.debug(`container ${id.slice(0, SHORT)}: ${(error as Error).message}`);
        this.#wanted.add(id);
        await pause(AGAIN, undefined, { signal: this.#abort.signal, ref: false }).catch(() => {});
      }
    }
  }

  /** Tells the overlay who a container's endpoints are. */
  async #tell(container: EngineContainer): Promise<void> {
    for (const attachment of Object.values(container.NetworkSettings.Networks ?? {})) {
      await this.#options.endpoints.rename(attachment.EndpointID, changeOf(container, attachment));
    }
  }

  /** Looks at everything: names that were missed, and what is left of what the engine has no more. Never rejects. */
  async look(): Promise<void> {
    const { engine, endpoints, log } = this.#options;
    try {
      await endpoints.sweep();
      const there = new Set<string>();
      for (const { Id, NetworkSettings } of await engine.containers()) {
        const ids = Object.values(NetworkSettings.Networks ?? {}).map(({ EndpointID }) => EndpointID);
        for (const id of ids) there.add(id);
        if (ids.some((id) => endpoints.get(id) !== undefined)) this.#want(Id);
      }
      await this.#forget(there);
    } catch (error) {
      log.debug((error as Error).message);
    }
  }

  /** Forgets what this engine has no more. Of what another engine has or has not it says nothing. */
  async #forget(there: ReadonlySet<string>): Promise<void> {
    const { engine, networks, endpoints, state, log, now } = this.#options;
    const known = new Set(await engine.networks());
    const id = await engine.id();
    const kept = await state.read<{ id: string }>('docker-engine');
    if (kept?.id !== id) {
      if (networks.all().some((network) => known.has(network.id))) await state.write('docker-engine', { id });
      else return;
    }
    const old = ({ at }: { readonly at: number }) => now() - at > YOUNG;
    const gone = endpoints.all().filter((one: EndpointRecord) => old(one) && !there.has(one.id));
    for (const one of gone) {
      log.info({ endpoint: one.id.slice(0, SHORT) }, 'the engine has it no more: it is released');
      await endpoints.remove(one.id);
    }
    for (const network of networks.all()) {
      if (!old(network) || known.has(network.id)) continue;
      log.info({ network: network.request.name }, 'the engine has it no more: it is forgotten');
      await networks.remove(network.id);
    }
  }
}

/** Names that are none on the overlay are left out. */
function changeOf({ Id, Name, Config }: EngineContainer, { Aliases }: EngineAttachment): EndpointChange {
  const name = Name.replace(/^\//, '');
  const aliases = (Aliases ?? []).filter((alias) => NAME.test(alias) && alias !== Id.slice(0, SHORT));
  return {
    container: Id,
    aliases: [...new Set(aliases)],
    ...(NAME.test(name) && { name }),
    ...(HOSTNAME.test(Config.Hostname) && { hostname: Config.Hostname }),
  };
}
