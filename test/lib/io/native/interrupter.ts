/** A worker that interrupts a poller of another thread, as often as it is told to. */
import { parentPort } from 'node:worker_threads';
import { interrupt } from '../../../../lib/io/native/poller.ts';

parentPort!.on('message', (fd: number) => interrupt(fd));
parentPort!.postMessage('ready');
