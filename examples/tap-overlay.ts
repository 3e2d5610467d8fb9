/**
 * An overlay between two TAP devices on two hosts: run it on both, as root on Linux, each with the other's address.
 *
 *     node dist/examples/tap-overlay.js --tap tap0 --vni 42 --local 192.0.2.1 --remote 192.0.2.2
 *     ip addr add 10.0.0.1/24 dev tap0                              # and 10.0.0.2 on the other host
 *
 * With --secret-file, the same file on both, everything is encrypted: ESP in UDP, or with --carrier ip on IP protocol
 * 50. --mtu is the underlay's; what is left for the device is printed. Ctrl-C ends it, and the device with it.
 */
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { OverlayWorker } from 'packetweave';

const { values } = parseArgs({
  options: {
    tap: { type: 'string', default: 'tap0' },
    namespace: { type: 'string' },
    vni: { type: 'string', default: '42' },
    local: { type: 'string' },
    remote: { type: 'string', multiple: true },
    'secret-file': { type: 'string' },
    carrier: { type: 'string', default: 'udp' },
    mtu: { type: 'string', default: '1500' },
    'busy-poll': { type: 'string', default: '0' },
  },
});
const { local: address, remote: remotes, 'secret-file': file, namespace, carrier } = values;
if (address === undefined || remotes === undefined || !['udp', 'ip'].includes(carrier)) {
  console.error('usage: tap-overlay --tap NAME --vni NUMBER --local ADDRESS --remote ADDRESS [--remote ...]');
  console.error(
    '       [--secret-file FILE [--carrier udp|ip]] [--mtu BYTES] [--namespace NAME] [--busy-poll MICROSECONDS]',
  );
  process.exit(2);
}
const [vni, mtu] = [Number(values.vni), Number(values.mtu)];
const secret = file === undefined ? null : readFileSync(file, 'utf8').trim();
const raw = { kind: 'raw-native', address, mtu, name: 'esp' } as const;
const tap = { kind: 'tap', name: values.tap, ...(namespace !== undefined && { namespace }) } as const;
const say = (text: string) => console.error(text);

const overlay = await OverlayWorker.start(
  {
    local: {
      address,
      mtu,
      ...(secret !== null && {
        esp: { secret, ...(carrier === 'ip' && { carrier: 'ip', underlay: raw }) },
      }),
    },
    networks: [{ vni, remotes, encrypted: secret !== null, ports: [{ port: tap }] }],
  },
  {
    busyPoll: Number(values['busy-poll']),
    log: { debug() {}, info: say, warn: say, error: say },
    onError: (error) => {
      say(error.message);
      process.exit(1);
    },
  },
).catch((error: Error) => {
  say(error.message);
  process.exit(1);
});

// The thread of the overlay does not keep this one alive for signals alone.
const awake = setInterval(() => {}, 60_000);
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, async () => {
    clearInterval(awake);
    await overlay.stop();
    for (const [name, counts] of Object.entries(overlay.counters())) console.log(name, counts);
  });
}

// Only now: whoever reads it may end us at once.
console.log(`ready: ${tap.name}, MTU ${overlay.mtu(vni)}`);
