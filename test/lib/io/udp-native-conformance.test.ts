/** The contract of ports, over the native UDP port and a socket of node:dgram. */
import t from 'tap';
import { parse } from '../../../codecs/ip.ts';
import { type UdpNativeOptions, UdpNativePort } from '../../../lib/io/udp-native.ts';
import { FarSocket, hasIpv6, once } from '../../gen/far-socket.ts';
import { noNative, skip } from '../../gen/skip.ts';
import { portConformance, type Rig } from './conformance.ts';

const rig = (options: UdpNativeOptions, farAddress: string) => async (): Promise<Rig> => {
  const port = new UdpNativePort({ port: 0, ...options });
  const far = await FarSocket.at(farAddress);
  port.peers.set({ address: parse(farAddress), port: far.port });
  return {
    port,
    deliver: (frames) => far.deliver(frames, port),
    collect: () => far.collect().map(({ frame }) => frame),
    close: once(() => far.close()),
  };
};

const reason = noNative();
if (reason !== null) skip(t, reason);
else {
  const four = '127.0.0.1';
  const run = (name: string, options: UdpNativeOptions, far: string) =>
    portConformance(t, name, rig(options, far), { paced: true });
  run('udp-native', { address: four }, '127.0.0.2');
  run('udp-native, one by one', { address: four, segmentation: false }, '127.0.0.2');
  run('udp-native, one socket', { address: four, segmentation: true, sourcePorts: 1 }, '127.0.0.2');
  if (await hasIpv6()) {
    run('udp-native over IPv6', { address: '::1' }, '::1');
    run('udp-native over IPv6, one by one', { address: '::1', segmentation: false }, '::1');
  } else t.test('udp-native over IPv6', async (t) => skip(t, 'this machine has no ::1'));
}
