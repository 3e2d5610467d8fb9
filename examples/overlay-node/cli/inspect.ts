/** What `inspect` prints: the shape is Docker's, so that what reads Docker's reads this. */
import type { Container, NetworkDetail } from '../api/api.ts';
import type { Endpoint, Network, PublishedPort, Subnet } from '../control/model.ts';

const VNI = 'com.docker.network.driver.overlay.vxlanid_list';

const subnetShape = ({ cidr, range, gateway, auxiliary }: Subnet) => ({
  Subnet: cidr,
  ...(range !== null && { IPRange: range }),
  Gateway: gateway,
  ...(Object.keys(auxiliary).length > 0 && { AuxiliaryAddresses: auxiliary }),
});

const six = (address: string) => address.includes(':');
/** First address of a family with its prefix length, or nothing. */
const address = (endpoint: Endpoint, wantSix: boolean) =>
  endpoint.addresses.find((text) => six(text) === wantSix) ?? '';

/** Docker lists the containers of this host; these are those of all hosts, each with its node. */
export function networkShape({ network, endpoints }: NetworkDetail): object {
  const containers = endpoints.map((endpoint) => [
    endpoint.container,
    {
      Name: endpoint.name,
      EndpointID: endpoint.id,
      MacAddress: endpoint.mac,
      IPv4Address: address(endpoint, false),
      IPv6Address: address(endpoint, true),
      Node: endpoint.node,
    },
  ]);
  return {
    Name: network.name,
    Id: network.id,
    Created: network.created,
    Scope: 'swarm',
    Driver: 'overlay',
    EnableIPv4: true,
    EnableIPv6: network.ipv6,
    IPAM: { Driver: 'default', Options: null, Config: network.subnets.map(subnetShape) },
    Internal: network.internal,
    Attachable: network.attachable,
    Ingress: false,
    ConfigFrom: { Network: '' },
    ConfigOnly: false,
    Containers: Object.fromEntries(containers),
    Options: { [VNI]: String(network.vni), ...network.options },
    Labels: network.labels,
  };
}

/** One entry a port, as Docker has them: `{ "80/tcp": [{ HostIp, HostPort }] }`. */
function portsShape(ports: readonly PublishedPort[]): Record<string, object[]> {
  const all: Record<string, object[]> = {};
  for (const { port, published, count, protocol, hostAddress } of ports) {
    for (let i = 0; i < count; i++) {
      const list = (all[`${port + i}/${protocol}`] ??= []);
      list.push({ HostIp: hostAddress ?? '', HostPort: String(published + i) });
    }
  }
  return all;
}

function attachmentShape(endpoint: Endpoint, network: Network | undefined): object {
  const [four, fourLength] = address(endpoint, false).split('/');
  const [sixAddress, sixLength] = address(endpoint, true).split('/');
  const gateway = (wantSix: boolean) =>
    network?.subnets.find((subnet) => six(subnet.cidr) === wantSix)?.gateway ?? '';
  return {
    Aliases: endpoint.aliases,
    MacAddress: endpoint.mac,
    NetworkID: endpoint.network,
    EndpointID: endpoint.id,
    Gateway: gateway(false),
    IPAddress: four,
    IPPrefixLen: Number(fourLength ?? 0),
    IPv6Gateway: gateway(true),
    GlobalIPv6Address: sixAddress,
    GlobalIPv6PrefixLen: Number(sixLength ?? 0),
  };
}

export function containerShape(container: Container, networks: readonly Network[]): object {
  const { state, command } = container;
  const attachments = container.endpoints.map((endpoint) => {
    const network = networks.find(({ id }) => id === endpoint.network);
    return [network?.name ?? endpoint.network, attachmentShape(endpoint, network)];
  });
  return {
    Id: container.id,
    Created: container.created,
    Path: command[0] ?? '',
    Args: command.slice(1),
    State: {
      Status: state,
      Running: state === 'running',
      Pid: container.pid ?? 0,
      ExitCode: container.exitCode ?? 0,
    },
    Name: container.name,
    Config: {
      Hostname: container.hostname,
      Cmd: command,
      Labels: container.endpoints[0]?.labels ?? {},
    },
    NetworkSettings: {
      SandboxKey: container.namespace,
      Ports: portsShape(container.ports),
      Networks: Object.fromEntries(attachments),
    },
  };
}
