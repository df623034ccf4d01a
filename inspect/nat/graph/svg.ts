/** The picture: light or dark as the reader has it, without script, letters escaped. */
import type { Owner } from '../../owner.ts';
import { NOBODY } from '../../owner.ts';
import { counted, type Graph, type Line } from './graph.ts';
import { type Layout, layOut, type Placed, SIZES } from './layout.ts';

/** Hues for owners, as degrees; ours is the first, nobody's is grey. */
const HUES = [212, 28, 140, 330, 265, 55, 180, 0, 95, 300] as const;

const STYLE = `
text { font-family: ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; font-size: 11px; fill: #1c2430 }
.page { fill: #ffffff } .box { fill: #f7f8fa; stroke-width: 1.2 } .set { stroke-dasharray: 4 3 }
.title { font-weight: 700; font-size: 12px } .small { font-size: 9px; fill: #5b6675 } .fold { font-style: italic; fill: #5b6675 }
.heading { font-size: 15px; font-weight: 700; letter-spacing: .04em } .arrow { fill: none; stroke-width: 1.3; opacity: .75 } .asks { stroke-dasharray: 3 3 }
@media (prefers-color-scheme: dark) {
  text { fill: #e4e8ee } .page { fill: #14181f } .box { fill: #1c222c } .small, .fold { fill: #98a3b3 }
}`;

/** @param title on top: whose rules these are, and when they were read */
export function svgOf(graph: Graph, title: string): string {
  const owners = ownersOf(graph);
  const layout = layOut(graph, 84);
  const width = Math.max(layout.width, 40 + 8 * title.length, legendWidth(owners));
  const colours = new Map(owners.map((who, i) => [who, i]));
  const colour = ({ who }: Owner) => `o${colours.get(who) ?? 0}`;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${round(width)}" height="${round(layout.height)}" viewBox="0 0 ${round(width)} ${round(layout.height)}" role="img">`,
    `<title>${escaped(title)}</title>`,
    `<style>${STYLE}${owners.map((who, i) => ownerStyle(who, i, owners)).join('')}</style>`,
    `<defs>${owners.map((_, i) => `<marker id="a${i}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto"><path class="o${i}f" d="M0 0L8 4L0 8z"/></marker>`).join('')}</defs>`,
    `<rect class="page" width="100%" height="100%"/>`,
    `<text class="heading" x="${SIZES.margin}" y="32">${escaped(title)}</text>`,
    ...legend(owners),
    ...layout.curves.map((curve) => arrowOf(curve, colour, layout, colours)),
    ...layout.headings.map(
      ({ text, x, y }) => `<text class="heading" x="${x}" y="${round(y)}">${escaped(text)}</text>`,
    ),
    ...layout.placed.map((placed) => boxOf(placed, colour)),
    '</svg>',
    '',
  ].join('\n');
}

/** Ours first, nobody last. */
function ownersOf({ boxes }: Graph): string[] {
  const found = new Set(
    boxes.flatMap(({ owner, lines }) => [owner.who, ...lines.map((line) => line.owner.who)]),
  );
  const others = [...found].filter((who) => who !== 'weft' && who !== NOBODY.who).sort();
  return [...(found.has('weft') ? ['weft'] : []), ...others, NOBODY.who];
}

function ownerStyle(who: string, i: number, owners: readonly string[]): string {
  const hue = HUES[(owners[0] === 'weft' ? i : i + 1) % HUES.length] ?? 0;
  const [strong, light] =
    who === NOBODY.who
      ? ['hsl(215, 8%, 52%)', 'hsl(215, 10%, 62%)']
      : [`hsl(${hue}, 68%, 42%)`, `hsl(${hue}, 62%, 62%)`];
  const rules = (colour: string) => `.o${i} { stroke: ${colour} } .o${i}f { fill: ${colour} }`;
  return `\n${rules(strong)}\n@media (prefers-color-scheme: dark) { ${rules(light)} }`;
}

const legendStep = (who: string) => 30 + who.length * SIZES.character;
const legendWidth = (owners: readonly string[]) =>
  SIZES.margin * 2 + owners.reduce((sum, who) => sum + legendStep(who), 0);

function legend(owners: readonly string[]): string[] {
  let x: number = SIZES.margin;
  return owners.map((who, i) => {
    const at = x;
    x += legendStep(who);
    return `<rect class="o${i}f" x="${round(at)}" y="50" width="11" height="11" rx="2"/><text x="${round(at + 16)}" y="60">${escaped(who)}</text>`;
  });
}

function boxOf({ box, x, y, width, height, rows }: Placed, colour: (owner: Owner) => string): string {
  const own = colour(box.owner);
  const lines = box.lines.map((line, i) => lineOf(line, { x, y: rows[i] ?? y, width }, colour));
  return [
    `<g><rect class="box ${own}${box.kind === 'set' ? ' set' : ''}" x="${x}" y="${round(y)}" width="${width}" height="${round(height)}" rx="5"/>`,
    `<rect class="${own}f" x="${x}" y="${round(y)}" width="5" height="${round(height)}" rx="2"/>`,
    `<text class="title" x="${x + SIZES.padding + 4}" y="${round(y + 15)}">${escaped(box.title)}</text>`,
    `<text class="small" x="${x + SIZES.padding + 4}" y="${round(y + 28)}">${escaped(box.subtitle)}</text>`,
    ...lines,
    '</g>',
  ].join('\n');
}

function lineOf(
  { text, comment, owner, counters, folded }: Line,
  at: { x: number; y: number; width: number },
  colour: (owner: Owner) => string,
): string {
  const base = round(at.y + 4);
  const shown = cut(text, SIZES.text);
  // What room is left says what the rule is for.
  const room = SIZES.text - shown.length - 3;
  const note = comment !== undefined && room > 8 ? cut(comment, room) : undefined;
  const whole = comment === undefined ? text : `${text}  (${comment})`;
  const words = [
    `<text${folded ? ' class="fold"' : ''} x="${at.x + SIZES.padding + 4}" y="${base}">${escaped(shown)}`,
    note === undefined ? '' : `<tspan class="fold" dx="12">${escaped(note)}</tspan>`,
    shown === text && note === comment ? '' : `<title>${escaped(whole)}</title>`,
    '</text>',
  ].join('');
  const strip = folded
    ? ''
    : `<rect class="${colour(owner)}f" x="${at.x}" y="${round(at.y - 6)}" width="5" height="12"/>`;
  const count = counters
    ? `<text class="small" text-anchor="end" x="${at.x + at.width - SIZES.padding}" y="${base}">${escaped(counted(counters))}</text>`
    : '';
  return strip + words + count;
}

function arrowOf(
  { arrow, from, to }: Layout['curves'][number],
  colour: (owner: Owner) => string,
  { placed }: Layout,
  colours: ReadonlyMap<string, number>,
): string {
  const target = placed.find(({ box }) => box.id === arrow.to)?.box.owner ?? NOBODY;
  const bend = Math.max(30, Math.abs(to.x - from.x) / 2);
  const path = `M${round(from.x)} ${round(from.y)}C${round(from.x + bend)} ${round(from.y)} ${round(to.x - bend)} ${round(to.y)} ${round(to.x - 2)} ${round(to.y)}`;
  const line = `<path class="arrow ${colour(target)}${arrow.asks ? ' asks' : ''}" d="${path}" marker-end="url(#a${colours.get(target.who) ?? 0})"/>`;
  if (arrow.count < 2) return line;
  return `${line}<text class="small" x="${round(from.x + 6)}" y="${round(from.y - 3)}">${arrow.count}×</text>`;
}

const cut = (text: string, room: number) => (text.length > room ? `${text.slice(0, room - 1)}…` : text);

const round = (value: number) => Math.round(value * 10) / 10;

/** Control characters are not allowed in XML at all. */
export function escaped(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
    .replaceAll(/[\p{Cc}\p{Cs}]/gu, '�');
}
