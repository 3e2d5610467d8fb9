/** `GET /v1/capture`: what comes by in a network, at a container or on the underlay, as pcapng. */
import type { CaptureRequest, Log } from 'packetweave';
import { ControlError } from '../control/errors.ts';
import type { Endpoint, Network } from '../control/model.ts';
import type { Dataplane } from '../daemon/dataplane.ts';
import { Flow } from './flow.ts';
import { portNames, type Views } from './names.ts';
import { countOf, flagOf } from './query.ts';

export interface CaptureParts {
  readonly dataplane: Pick<Dataplane, 'capture'>;
  readonly views: Views;
  /** Id of this node. */
  readonly node: string;
  readonly log: Log;
}

/**
 * Begins a capture: `what` is `underlay`, the name or id of a network, or that of a container of this node; `count` ends
 * it after as many packets; with `decrypt` the underlay shows what ESP carries. It ends with `signal` too, whole, or
 * when nobody reads any more. Rejects with `INVALID`, `NOT_FOUND`, or `CONFLICT` where an id is not told from others.
 */
export async function capture(
  parts: CaptureParts,
  query: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<AsyncIterable<Uint8Array>> {
  const request = requestOf(parts, query);
  const gone = new AbortController();
  const flow = new Flow(() => gone.abort());
  const running = await parts.dataplane.capture(request, (bytes) => flow.write(bytes));
  const end = AbortSignal.any([signal, gone.signal]);
  const stop = () => void running.stop();
  if (end.aborted) stop();
  else end.addEventListener('abort', stop, { once: true });
  void running.ended.then(({ why, error, dropped }) => {
    end.removeEventListener('abort', stop);
    if (dropped > 0) parts.log.warn(`a capture was read too slowly: ${dropped} packets are not in it`);
    if (why === 'failed') parts.log.warn(`a capture failed: ${error}`);
    flow.end();
  });
  return flow.parts;
}

function requestOf({ views, node }: CaptureParts, query: Readonly<Record<string, string>>): CaptureRequest {
  const { what = '' } = query;
  const packets = countOf(query);
  const decrypt = flagOf(query, 'decrypt');
  const limit = packets === null ? {} : { limit: { packets } };
  if (what === 'underlay') return { what, decrypt, ...limit };
  return { what: placeOf(what, views, node), names: portNames(views, node), ...limit };
}

/** A network's name counts before a container's, and a name before the beginning of an id. */
function placeOf(what: string, views: Views, node: string): Exclude<CaptureRequest['what'], 'underlay'> {
  const networks = [...views.values()].map(({ network }) => network);
  const endpoints = [...views.values()].flatMap((view) => [...view.endpoints.values()]);
  const here = endpoints.filter((endpoint) => endpoint.node === node);
  const byName = found(
    what,
    networks.filter(({ name }) => name === what),
    here.filter(({ name }) => name === what),
  );
  if (byName !== null) return byName;
  const byId =
    what.length === 0
      ? null
      : found(
          what,
          networks.filter(({ id }) => id.startsWith(what)),
          here.filter(({ container }) => container.startsWith(what)),
        );
  if (byId !== null) return byId;
  throw new ControlError('NOT_FOUND', nothing(what, networks, endpoints));
}

function found(
  what: string,
  networks: readonly Network[],
  endpoints: readonly Endpoint[],
): { readonly network: number } | { readonly ports: readonly string[] } | null {
  const containers = new Set(endpoints.map(({ container }) => container));
  if (networks.length > 1 || (networks.length === 0 && containers.size > 1)) {
    throw new ControlError('CONFLICT', `${what} is ambiguous: give more of the id`);
  }
  if (networks.length === 1) return { network: networks[0].vni };
  return endpoints.length === 0 ? null : { ports: endpoints.map(({ id }) => id) };
}

function nothing(what: string, networks: readonly Network[], endpoints: readonly Endpoint[]): string {
  if (endpoints.some(({ name }) => name === what)) {
    return `${what} is on another node: capture it there, or capture its network`;
  }
  const known = ['underlay', ...networks.map(({ name }) => name)].join(', ');
  return `there is no network or container "${what}" on this node; there are ${known}`;
}
