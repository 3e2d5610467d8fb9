/**
 * A port that holds a port and changes nothing: the base of capture, trace and faults. A subclass overrides
 * what it looks at and calls `super` for the rest. What it keeps itself it drops in `release`.
 *
 * Everything that a port says about itself is the wrapped port's, so wrappers stack in any order, and a port
 * is wrapped without anybody noticing. The wrapped port is the wrapper's own: nobody else opens, closes or
 * uses it, and its `onError` is taken over.
 */
import type { Batch } from '../../core/batch.ts';
import type { VtepTable } from '../../tables/vtep.ts';
import type { Medium, Port, PortError, PortHost, PortStats } from '../port.ts';

export abstract class Wrapper implements Port {
  /** The wrapped port. */
  readonly inner: Port;
  declare readonly peers?: VtepTable;
  onError: ((error: PortError) => void) | null;

  constructor(inner: Port) {
    this.inner = inner;
    if (inner.peers !== undefined) this.peers = inner.peers;
    this.onError = inner.onError;
    inner.onError = (error) => {
      this.release();
      this.onError?.(error);
    };
  }

  get name(): string {
    return this.inner.name;
  }

  get medium(): Medium {
    return this.inner.medium;
  }

  get mtu(): number {
    return this.inner.mtu;
  }

  get offloads(): number {
    return this.inner.offloads;
  }

  get stats(): PortStats {
    return this.inner.stats;
  }

  open(host: PortHost): Promise<void> {
    return this.inner.open(host);
  }

  receive(batch: Batch): number {
    return this.inner.receive(batch);
  }

  send(batch: Batch): void {
    this.inner.send(batch);
  }

  tick(now: number): void {
    this.inner.tick?.(now);
  }

  async close(): Promise<void> {
    this.release();
    await this.inner.close();
  }

  /** Drops the packets that the wrapper keeps, and stops: the wrapped port is closing or has failed. */
  protected release(): void {}
}
