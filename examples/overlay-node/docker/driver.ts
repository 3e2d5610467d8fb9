/**
 * The network driver. No gateway is answered, so that the engine gives containers its own second device for what is
 * outside of the overlay, and publishes ports of the host by itself; on the overlay published ports work as well.
 */

import { ControlError } from '../control/errors.ts';
import type { Protocol, PublishedPort } from '../control/model.ts';
import type { Endpoints } from './endpoints.ts';
import { type Body, flag, id, list, needed, object, text, texts } from './fields.ts';
import type { Networks } from './networks.ts';
import type { WantedNetwork, WantedSubnet } from './overlay-network.ts';
import type { Methods } from './server.ts';

const GENERIC = 'com.docker.network.generic';
const INTERNAL = 'com.docker.network.internal';
const IPV4 = 'com.docker.network.enable_ipv4';
const PORTS = 'com.docker.network.portmap';

/** What devices are called in a container, with a number. */
const PREFIX = 'eth';
/** A static route to what is on the link. */
const CONNECTED = 1;
const PROTOCOLS: Readonly<Record<number, Protocol>> = { 6: 'tcp', 17: 'udp', 132: 'sctp' };

export function networkMethods(networks: Networks, endpoints: Endpoints): Methods {
  const nothing = async () => ({});
  return {
    'NetworkDriver.GetCapabilities': async () => ({ Scope: 'local', ConnectivityScope: 'global' }),
    'NetworkDriver.CreateNetwork': async (request) => {
      await networks.create(wantedNetwork(request));
      return {};
    },
    'NetworkDriver.DeleteNetwork': async (request) => {
      const network = id(request, 'NetworkID');
      for (const one of endpoints.all()) if (one.network === network) await endpoints.remove(one.id);
      await networks.remove(network);
      return {};
    },
    'NetworkDriver.CreateEndpoint': (request) => createEndpoint(endpoints, request),
    'NetworkDriver.EndpointOperInfo': async () => ({ Value: {} }),
    'NetworkDriver.DeleteEndpoint': async (request) => {
      await endpoints.end(id(request, 'EndpointID'));
      return {};
    },
    'NetworkDriver.Join': (request) => join(endpoints, request),
    'NetworkDriver.Leave': async (request) => {
      endpoints.leave(id(request, 'EndpointID'));
      return {};
    },
    'NetworkDriver.ProgramExternalConnectivity': nothing,
    'NetworkDriver.RevokeExternalConnectivity': nothing,
    'NetworkDriver.DiscoverNew': nothing,
    'NetworkDriver.DiscoverDelete': nothing,
  };
}

function wantedNetwork(request: Body): WantedNetwork {
  const options = object(request, 'Options');
  if (options[IPV4] === false) {
    throw new ControlError('INVALID', 'a network of the overlay has IPv4: leave --ipv4=false out');
  }
  return {
    id: id(request, 'NetworkID'),
    options: texts(options, GENERIC),
    internal: flag(options, INTERNAL),
    subnets: [...list(request, 'IPv4Data'), ...list(request, 'IPv6Data')].map(wantedSubnet),
  };
}

function wantedSubnet(data: Body): WantedSubnet {
  return {
    space: text(data, 'AddressSpace'),
    cidr: needed(data, 'Pool'),
    gateway: text(data, 'Gateway'),
    auxiliary: texts(data, 'AuxAddresses'),
  };
}

async function createEndpoint(endpoints: Endpoints, request: Body): Promise<object> {
  const { Address, MacAddress } = texts(request, 'Interface');
  const mac = await endpoints.create({
    id: id(request, 'EndpointID'),
    network: id(request, 'NetworkID'),
    address: Address ?? '',
    mac: MacAddress ?? '',
    ports: publishedPorts(list(object(request, 'Options'), PORTS)),
  });
  // What the engine said it may not be told.
  return MacAddress ? {} : { Interface: { MacAddress: mac } };
}

/** Ports of the host's own choice are not known here, and reached on the host alone. */
function publishedPorts(all: readonly Body[]): PublishedPort[] {
  return all.flatMap(({ Proto, Port, HostPort, HostPortEnd, HostIP }) => {
    const protocol = PROTOCOLS[Number(Proto)];
    const [port, published] = [Number(Port), Number(HostPort)];
    const one = Number(HostPortEnd) === published || HostPortEnd === undefined;
    if (protocol === undefined || !(port > 0 && published > 0 && one)) return [];
    return [{ protocol, published, port, count: 1, hostAddress: String(HostIP ?? '') || null }];
  });
}

async function join(endpoints: Endpoints, request: Body): Promise<object> {
  const { device, onLink } = await endpoints.join(id(request, 'EndpointID'), needed(request, 'SandboxKey'));
  return {
    InterfaceName: { SrcName: device, DstPrefix: PREFIX },
    StaticRoutes: onLink.map((subnet) => ({ Destination: subnet, RouteType: CONNECTED, NextHop: '' })),
  };
}
