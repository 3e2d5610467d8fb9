/** From a configuration and arguments to what the daemon is asked for. */
import { isIP } from 'node:net';
import type { Container, RunRequest } from '../api/api.ts';
import { labelsOf } from './attachments.ts';
import type { PlacedCall } from './call.ts';
import { BAD_CONFIG, CniError, UNSUPPORTED_FIELD } from './errors.ts';
import type { Fields } from './fields.ts';
import type { Place } from './place.ts';

/** Digits of an id that tell it well enough. */
const SHORT = 12;
const HOSTNAME = /^[a-zA-Z0-9]([a-zA-Z0-9.-]{0,61}[a-zA-Z0-9])?$/;

/** The request, given the containers that there are on this host. Throws BAD_CONFIG or UNSUPPORTED_FIELD. */
export function attachRequest(call: PlacedCall, there: readonly Container[]): RunRequest {
  const { config, place } = call;
  const { fields } = config;
  checkSupported(fields);
  const name = freeName(place, there);
  const mac = fields.object('runtimeConfig').text('mac') ?? cniArgs(fields).text('mac') ?? place.args.MAC;
  const mappings = portMappings(fields);
  const hostname = place.args.K8S_POD_NAME ?? '';
  return {
    networks: [config.network],
    command: [],
    namespace: place.namespace!,
    device: place.device,
    name,
    aliases: aliases(call).filter((alias) => alias !== name),
    ...(HOSTNAME.test(hostname) && { hostname }),
    ...addresses(call),
    ...(mac !== undefined && { mac }),
    publish: [...fields.texts('publish'), ...mappings],
    // Runtimes that look after ports of the host bind them themselves, as podman does; CNI's own plugin never does.
    ...(mappings.length > 0 && { portsHeld: true }),
    dns: resolver(fields).nameservers,
    labels: { ...labelsOf(call), ...podLabels(place) },
    ...(config.defaultRoute !== null && { defaultRoute: config.defaultRoute }),
  };
}

/** What a configuration says of name servers: our own is asked, and asks these. */
export function resolver(fields: Fields) {
  const [given, fixed] = [fields.object('runtimeConfig').object('dns'), fields.object('dns')];
  const either = (name: string, other = name) =>
    given.texts(name).length > 0 ? given.texts(name) : fixed.texts(other);
  return {
    nameservers: either('servers', 'nameservers'),
    search: either('searches', 'search'),
    options: either('options'),
    domain: fixed.text('domain'),
  };
}

/** Addresses come from the overlay alone, and nothing here limits what passes. */
function checkSupported(fields: Fields): void {
  const given: [string, Fields][] = [
    ['ipam', fields.object('ipam')],
    ['runtimeConfig.bandwidth', fields.object('runtimeConfig').object('bandwidth')],
  ];
  for (const [name, value] of given) {
    if (value.names.length === 0) continue;
    throw new CniError(
      UNSUPPORTED_FIELD,
      `"${name}" is not supported, got ${JSON.stringify(value.raw())}: leave it out`,
    );
  }
}

/** The pod's name where no other container of this host has it; else with as much of the id as tells them apart. */
function freeName({ container, device, args }: Place, there: readonly Container[]): string {
  const taken = new Set(there.map(({ name }) => name));
  const short = container.slice(0, SHORT).replace(/[^a-zA-Z0-9]+$/, '');
  const pod = args.K8S_POD_NAME;
  const candidates = pod
    ? [pod, `${pod}-${device}`, `${pod}-${short}-${device}`]
    : [short, `${short}-${device}`];
  const word = (name: string) => name.replace(/[^a-zA-Z0-9_.-]/g, '_');
  return word(candidates.find((name) => !taken.has(word(name))) ?? `${container}-${device}`);
}

/** Other names in the network: those that are given, the pod's, and the short id of the runtime as in Docker. */
function aliases({ config, place }: PlacedCall): string[] {
  const { K8S_POD_NAME: pod, K8S_POD_NAMESPACE: group } = place.args;
  const given = config.fields.object('runtimeConfig').object('aliases');
  const names = [...config.fields.texts('aliases'), ...given.texts(config.name)];
  if (pod) names.push(pod, ...(group ? [`${pod}.${group}`] : []));
  if (/^[0-9a-f]{64}$/.test(place.container)) names.push(place.container.slice(0, SHORT));
  return [...new Set(names)];
}

/** Addresses that were asked for, one of each family at the most. */
function addresses({ config, place }: PlacedCall): { ip?: string; ip6?: string } {
  const asked = [
    ...config.fields.object('runtimeConfig').texts('ips'),
    ...cniArgs(config.fields).texts('ips'),
    ...(place.args.IP ?? '').split(','),
  ];
  const plain = new Set(asked.map((text) => text.trim().split('/', 1)[0]).filter((text) => text !== ''));
  const found: { ip?: string; ip6?: string } = {};
  for (const address of plain) {
    const family = isIP(address);
    if (family === 0) throw new CniError(BAD_CONFIG, `an address was expected, got "${address}"`);
    const name = family === 4 ? 'ip' : 'ip6';
    if (found[name] !== undefined) {
      throw new CniError(
        BAD_CONFIG,
        `one address of each family can be asked for, got ${[...plain].join(', ')}`,
      );
    }
    found[name] = address;
  }
  return found;
}

/** `args.cni` of a configuration, as CNI's conventions have it. */
function cniArgs(fields: Fields): Fields {
  return fields.object('args').object('cni');
}

/** Published ports of the capability `portMappings`, as the command line writes them. */
function portMappings(fields: Fields): string[] {
  return fields
    .object('runtimeConfig')
    .objects('portMappings')
    .map((mapping) => {
      const [published, port] = [mapping.number('hostPort'), mapping.number('containerPort')];
      if (!published || !port) {
        const got = JSON.stringify(mapping.raw());
        throw new CniError(BAD_CONFIG, `"portMappings" expected hostPort and containerPort, got ${got}`);
      }
      const address = mapping.text('hostIP') ?? '';
      const at = address === '' ? '' : `${address.includes(':') ? `[${address}]` : address}:`;
      return `${at}${published}:${port}/${(mapping.text('protocol') || 'tcp').toLowerCase()}`;
    });
}

/** As the runtimes of Kubernetes label containers. */
function podLabels({ args }: Place): Record<string, string> {
  const pairs = [
    ['io.kubernetes.pod.name', args.K8S_POD_NAME],
    ['io.kubernetes.pod.namespace', args.K8S_POD_NAMESPACE],
    ['io.kubernetes.pod.uid', args.K8S_POD_UID],
  ];
  return Object.fromEntries(pairs.filter(([, value]) => value));
}
