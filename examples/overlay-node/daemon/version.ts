/** The version of this program, as its package says. */
import { createRequire } from 'node:module';

const require = createRequire(import.meta.url);
export const VERSION = (require('packetweave-node/package.json') as { version: string }).version;
