/** Native libraries, by way of `koffi`. */
import { createRequire } from 'node:module';

/** A function of a library: what it takes and gives is said by whoever asks for it. */
// biome-ignore lint/suspicious/noExplicitAny: it becomes what it is assigned to
type Native = any;

export interface Library {
  /** The function of that name. Throws an Error where there is none. */
  func(name: string, result: string, parameters: readonly string[]): Native;
  /** The function at an address. */
  funcAt(address: number, result: string, parameters: readonly string[]): Native;
  /** The address at an address. */
  pointerAt(address: number): number;
  /** The int at an address. */
  intAt(address: number): number;
  /** Where memory lies. It must be an ArrayBuffer's or SharedArrayBuffer's, larger than 64 bytes. */
  addressOf(memory: Uint8Array): number;
}

/** The program that runs this, with the libraries that it is linked with. Throws an Error where `koffi` is missing. */
export function ownLibrary(): Library {
  return load(null);
}

/** The first library of these names that is installed, or null. Throws an Error where `koffi` is missing. */
export function findLibrary(names: readonly string[]): Library | null {
  for (const name of names) {
    try {
      return load(name);
    } catch (error) {
      if (error instanceof NoKoffi) throw error;
    }
  }
  return null;
}

class NoKoffi extends Error {}

function load(name: string | null): Library {
  const require = createRequire(import.meta.url);
  let koffi: typeof import('koffi');
  try {
    koffi = require('koffi');
  } catch (cause) {
    throw new NoKoffi('it needs the package "koffi": npm install koffi', { cause });
  }
  const library = koffi.load(name);
  return {
    func: (name, result, parameters) => library.func(name, result, [...parameters]),
    funcAt: (address, result, parameters) =>
      koffi.decode(BigInt(address), koffi.proto(result, [...parameters])),
    pointerAt: (address) => Number(koffi.decode(BigInt(address), 'uintptr_t')),
    intAt: (address) => koffi.decode(BigInt(address), 'int'),
    addressOf: (memory) => Number(koffi.address(memory)),
  };
}
