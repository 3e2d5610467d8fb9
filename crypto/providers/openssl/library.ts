/** The OpenSSL that the Node executable itself contains and exports, by way of `koffi`. */
import { createRequire } from 'node:module';

/** What gives access to the functions of the library. */
export interface Library {
  /** A function of that name. Throws an Error where there is none. */
  // biome-ignore lint/suspicious/noExplicitAny: whoever asks gives it its type
  func(name: string, result: string, parameters: readonly string[]): any;
  /** Where memory lies. It must be an ArrayBuffer's or SharedArrayBuffer's, larger than 64 bytes. */
  addressOf(memory: Uint8Array): number;
}

/** Throws an Error that says in one sentence what is missing. */
export function library(): Library {
  const require = createRequire(import.meta.url);
  let koffi: typeof import('koffi');
  try {
    koffi = require('koffi');
  } catch (cause) {
    throw new Error('the openssl provider needs the package "koffi": npm install koffi', { cause });
  }
  const loaded = koffi.load(null);
  return {
    func: (name, result, parameters) => loaded.func(name, result, [...parameters]),
    addressOf: (memory) => Number(koffi.address(memory)),
  };
}
