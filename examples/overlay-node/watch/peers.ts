/** `GET /v1/peers`: the hosts that this one exchanges frames with. */
import type { EncryptedPeer } from 'packetweave';
import { format, parse } from 'packetweave/codecs/ip';
import type { PeerRow } from '../api/api.ts';
import type { Control } from '../control/control.ts';
import type { Network, NodeState } from '../control/model.ts';

/** One row a host, by name. */
export function peerRows(
  control: Pick<Control, 'views'>,
  encryptedPeers: readonly EncryptedPeer[],
): PeerRow[] {
  const ready = new Map(encryptedPeers.map((peer) => [peer.address, peer.ready]));
  const rows: PeerRow[] = [];
  for (const { peer, networks } of peersOf(control).values()) {
    const encrypted = networks.some((network) => network.encrypted);
    const { id: node, name, address, alive } = peer;
    rows.push({
      node,
      name,
      address,
      alive,
      networks: networks.map((network) => network.name).sort(),
      encrypted: encrypted ? (ready.get(format(parse(address))) ?? false) : null,
    });
  }
  return rows.sort((a, b) => a.name.localeCompare(b.name) || a.node.localeCompare(b.node));
}

interface Peer {
  readonly peer: NodeState;
  /** Those that both take part in. */
  readonly networks: Network[];
}

/** The other hosts of this node's networks, by id. */
export function peersOf({ views }: Pick<Control, 'views'>): Map<string, Peer> {
  const all = new Map<string, Peer>();
  for (const { network, peers } of views.values()) {
    for (const peer of peers) {
      const known = all.get(peer.id);
      if (known === undefined) all.set(peer.id, { peer, networks: [network] });
      else known.networks.push(network);
    }
  }
  return all;
}
