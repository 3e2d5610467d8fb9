/** The contract of ports, over raw IP sockets and a cable whose other end is only looked at. */
import t, { type Test } from 'tap';
import type { Batch } from '../../../lib/core/batch.ts';
import { RawNativePort } from '../../../lib/io/raw-native.ts';
import { Wrapper } from '../../../lib/io/wrap/wrapper.ts';
import { within } from '../../gen/netns.ts';
import { noNamespaces, noNative, skip } from '../../gen/skip.ts';
import { ADDRESSES, ESP, type Family, packet, turned, Wire } from '../../gen/wire.ts';
import { portConformance, type Rig } from './conformance.ts';

/** Turns what is received round, so that frames of one kind do for both directions. */
class Turning extends Wrapper {
  readonly #namespace: string;

  constructor(inner: RawNativePort, namespace: string) {
    super(inner);
    this.#namespace = namespace;
  }

  override open(host: Parameters<Wrapper['open']>[0]): Promise<void> {
    return within(this.#namespace, () => this.inner.open(host));
  }

  override receive(batch: Batch): number {
    super.receive(batch);
    for (let i = 0; i < batch.length; i++) batch.packets[i].frame().set(turned(batch.packets[i].frame()));
    return batch.length;
  }
}

/** One wire does for all tests of a family. */
function rig(t: Test, family: Family): () => Rig {
  let wire: Wire | null = null;
  return () => {
    wire ??= new Wire(t);
    wire.collect(ESP);
    const { here, deliver, collect } = wire;
    return {
      port: new Turning(new RawNativePort({ address: ADDRESSES[family][0] }), here),
      deliver: (frames) => deliver(frames.map(turned)),
      collect: () => collect(ESP),
      close: () => {},
    };
  };
}

const reason = noNamespaces() ?? noNative();
if (reason !== null) skip(t, reason);
else {
  for (const family of [4, 6] as const) {
    const sizes = [48, 49, 60, 64, 127, 128, 129, 255, 500, 511, 512, 999, 1024, 1400, 1499, 1500];
    portConformance(t, `raw-native, IPv${family}`, rig(t, family), {
      paced: true,
      sizes,
      frame: (length, serial) => packet(family, ADDRESSES[family], length, serial),
    });
  }
}
