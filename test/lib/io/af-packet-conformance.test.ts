/** The contract of ports, over one end of a cable: at the other is a packet socket of the test's own. */
import t, { type Test } from 'tap';
import { type AfPacketOptions, AfPacketPort } from '../../../lib/io/af-packet.ts';
import { Namespaces } from '../../gen/netns.ts';
import { PacketSocket } from '../../gen/packet-socket.ts';
import { noNamespaces, noNative, skip } from '../../gen/skip.ts';
import { portConformance, type Rig } from './conformance.ts';

const rig = (t: Test, options: Partial<AfPacketOptions>) => (): Rig => {
  const namespaces = new Namespaces(t);
  const [here, there] = ['here', 'there'].map((name) => namespaces.addQuiet(name));
  namespaces.cable('here', 'eth0', 'there', 'eth0');
  const far = new PacketSocket(there, 'eth0');
  let open = true;
  return {
    port: new AfPacketPort({ device: 'eth0', namespace: here, promiscuous: true, ...options }),
    deliver: far.deliver,
    collect: far.collect,
    fail: () => void namespaces.run('here', 'ip link del eth0'),
    close: () => {
      if (open) far.close();
      open = false;
      namespaces.remove();
    },
  };
};

const reason = noNamespaces() ?? noNative();
if (reason !== null) skip(t, reason);
else {
  portConformance(t, 'af-packet', rig(t, {}), { paced: true });
  portConformance(t, 'af-packet, without offloads or queue', rig(t, { offload: false, bypass: true }), {
    paced: true,
  });
}
