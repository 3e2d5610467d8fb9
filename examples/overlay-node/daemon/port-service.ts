/** Published ports on the addresses of this host, for the endpoints of this node. */
import { HostPorts } from '../attach/host-ports.ts';
import type { IsFree } from '../attach/ports.ts';
import { type Endpoint, OWNER } from '../control/model.ts';
import type { GatewayService } from './gateway-service.ts';
import type { Logger } from './log.ts';
import type { EndpointService } from './plumbing.ts';

export interface PortServiceParts {
  readonly gateways: GatewayService;
  /** The endpoint by which a container answers whoever is outside: that of its default route. */
  readonly route: (endpoint: Endpoint) => Endpoint;
  /** Whether somebody else holds its ports of the host. */
  readonly held: (endpoint: Endpoint) => boolean;
  readonly log: Logger;
}

export class PortService implements EndpointService {
  readonly #parts: PortServiceParts;
  readonly #ports = new HostPorts();

  constructor(parts: PortServiceParts) {
    this.#parts = parts;
  }

  /** Whether a port of this host can be published. */
  readonly isFree: IsFree = (protocol, address, port) => this.#ports.isFree(protocol, address, port);

  async publish(endpoint: Endpoint): Promise<void> {
    const { gateways, route, held, log } = this.#parts;
    const { id, name, ports, labels } = endpoint;
    // A Docker engine publishes on the host by itself.
    if (ports.length === 0 || labels[OWNER] === 'docker') return;
    const { network, addresses } = route(endpoint);
    const gateway = gateways.of(network);
    if (gateway === null) return;
    for (const note of await this.#ports.publish(id, { gateway, addresses }, ports, held(endpoint))) {
      log.info({ container: name }, note);
    }
  }

  withdraw(endpointId: string): Promise<void> {
    return this.#ports.withdraw(endpointId);
  }

  /** Finds what an earlier daemon had published. */
  open(): Promise<void> {
    return this.#ports.open();
  }

  /** Takes back what an earlier daemon had published and this one has not. */
  sweep(): Promise<void> {
    return this.#ports.sweep(this.#parts.gateways.all());
  }

  /** Leaves the ports to the next daemon. */
  stop(): Promise<void> {
    return this.#ports.stop();
  }

  close(): Promise<void> {
    return this.#ports.close();
  }
}
