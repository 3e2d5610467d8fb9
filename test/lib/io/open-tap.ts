/** Opens a TAP device and prints how that went: a program of its own, for machines that lack something. */
import { TapPort } from '../../../lib/io/tap.ts';
import { testContext, testHost } from '../../gen/context.ts';

const port = new TapPort({ name: 'lacking' });
const result = await port.open(testHost(testContext())).then(
  () => ({ code: 'OK', message: '' }),
  ({ code, message }) => ({ code, message }),
);
await port.close();
process.stdout.write(JSON.stringify(result));
