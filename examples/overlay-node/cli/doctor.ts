/** Ports that a daemon would need, looked at where none runs. */
import { createSocket } from 'node:dgram';
import { createServer } from 'node:net';
import type { Check } from '../api/api.ts';
import { DEFAULTS } from '../daemon/options.ts';
import { check } from '../watch/host-checks.ts';

export function portChecks(): Promise<Check[]> {
  const { dataPort, espPort, storePort } = DEFAULTS;
  return Promise.all([
    udpPort(dataPort, '--data-port'),
    udpPort(espPort, '--esp-port'),
    tcpPort(storePort, '--store-port'),
  ]);
}

const inUse = (flag: string) => `end what has it (ss -lnp), or give "up" another with ${flag}`;

function udpPort(port: number, flag: string): Promise<Check> {
  return new Promise((done) => {
    const socket = createSocket('udp4');
    const say = (ok: boolean, found: string) => {
      socket.close(() => done(check(`${port}/udp`, ok, found, inUse(flag))));
    };
    socket.once('error', (error) => say(false, error.message));
    socket.bind(port, () => say(true, 'free'));
  });
}

function tcpPort(port: number, flag: string): Promise<Check> {
  return new Promise((done) => {
    const say = (ok: boolean, found: string) => done(check(`${port}/tcp`, ok, found, inUse(flag)));
    const server = createServer();
    server.once('error', (error) => say(false, error.message));
    server.listen(port, () => server.close(() => say(true, 'free')));
  });
}
