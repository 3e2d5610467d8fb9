/** Runs `packetweave-cni` as a process. */
import { answer, standardInput } from './plugin.ts';

const { text, code } = await answer(process.env, standardInput);
process.stdout.write(text);
process.exitCode = code;
