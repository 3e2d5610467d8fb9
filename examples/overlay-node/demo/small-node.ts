/** A node without privilege: it is a member of a real cluster, and its endpoints are small hosts of the library. */
import { randomBytes } from 'node:crypto';
import type { Endpoint as SmallHost } from 'packetweave';
import type { Endpoint } from '../control/model.ts';
import { desiredNetwork } from '../daemon/desired.ts';
import { makeLogger } from '../daemon/log.ts';
import { type Applicant, Member, type MemberParts } from '../daemon/member.ts';
import { ViewNames } from '../daemon/names.ts';
import { ProcessDataplane } from '../daemon/process-dataplane.ts';
import { StateFolder } from '../daemon/state.ts';
import { Turns } from '../daemon/turns.ts';
import { VERSION } from '../daemon/version.ts';

export interface SmallNodeOptions {
  readonly name: string;
  readonly address: string;
  /** Of all nodes: UDP for VXLAN and ESP, TCP for the store. */
  readonly ports: { readonly data: number; readonly esp: number; readonly store: number };
  /** Folder for its state. */
  readonly folder: string;
}

export class SmallNode {
  readonly member: Member;
  readonly names = new ViewNames();
  readonly dataplane: ProcessDataplane;
  readonly #turns = new Turns(() => this.#work());
  readonly #unlisten: () => void;

  /** Makes a cluster, as its first node. */
  static async init(options: SmallNodeOptions): Promise<SmallNode> {
    return SmallNode.#start(await Member.init(await partsOf(options), applicantOf(options), { url: null }));
  }

  static async join(options: SmallNodeOptions, token: string, where: string): Promise<SmallNode> {
    return SmallNode.#start(await Member.join(await partsOf(options), applicantOf(options), token, where));
  }

  static async #start(member: Member): Promise<SmallNode> {
    const { node, keys } = member.control;
    const { address, dataPort, espPort, mtu } = node;
    const esp = { secret: member.secret, port: espPort, keys };
    try {
      return new SmallNode(member, await ProcessDataplane.start({ address, dataPort, mtu, esp }));
    } catch (error) {
      await member.close();
      throw error;
    }
  }

  private constructor(member: Member, dataplane: ProcessDataplane) {
    this.member = member;
    this.dataplane = dataplane;
    const { control } = member;
    this.#unlisten = control.onChange(() => void this.#turns.run());
  }

  /** Attaches a small host to a network, and answers it when packets can come to it. */
  async attach(network: string, name: string, ports: Endpoint['ports'] = []): Promise<SmallHost> {
    const container = randomBytes(32).toString('hex');
    const { id } = await this.member.control.attach({ network, container, name, ports });
    await this.#turns.run();
    return this.dataplane.host(id)!;
  }

  /** The first address of what has this name on a network; null where nobody has. */
  lookup(network: string, name: string): string | null {
    return this.names.lookup(network, '', name)[0]?.addresses[0] ?? null;
  }

  async stop(): Promise<void> {
    this.#unlisten();
    await this.#turns.idle();
    await this.dataplane.stop();
    await this.member.close();
  }

  async #work(): Promise<void> {
    const { views, node } = this.member.control;
    this.names.follow(views, node.id);
    const place = () => ({ namespace: '', device: 'eth0', main: true });
    const networks = [...views.values()].map((view) => desiredNetwork(view, node.id, place, false));
    await this.dataplane.apply(networks);
  }
}

async function partsOf({ folder, ports }: SmallNodeOptions): Promise<MemberParts> {
  return { state: await StateFolder.open(folder), storePort: ports.store, log: makeLogger('warn') };
}

function applicantOf({ name, address, ports }: SmallNodeOptions): Applicant {
  return { name, address, dataPort: ports.data, espPort: ports.esp, mtu: 1500, version: VERSION };
}
