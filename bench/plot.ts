/** Line plots as SVG text: panels side by side, time on a logarithmic axis, each line with its name at its end. */

export interface Series {
  name: string;
  /** One of four: which of two colours, and a full or a dashed line. */
  look: 'ours' | 'ours-dashed' | 'theirs' | 'floor';
  points: readonly (readonly [x: number, y: number])[];
}

export interface Panel {
  title: string;
  series: readonly Series[];
}

export interface Plot {
  title: string;
  x: string;
  y: string;
  panels: readonly Panel[];
}

const PANEL = { width: 300, height: 250, labels: 176 };
const MARGIN = { left: 44, top: 84, bottom: 46 };
const LINE = 14;

// Colours that stand out on white and on black; only text and grid need to know which it is.
const STYLE = `
  text { font: 12px system-ui, sans-serif; fill: #24292f; }
  .title { font-size: 15px; font-weight: 600; }
  .panel { font-weight: 600; }
  .grid { stroke: #8c959f; stroke-opacity: .35; }
  .line { fill: none; stroke-width: 2; }
  .ours { stroke: #1a7f9c; } .dot.ours { fill: #1a7f9c; }
  .ours-dashed { stroke: #1a7f9c; stroke-dasharray: 6 4; } .dot.ours-dashed { fill: #1a7f9c; stroke-dasharray: none; }
  .theirs { stroke: #d9602b; } .dot.theirs { fill: #d9602b; }
  .floor { stroke: #8c959f; stroke-dasharray: 2 3; } .dot.floor { fill: #8c959f; stroke-dasharray: none; }
  @media (prefers-color-scheme: dark) { text { fill: #e6edf3; } }`;

/** The plot as a file that stands alone. */
export function linePlot({ title, x, y, panels }: Plot): string {
  const values = panels.flatMap(({ series }) => series.flatMap(({ points }) => points));
  const widest = Math.max(...values.map(([at]) => at));
  const [low, high] = decadesAround(values.map(([, value]) => value));
  const toX = (at: number) => (PANEL.width * at) / widest;
  const toY = (value: number) => PANEL.height * (1 - Math.log(value / low) / Math.log(high / low));
  const width = MARGIN.left + panels.length * (PANEL.width + PANEL.labels);
  const height = MARGIN.top + PANEL.height + MARGIN.bottom;
  const scale = { toX, toY, ticksX: ticks(widest), ticksY: logTicks(low, high) };
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img">
<title>${xml(title)}</title>
<style>${STYLE}
</style>
<text class="title" x="12" y="22">${xml(title)}</text>
<text x="12" y="42">${xml(y)}</text>
${panels.map((panel, at) => drawPanel(panel, x, at, scale)).join('\n')}
</svg>
`;
}

interface Scale {
  toX(at: number): number;
  toY(value: number): number;
  ticksX: readonly number[];
  ticksY: readonly number[];
}

function drawPanel(
  { title, series }: Panel,
  x: string,
  at: number,
  { toX, toY, ticksX, ticksY }: Scale,
): string {
  const { width, height } = PANEL;
  const middle = (look: string, y: number, text: string) =>
    `<text class="${look}" x="${width / 2}" y="${y}" text-anchor="middle">${xml(text)}</text>`;
  const parts = [middle('panel', -14, title), middle('axis', height + 38, x)];
  for (const value of ticksY) {
    const place = round(toY(value));
    parts.push(`<path class="grid" d="M0 ${place}H${width}"/>`);
    parts.push(`<text x="-8" y="${place + 4}" text-anchor="end">${value}</text>`);
  }
  for (const value of ticksX) {
    parts.push(`<text x="${round(toX(value))}" y="${height + 18}" text-anchor="middle">${value}</text>`);
  }
  const ends = series.map(({ points }) => toY(points.at(-1)?.[1] ?? 1));
  const places = apart(ends);
  series.forEach(({ name, look, points }, index) => {
    const path = points.map(([x, y]) => `${round(toX(x))} ${round(toY(y))}`).join('L');
    parts.push(`<path class="line ${look}" d="M${path}"/>`);
    for (const [x, y] of points) {
      parts.push(`<circle class="dot ${look}" cx="${round(toX(x))}" cy="${round(toY(y))}" r="2.5"/>`);
    }
    parts.push(`<text x="${width + 10}" y="${round((places[index] ?? 0) + 4)}">${xml(name)}</text>`);
  });
  const left = MARGIN.left + at * (width + PANEL.labels);
  return `<g transform="translate(${left} ${MARGIN.top})">\n${parts.join('\n')}\n</g>`;
}

/** Places near those wanted, in their order, at least a line of text apart. */
function apart(wanted: readonly number[]): number[] {
  const order = wanted.map((place, index) => ({ place, index })).sort((a, b) => a.place - b.place);
  const places = [...wanted];
  let last = -Infinity;
  for (const { place, index } of order) {
    last = Math.max(place, last + LINE);
    places[index] = last;
  }
  return places;
}

/** 1, 2 and 5 of each decade. */
const STEPS = [1, 2, 5];

function logTicks(low: number, high: number): number[] {
  const ticks: number[] = [];
  for (let decade = 10 ** Math.floor(Math.log10(low)); decade <= high; decade *= 10) {
    ticks.push(...STEPS.map((step) => round(step * decade)).filter((value) => value >= low && value <= high));
  }
  return ticks;
}

/** The nearest of 1, 2, 5 times a power of ten below the least and above the greatest. */
function decadesAround(values: readonly number[]): [number, number] {
  const [least, most] = [Math.min(...values), Math.max(...values)];
  const around = logTicks(10 ** Math.floor(Math.log10(least)), 10 ** Math.ceil(Math.log10(most)));
  const [low, high] = [around.findLast((tick) => tick <= least), around.find((tick) => tick >= most)];
  // One value alone has an axis, too.
  return low === high ? [least / 2, most * 2] : [low ?? least, high ?? most];
}

const ticks = (widest: number): number[] => {
  const step = 10 ** Math.floor(Math.log10(widest / 2));
  const every = [1, 2, 5].map((by) => by * step).find((by) => widest / by <= 6) ?? step * 5;
  return Array.from({ length: Math.floor(widest / every) + 1 }, (_, at) => at * every);
};

const round = (value: number) => Math.round(value * 100) / 100;
const xml = (text: string) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
