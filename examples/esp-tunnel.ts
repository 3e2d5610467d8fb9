/**
 * One end of an encrypted tunnel between two hosts that share nothing but a secret: run it on both, within a
 * minute of each other. Each has an address inside, 10.0.0.1 where its underlay address sorts first and
 * 10.0.0.2 otherwise, and pings the other's. The exit code is 0 if each was answered.
 *
 *     head -c 32 /dev/urandom | base64 > secret                     # the same file on both hosts
 *     node dist/examples/esp-tunnel.js --local 192.0.2.1 --remote 192.0.2.2 --secret-file secret
 *
 * It needs UDP ports 4789 and 4500 (--port, --esp-port) and no privilege.
 */
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { Endpoint, Overlay } from 'packetweave';

const { values } = parseArgs({
  options: {
    local: { type: 'string' },
    remote: { type: 'string' },
    'secret-file': { type: 'string' },
    port: { type: 'string', default: '4789' },
    'esp-port': { type: 'string', default: '4500' },
    count: { type: 'string', default: '5' },
  },
});
const { local, remote, 'secret-file': file } = values;
if (local === undefined || remote === undefined || file === undefined) {
  console.error('usage: esp-tunnel --local ADDRESS --remote ADDRESS --secret-file FILE [--count PINGS]');
  process.exit(2);
}
const [mine, theirs] = local < remote ? [1, 2] : [2, 1];
const count = Number(values.count);
const identity = { mac: `02:42:0a:00:00:0${mine}`, addresses: [`10.0.0.${mine}`] };
const inside = new Endpoint({ ...identity, mtu: 1380 });
const warn = (text: string) => console.error(text);
const overlay = new Overlay(
  {
    local: {
      address: local,
      port: Number(values.port),
      esp: { secret: readFileSync(file, 'utf8').trim(), port: Number(values['esp-port']) },
    },
    networks: [{ vni: 1, encrypted: true, remotes: [remote], ports: [{ port: inside, ...identity }] }],
  },
  { log: { debug() {}, info: console.log, warn, error: warn } },
);

/** Waits until something is so, and says whether it came to that within a minute. */
async function until(done: () => boolean): Promise<boolean> {
  for (let i = 0; i < 1200 && !done(); i++) await new Promise((resolve) => setTimeout(resolve, 50));
  return done();
}

await overlay.start();
let answers = 0;
if (await until(() => overlay.encryptedPeers().every(({ ready }) => ready))) {
  console.log(`keys agreed with ${remote}; inside, this host is 10.0.0.${mine}`);
  // The other end may come to know our keys a moment later.
  for (let i = 0; i < 3 * count && answers < count; i++) {
    const ms = await inside.ping(`10.0.0.${theirs}`);
    console.log(`ping 10.0.0.${theirs}: ${ms === null ? 'no answer in 1 s' : `${ms.toFixed(2)} ms`}`);
    if (ms !== null) answers++;
  }
  await until(() => inside.counts.echoRequests >= count);
  await new Promise((resolve) => setTimeout(resolve, 500)); // the last answer is on its way
} else console.log(`${remote} did not answer: is it running, with the same secret?`);
console.log('dropped:', overlay.drops());
await overlay.stop();
process.exitCode = answers === count ? 0 : 1;
