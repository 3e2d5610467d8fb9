/** packetweave: a packet dataplane, and the overlay network that it was made for. */
export { BATCH, Batch } from './core/batch.ts';
export { type Clock, RealClock, VirtualClock } from './core/clock.ts';
export { type Context, createContext } from './core/context.ts';
export { Counters } from './core/counters.ts';
export { DROPS, type Drop } from './core/drop.ts';
export { Element, Output, type Sink } from './core/element.ts';
export { Engine, type Steppable, settle, simulate } from './core/engine.ts';
export { Graph, type GraphConfig, type NodeSpec, node } from './core/graph.ts';
export { type Log, silent } from './core/log.ts';
export { HEADROOM, isRemote, NONE, Packet, REMOTE, remote, TAILROOM } from './core/packet.ts';
export { DebugPool, Pool, type PoolOptions } from './core/pool.ts';
export { Random } from './core/random.ts';
export { MemoryUnderlay, memoryPair } from './io/memory.ts';
export { type Port, PortError, type PortHost, PortStats } from './io/port.ts';
