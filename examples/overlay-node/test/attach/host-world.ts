/**
 * A host for tests of gateways and published ports: a namespace with a neighbour on its underlay, and containers behind
 * gateways, where a bridge stands for the dataplane. What is under test runs in this process, inside of that namespace.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import type { Test } from 'tap';
import { Namespaces, within } from '../../../../test/gen/netns.ts';
import { type Gateway, Gateways, gatewayNamespace, listGateways } from '../../attach/gateway.ts';
import type { PublishTarget } from '../../attach/host-ports.ts';
import { addAddress } from '../../attach/namespace.ts';
import { ipBatch, run, runIn } from '../../attach/system.ts';

/** Addresses of the host and of its neighbour. */
export const HOST = '192.0.2.1';
export const HOST6 = '2001:db8::1';
export const NEIGHBOUR = '192.0.2.9';
export const NEIGHBOUR6 = '2001:db8::9';

/** Seconds to wait where an answer is expected: machines can be busy. */
export const ANSWER = 20;
/** Seconds to wait where none is. */
export const SILENCE = 1;

/** Says who it is and whom it talks to, at every port that was named, by TCP and UDP. */
const SERVER = `
const [name, ...ports] = process.argv.slice(1);
const answer = (address) => name + ' ' + address.replace('::ffff:', '') + '\\n';
for (const port of ports.map(Number)) {
  require('net').createServer((s) => {
    s.on('error', () => {}).on('data', (data) => s.write(data));
    s.write(answer(s.remoteAddress));
  }).listen(port, '::');
  const u = require('dgram').createSocket('udp6').bind(port);
  u.on('message', (_, { port: to, address }) => u.send(answer(address), to, address));
  u.on('listening', () => process.send(port));
}`;

export class HostWorld {
  readonly node = randomBytes(32).toString('hex');
  readonly spaces: Namespaces;
  #containers = 0;

  constructor(t: Test) {
    this.spaces = new Namespaces(t);
    this.spaces.add('host');
    this.spaces.add('neighbour');
    this.spaces.cable('host', 'eth0', 'neighbour', 'eth0');
    this.spaces.run('host', `ip addr add ${HOST}/24 dev eth0`);
    this.spaces.run('host', `ip addr add ${HOST6}/64 dev eth0 nodad`);
    this.spaces.run('neighbour', `ip addr add ${NEIGHBOUR}/24 dev eth0`);
    this.spaces.run('neighbour', `ip addr add ${NEIGHBOUR6}/64 dev eth0 nodad`);
    t.teardown(async () => {
      for (const vni of listGateways(this.node)) await this.inside(() => new Gateways(this.node).remove(vni));
    });
  }

  /** Runs what is under test in the namespace of the host. */
  inside<T>(work: () => Promise<T>): Promise<T> {
    return within(this.spaces.real('host'), work);
  }

  gateways(): Gateways {
    return new Gateways(this.node);
  }

  /** Gives a gateway what the dataplane would: its device, with these addresses. */
  async serve(vni: number, ...addresses: readonly string[]): Promise<void> {
    await ipBatch(gatewayNamespace(vni, this.node), [
      'link add gw type bridge',
      ...addresses.map((address) => addAddress(address, 'gw')),
      'link set gw up',
    ]);
  }

  /** A container behind a gateway: its name among the namespaces. */
  async container(
    gateway: Gateway,
    addresses: readonly string[],
    routes: readonly string[],
  ): Promise<string> {
    const name = `c${this.#containers++}`;
    const real = this.spaces.real.bind(this.spaces);
    this.spaces.add(name);
    const peer = `v${name}`;
    const { namespace } = gateway;
    await run('ip', [
      'link',
      'add',
      peer,
      'netns',
      namespace,
      'type',
      'veth',
      'peer',
      'name',
      'eth0',
      'netns',
      real(name),
    ]);
    await ipBatch(namespace, [`link set ${peer} master gw`, `link set ${peer} up`]);
    await ipBatch(real(name), [
      ...addresses.map((address) => addAddress(address, 'eth0')),
      'link set eth0 up',
      ...routes.map((route) => `route add default via ${route}`),
    ]);
    return name;
  }

  /** A network with IPv6: its gateway, and one container. */
  async network(vni: number): Promise<{ gateway: Gateway; name: string }> {
    const gateway = await this.inside(() => this.gateways().make(vni, { internal: false, ipv6: true }));
    await this.serve(vni, '10.0.1.1/24', 'fd00:1::1/64');
    const name = await this.container(gateway, ['10.0.1.2/24', 'fd00:1::2/64'], ['10.0.1.1', 'fd00:1::1']);
    return { gateway, name };
  }

  /** Starts a server in a namespace, and waits until it serves. */
  async server(t: Test, name: string, ...ports: readonly number[]): Promise<ChildProcess> {
    const line = [
      `--net=/run/netns/${this.spaces.real(name)}`,
      process.execPath,
      '-e',
      SERVER,
      name,
      ...ports.map(String),
    ];
    const child = spawn('nsenter', line, { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
    t.teardown(() => child.kill('SIGKILL'));
    for (const _ of ports) await once(child, 'message');
    return child;
  }

  /** What a server says to somebody in a namespace; nothing where it is not reached in `patience` seconds. */
  async ask(
    from: string,
    to: string,
    port: number,
    protocol: 'tcp' | 'udp' = 'tcp',
    patience = ANSWER,
  ): Promise<string> {
    const tcp = `timeout ${2 * patience} ncat -w ${patience} ${to} ${port} </dev/null`;
    const udp = `timeout ${patience} bash -c 'exec 3<>/dev/udp/${to}/${port}; echo hi >&3; head -n1 <&3'`;
    const { text } = await this.spaces.attempt(from, `${protocol === 'tcp' ? tcp : udp} 2>/dev/null`);
    return text.trim();
  }

  /** Watches for packets in a namespace, by its real name. */
  async capture(t: Test, namespace: string, filter: string): Promise<{ first(): Promise<string> }> {
    const args = ['-i', 'any', '-n', '-t', '-l', '--immediate-mode', '-c', '1', filter];
    const child = spawn('nsenter', [`--net=/run/netns/${namespace}`, 'tcpdump', ...args]);
    t.teardown(() => child.kill('SIGKILL'));
    let text = '';
    child.stdout.on('data', (data) => (text += data));
    const exit = once(child, 'exit');
    await once(child.stderr, 'data');
    return { first: () => exit.then(() => text) };
  }

  /** Runs a program in a namespace of the test. */
  run(name: string, program: string, ...args: readonly string[]): Promise<string> {
    return runIn(this.spaces.real(name), program, args);
  }
}

/** Where ports of a container lead. */
export function target(gateway: Gateway, ...addresses: readonly string[]): PublishTarget {
  return { gateway, addresses };
}
