/** All measurements, in the order in which they are made: memory last, after all that could let it grow. */
import { rss } from './memory.ts';
import type { Probe } from './metric.ts';
import { rtt, rttLoaded } from './ping.ts';
import { tcp1, tcp4 } from './tcp.ts';
import { udp64, udp1400 } from './udp.ts';

export const PROBES: readonly Probe[] = [tcp1, tcp4, udp1400, udp64, rtt, rttLoaded, rss];
