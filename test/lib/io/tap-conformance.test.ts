/**
 * The contract of ports, over devices: the far side is a packet socket on the same device, so that what the port
 * sends goes through the kernel as everything that a network stack receives.
 */
import t, { type Test } from 'tap';
import { viewOf } from '../../../codecs/bytes.ts';
import * as ipv4 from '../../../codecs/ipv4.ts';
import { ETHERNET, IP, type Medium } from '../../../lib/io/port.ts';
import { type TapOptions, TapPort, TunPort } from '../../../lib/io/tap.ts';
import { deviceCounters, Namespaces } from '../../gen/netns.ts';
import { PacketSocket } from '../../gen/packet-socket.ts';
import { noNamespaces, noNative, skip } from '../../gen/skip.ts';
import { portConformance, type Rig, type Traits } from './conformance.ts';

/** The device outlives the port, as what the far side listens on. */
function rig(t: Test, medium: Medium, options: TapOptions = {}) {
  return (): Rig => {
    const namespaces = new Namespaces(t);
    const namespace = namespaces.addQuiet('here');
    const mode = medium === ETHERNET ? 'tap' : 'tun';
    namespaces.run('here', `ip tuntap add dev dev0 mode ${mode} vnet_hdr`);
    namespaces.run('here', 'ip link set dev0 up');
    const far = new PacketSocket(namespace, 'dev0');
    let open = true;
    const Port = medium === ETHERNET ? TapPort : TunPort;
    return {
      port: new Port({ name: 'dev0', namespace, ...options }),
      deliver: far.deliver,
      collect: far.collect,
      lost: () => deviceCounters(namespace, 'dev0')['tx.drop'],
      fail: () => void namespaces.run('here', 'ip link del dev0'),
      close: () => {
        if (open) far.close();
        open = false;
        namespaces.remove();
      },
    };
  };
}

/** An IPv4 packet of an experimental protocol (RFC 3692) that nobody here takes. */
function packet(length: number, serial: number): Uint8Array {
  const bytes = Uint8Array.from({ length }, (_, i) => i * 7 + serial * 31);
  const v = viewOf(bytes);
  ipv4.write(v, 0, 0, length, serial & 0xffff, 0, 64, 253, 0xc0000201, 0xc0000202);
  ipv4.fillChecksum(v, 0);
  return bytes;
}

const reason = noNamespaces() ?? noNative();
if (reason !== null) skip(t, reason);
else {
  const sizes = [20, 21, 28, 60, 64, 127, 128, 129, 255, 500, 511, 512, 999, 1024, 1400, 1499, 1500];
  const traits: Traits = { paced: true };
  portConformance(t, 'tap', rig(t, ETHERNET), traits);
  portConformance(t, 'tap without offloads', rig(t, ETHERNET, { offload: false }), traits);
  portConformance(t, 'tun', rig(t, IP), { ...traits, sizes, frame: packet });
}
