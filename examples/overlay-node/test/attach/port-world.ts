/** A host with published ports, for tests of these. */
import type { Test } from 'tap';
import type { Gateway } from '../../attach/gateway.ts';
import { HostPorts } from '../../attach/host-ports.ts';
import type { PublishedPort } from '../../control/model.ts';
import { HostWorld, target } from './host-world.ts';

export const VNI = 4097;
/** Addresses of the containers: c0, c1. */
export const C0 = ['10.0.1.2/24', 'fd00:1::2/64'];
export const C1 = ['10.0.1.3/24', 'fd00:1::3/64'];

/** One published port, of a container's port 7000 unless it is said otherwise. */
export function port(published: number, inside = 7000, more: Partial<PublishedPort> = {}): PublishedPort {
  return { protocol: 'tcp', published, port: inside, count: 1, hostAddress: null, ...more };
}

/** A host with one network, two containers that serve ports 7000 and 7001, and published ports. */
export class PortWorld extends HostWorld {
  gateway!: Gateway;
  ports = new HostPorts();

  static async make(t: Test): Promise<PortWorld> {
    const world = new PortWorld(t);
    world.gateway = await world.inside(() => world.gateways().make(VNI, { internal: false, ipv6: true }));
    await world.serve(VNI, '10.0.1.1/24', 'fd00:1::1/64');
    for (const addresses of [C0, C1])
      await world.container(world.gateway, addresses, ['10.0.1.1', 'fd00:1::1']);
    await Promise.all(['c0', 'c1'].map((name) => world.server(t, name, 7000, 7001)));
    await world.inside(() => world.ports.open());
    t.teardown(() => world.inside(() => world.ports.close()));
    return world;
  }

  publish(id: string, addresses: readonly string[], ...ports: readonly PublishedPort[]): Promise<string[]> {
    return this.inside(() => this.ports.publish(id, target(this.gateway, ...addresses), ports));
  }

  withdraw(id: string): Promise<void> {
    return this.inside(() => this.ports.withdraw(id));
  }

  /** The daemon is gone, and the next one opens. */
  async nextDaemon(): Promise<void> {
    await this.ports.stop();
    this.ports = new HostPorts();
    await this.inside(() => this.ports.open());
  }

  /** Answers to all questions, asked at the same time. */
  all(...questions: readonly Parameters<HostWorld['ask']>[]): Promise<string[]> {
    return Promise.all(questions.map((question) => this.ask(...question)));
  }
}
