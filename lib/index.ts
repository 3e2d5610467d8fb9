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
export {
  ALL_REMOTES,
  HEADROOM,
  isRemote,
  NONE,
  Packet,
  REMOTE,
  remote,
  TAILROOM,
} from './core/packet.ts';
export { DebugPool, Pool, type PoolOptions } from './core/pool.ts';
export { Random } from './core/random.ts';
export { Ring } from './core/ring.ts';
export { Ageing } from './elements/ageing.ts';
export { Bridge } from './elements/bridge.ts';
export { Coalesce, type CoalesceOptions } from './elements/coalesce.ts';
export { Dispatch } from './elements/dispatch.ts';
export { EspOpen } from './elements/esp-open.ts';
export { EspSeal } from './elements/esp-seal.ts';
export { Guard } from './elements/guard.ts';
export { Meter } from './elements/meter.ts';
export { NatIn, type NatInOptions, type Publisher } from './elements/nat-in.ts';
export { NatOut, type NatOutOptions } from './elements/nat-out.ts';
export { NeighborSuppress } from './elements/neighbor-suppress.ts';
export { Queue } from './elements/queue.ts';
export { Segment, type SegmentOptions } from './elements/segment.ts';
export { Tee } from './elements/tee.ts';
export { TooBig } from './elements/too-big.ts';
export { Trace } from './elements/trace.ts';
export { VxlanDecap } from './elements/vxlan-decap.ts';
export { VxlanEncap } from './elements/vxlan-encap.ts';
export { type AfPacketOptions, AfPacketPort } from './io/af-packet.ts';
export { Endpoint, type EndpointCounts, type EndpointOptions } from './io/endpoint.ts';
export { MemoryUnderlay, memoryPair } from './io/memory.ts';
export { inNamespace } from './io/namespace.ts';
export { PcapReader, type PcapReaderOptions, PcapWriter, type PcapWriterOptions } from './io/pcap-file.ts';
export { PcapLive } from './io/pcap-live.ts';
export {
  CHECKSUM,
  DATAGRAM,
  ETHERNET,
  GAPS,
  IP,
  type Medium,
  type Port,
  PortError,
  type PortErrorCode,
  type PortHost,
  PortStats,
  TRAIN,
  TSO4,
  TSO6,
  USO,
} from './io/port.ts';
export { type RawNativeOptions, RawNativePort } from './io/raw-native.ts';
export { type TapOptions, TapPort, TunPort } from './io/tap.ts';
export { type UdpOptions, UdpPort } from './io/udp.ts';
export { type UdpNativeOptions, UdpNativePort } from './io/udp-native.ts';
export { Capture } from './io/wrap/capture.ts';
export { Faults } from './io/wrap/faults.ts';
export { PortTrace } from './io/wrap/trace.ts';
export {
  type CaptureCounts,
  type CaptureEnd,
  type CaptureRequest,
  type DropSeen,
  type DropTraceOptions,
  type EncryptedPeer,
  type EspConfig,
  type KeyChannel,
  KeyDirectory,
  type LocalConfig,
  type NetworkConfig,
  type OnBytes,
  type OnDrops,
  Overlay,
  type OverlayConfig,
  type OverlayParts,
  type PortConfig,
  type PortCounts,
  type PublishedConfig,
  type RemoteConfig,
  type RunningCapture,
  type RunningTrace,
  type StaticConfig,
} from './overlay.ts';
export { Fdb } from './tables/fdb.ts';
export { FlowTable, type FlowTableOptions } from './tables/flow.ts';
export { NeighborTable } from './tables/neighbor.ts';
export { type Publication, Published } from './tables/publish.ts';
export { VtepTable } from './tables/vtep.ts';
export {
  OverlayWorker,
  type OverlayWorkerOptions,
  type PortKind,
  type PortSpec,
  type WorkerConfig,
  type WorkerNetwork,
  type WorkerPort,
} from './worker.ts';
