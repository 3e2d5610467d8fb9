/** What a host must have for a node to run: looked at without a daemon. */
import { spawnSync } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { accessSync, constants } from 'node:fs';
import { createServer } from 'node:net';
import type { Check } from '../api/api.ts';
import { DEFAULTS } from '../daemon/options.ts';

const check = (name: string, ok: boolean, found: string, advice: string): Check => ({
  name,
  ok,
  found,
  advice: ok ? null : advice,
});

/** Checks of this host. Ports are looked at only where no daemon has them: `running` says whether one does. */
export async function hostChecks(running: boolean): Promise<Check[]> {
  const { dataPort, espPort, storePort } = DEFAULTS;
  const ports = [
    udpPort(dataPort, '--data-port'),
    udpPort(espPort, '--esp-port'),
    tcpPort(storePort, '--store-port'),
  ];
  return [
    system(),
    privilege(),
    iproute(),
    tun(),
    await native(),
    ...(running ? [] : await Promise.all(ports)),
  ];
}

function system(): Check {
  const found = `${process.platform}, node ${process.versions.node}`;
  return check('system', process.platform === 'linux', found, 'a node needs Linux');
}

function privilege(): Check {
  const root = process.getuid?.() === 0;
  const advice = 'the daemon makes devices and namespaces: sudo packetweave up';
  return check('privilege', root, root ? 'root' : `user ${process.getuid?.()}`, advice);
}

function iproute(): Check {
  const { status, stdout } = spawnSync('ip', ['-Version'], { encoding: 'utf8' });
  const ok = status === 0;
  return check('iproute2', ok, ok ? stdout.trim() : 'no "ip"', 'install iproute2');
}

function tun(): Check {
  try {
    accessSync('/dev/net/tun', constants.R_OK | constants.W_OK);
    return check('tun', true, '/dev/net/tun', '');
  } catch (error) {
    const advice = 'modprobe tun; in a container, give it --device /dev/net/tun and --cap-add NET_ADMIN';
    return check('tun', false, (error as Error).message, advice);
  }
}

async function native(): Promise<Check> {
  try {
    const { TapPort } = await import('packetweave');
    new TapPort({ name: 'doctor' });
    return check('native', true, 'koffi', '');
  } catch (error) {
    return check('native', false, (error as Error).message, 'npm install koffi beside packetweave-node');
  }
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
