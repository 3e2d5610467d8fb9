/**
 * The whole, on one machine: two hosts, each with its daemon, joined to a cluster; an encrypted network between them, real
 * commands on it that find each other by name, and a published port. As root on Linux the hosts are network namespaces;
 * otherwise they are two nodes in this process. The exit code is 0 if everything was as it should be.
 *
 *     npm start [-- --unprivileged]
 */
import { parseArgs } from 'node:util';
import { whyNot } from './host.ts';
import { privileged } from './privileged.ts';
import { Report } from './report.ts';
import { unprivileged } from './unprivileged.ts';

const { values } = parseArgs({ options: { unprivileged: { type: 'boolean', default: false } } });
const reason = values.unprivileged ? 'it was asked for' : whyNot();
const report = new Report();
try {
  if (reason === null) await privileged(report);
  else {
    report.say(`Two nodes in this process, without privilege: ${reason}.`);
    await unprivileged(report);
  }
} catch (error) {
  report.expect(false, (error as Error).message);
}
process.exitCode = report.failed ? 1 : 0;
