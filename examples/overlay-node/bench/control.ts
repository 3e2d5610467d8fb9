/**
 * What control costs with many nodes and endpoints: time until a change is in force on all nodes of its network, memory
 * and messages of a node. All nodes are in this process.
 *
 *     npm run build && node --expose-gc --max-old-space-size=6000 examples/overlay-node/dist/bench/control.js \
 *       [NODES [NETWORKS [ENDPOINTS [HOSTED]]]]
 *
 * The defaults are 1000 nodes that host 3 of 200 networks each, with 100,000 endpoints. Each node keeps copies of its
 * own of what it knows, so that the memory of the process is that of a thousand hosts.
 */
import { type Spread, simulate } from './control-simulation.ts';

const [nodes = 1000, networks = 200, endpoints = 100_000, hosted = 3] = process.argv.slice(2).map(Number);
const { wrong, ...figures } = await simulate({ nodes, networks, endpoints, hosted, changes: 100, seed: 1 });

const line = (name: string, value: string) => console.log(`${name.padEnd(42)} ${value}`);
const both = ({ mean, max }: Spread, digits: number) =>
  `${mean.toFixed(digits)} mean, ${max.toFixed(digits)} max`;
line('nodes, networks, endpoints, hosted', [nodes, networks, endpoints, hosted].join(', '));
line('joining, all nodes (s)', figures.joinSeconds.toFixed(1));
line('attaching, all endpoints (s)', figures.attachSeconds.toFixed(1));
line('an endpoint started, in force (ms)', both(figures.startMs, 1));
line('an endpoint stopped, in force (ms)', both(figures.stopMs, 1));
line('an endpoint moved, in force (ms)', both(figures.moveMs, 1));
line('nodes told of one started', both(figures.toldOfOne, 1));
line('endpoints that a node knows', both(figures.known, 0));
line('memory of a node (KiB)', figures.nodeKiB === null ? 'say --expose-gc' : figures.nodeKiB.toFixed(0));
line('events of a node', both(figures.events, 0));
line('calls of a node', both(figures.calls, 0));
line('memory of the process (MiB)', (process.resourceUsage().maxRSS / 1024).toFixed(0));
for (const what of wrong) console.error(`wrong: ${what}`);
process.exitCode = wrong.length === 0 ? 0 : 1;
