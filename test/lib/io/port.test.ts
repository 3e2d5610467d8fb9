import t from 'tap';
import { Counters } from '../../../lib/core/counters.ts';
import { CLOSED, NOT_FOR_US, SPOOFED_MAC, TOO_BIG } from '../../../lib/core/drop.ts';
import { GSO_ECN, GSO_TCPV4, GSO_TCPV6, GSO_UDP_L4 } from '../../../lib/core/packet.ts';
import { DebugPool } from '../../../lib/core/pool.ts';
import { memoryPair } from '../../../lib/io/memory.ts';
import { CHECKSUM, GAPS, PortStats, TRAIN, TSO4, TSO6, takes, USO } from '../../../lib/io/port.ts';

t.test('what a port takes', async (t) => {
  const pool = new DebugPool({ count: 1, slot: 66048 });
  const p = pool.take()!.set(new Uint8Array(3000));
  const [one] = memoryPair({ mtu: 1514 });
  const port = (offloads: number) => Object.create(one, { offloads: { value: offloads } }) as typeof one;
  const all = CHECKSUM | TSO4 | TSO6 | USO | TRAIN;

  t.equal(takes(port(all), p), false, 'a long frame that is no super-frame');
  p.end = p.start + 1514;
  t.equal(takes(port(0), p), true, 'as long as the mtu');
  p.end++;
  t.equal(takes(port(0), p), false, 'a byte longer');
  p.end--;
  p.csumStart = p.start + 34;
  t.same([takes(port(0), p), takes(port(CHECKSUM), p)], [false, true], 'a partial checksum');

  p.end = p.start + 3000;
  p.hdrLen = 54;
  p.gsoSize = 1460;
  for (const [gsoType, bit] of [
    [GSO_TCPV4, TSO4],
    [GSO_TCPV4 | GSO_ECN, TSO4],
    [GSO_TCPV6, TSO6],
    [GSO_UDP_L4, USO],
    [GSO_UDP_L4, TRAIN],
  ]) {
    p.gsoType = gsoType;
    p.hdrLen = bit === TRAIN ? 0 : 54;
    t.same([takes(port(bit), p), takes(port(all & ~bit), p)], [true, false], `super-frame ${gsoType}`);
    p.gap = 54;
    t.same([takes(port(all), p), takes(port(all | GAPS), p)], [false, true], 'with gaps');
    p.gap = 0;
  }
  p.hdrLen = 54;
  p.gsoSize = 1461;
  t.equal(takes(port(all), p), false, 'segments longer than the mtu');
  p.gsoSize = 100;
  p.gsoType = 3;
  t.equal(takes(port(all), p), false, 'a kind that nobody declares');
  pool.give(p);
});

t.test('statistics move to shared counters and back', async (t) => {
  const pool = new DebugPool({ count: 2 });
  const counters = new Counters();
  const stats = new PortStats();
  stats.sent(60);
  stats.drop(pool.take()!, CLOSED);
  stats.attach(counters, 'eth0');
  stats.received(100);
  stats.lost(NOT_FOR_US, 3);
  const all = {
    'rx.packets': 1,
    'rx.bytes': 100,
    'tx.packets': 1,
    'tx.bytes': 60,
    'drop.closed': 1,
    'drop.not-for-us': 3,
  };
  t.same(counters.read('eth0'), all);
  stats.detach(counters, 'eth0');
  stats.lost(TOO_BIG);
  t.same(counters.read('eth0'), {});
  t.same([stats.rxPackets, stats.rxBytes, stats.txPackets, stats.txBytes], [1, 100, 1, 60]);
  t.same([stats.dropped, stats.droppedFor(CLOSED), stats.droppedFor(TOO_BIG)], [5, 1, 1]);
  t.equal(stats.droppedFor(SPOOFED_MAC), 0, 'no port drops for that');
  t.equal(pool.used, 0);
});
