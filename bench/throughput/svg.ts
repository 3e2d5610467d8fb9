/** The results as a picture: a panel a metric, a bar a path. Plain SVG, for light and dark pages. */
import { METRICS, type Metric, UNITS } from './metrics/metric.ts';
import type { Result } from './results.ts';
import { figure } from './table.ts';

const TITLES: Readonly<Record<Metric, string>> = {
  tcp1: 'TCP, one flow',
  tcp4: 'TCP, four flows',
  udp1400: 'UDP, 1400 bytes, received',
  udp64: 'UDP, 64 bytes, received',
  rtt: 'round trip, idle',
  'rtt-loaded': 'round trip beside a TCP flow',
  'cpu-per-gb': 'processor time a GB, both hosts',
  rss: 'memory of one daemon',
};
/** Where less is better, the title says so. */
const LESS: ReadonlySet<Metric> = new Set<Metric>(['rtt', 'rtt-loaded', 'cpu-per-gb', 'rss']);
const OWN: ReadonlySet<string> = new Set(['plain', 'esp-udp', 'esp-raw']);

/** Sizes in pixels. */
const COLUMNS = 2;
const PANEL = 440;
const NAMES = 158;
const BARS = 200;
const ROW = 20;
const HEAD = 30;
const GAP = 18;

/** Gray text where it is not known what is behind it. */
const STYLE = `
  text { font: 12px system-ui, sans-serif; fill: #737b83; }
  .title { font-weight: 600; }
  .peer { fill: #8c959f; }
  .own { fill: #2f81f7; }
  @media (prefers-color-scheme: light) { text { fill: #1f2328; } .own { fill: #0969da; } }
  @media (prefers-color-scheme: dark) { text { fill: #e6edf3; } .peer { fill: #6e7681; } }
`;

/** One panel: bars as long as their values, the longest of them over the whole width. */
function panel(metric: Metric, results: readonly Result[], x: number, y: number): string {
  const rows = results.filter((result) => result.metric === metric && result.value !== null);
  const most = Math.max(...rows.map(({ value }) => value!));
  const better = LESS.has(metric) ? ', less is better' : '';
  const bars = rows.map(({ path, value }, i) => {
    const top = HEAD + i * ROW;
    const width = Math.max(1, (value! / most) * BARS).toFixed(1);
    const kind = OWN.has(path) ? 'own' : 'peer';
    return [
      `<text x="${NAMES - 8}" y="${top + 11}" text-anchor="end">${path}</text>`,
      `<rect class="${kind}" x="${NAMES}" y="${top}" width="${width}" height="${ROW - 6}" rx="2"/>`,
      `<text x="${NAMES + Number(width) + 6}" y="${top + 11}">${figure(value!)}</text>`,
    ].join('');
  });
  const title = `<text class="title" x="0" y="16">${TITLES[metric]}, ${UNITS[metric]}${better}</text>`;
  return `<g transform="translate(${x} ${y})">\n${[title, ...bars].join('\n')}\n</g>`;
}

export function svg(results: readonly Result[]): string {
  // The wire itself is no overlay, and beside it the others would be short.
  const shown = results.filter(({ path }) => path !== 'veth');
  const metrics = METRICS.filter((metric) => shown.some((r) => r.metric === metric && r.value !== null));
  const rows = new Set(shown.map(({ path }) => path)).size;
  const height = HEAD + rows * ROW + GAP;
  const panels = metrics.map((metric, i) =>
    panel(metric, shown, (i % COLUMNS) * PANEL, Math.floor(i / COLUMNS) * height),
  );
  const size = [PANEL * COLUMNS, Math.ceil(metrics.length / COLUMNS) * height];
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${size[0]} ${size[1]}" width="${size[0]}" role="img">`,
    '<title>Throughput of overlays between two network namespaces</title>',
    `<style>${STYLE}</style>`,
    ...panels,
    '</svg>\n',
  ].join('\n');
}
