/** Ports for tests that must know them before somebody listens. */
import { randomInt } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { createServer } from 'node:net';

/** Above the ports of services, and below those that Linux gives to whoever asks for any (32768 and more). */
const FIRST = 12_000;
const COUNT = 20_000;

const TRIES = 100;

/** A port that nobody has at any address, for TCP and UDP. The kernel gives it to nobody who does not name it. */
export async function freePort(): Promise<number> {
  for (let i = 0; i < TRIES; i++) {
    const port = FIRST + randomInt(COUNT);
    if ((await freeTcp(port)) && (await freeUdp(port))) return port;
  }
  throw new Error(`${TRIES} ports of ${FIRST} to ${FIRST + COUNT - 1} are all in use`);
}

function freeTcp(port: number): Promise<boolean> {
  const server = createServer();
  return new Promise((resolve) => {
    server.once('error', () => resolve(false));
    server.listen(port, () => server.close(() => resolve(true)));
  });
}

function freeUdp(port: number): Promise<boolean> {
  const socket = createSocket('udp4');
  return new Promise((resolve) => {
    socket.once('error', () => socket.close(() => resolve(false)));
    socket.bind(port, () => socket.close(() => resolve(true)));
  });
}
