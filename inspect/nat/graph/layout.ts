/**
 * Where boxes and arrows of a ruleset stand. Columns: what hooks call stands in the first, in the order of a packet; whatever is led to
 * stands right of all that leads there, at their height. So arrows go from left to right, and no library is needed for it: those that lay
 * out any graph (elkjs, graphviz) are larger than the rest of this program, and do not know the order of hooks.
 */
import { type Arrow, type Box, counted, type Graph } from './graph.ts';

export interface Placed {
  box: Box;
  x: number;
  y: number;
  width: number;
  height: number;
  /** Centres of its lines. */
  rows: readonly number[];
}

export interface Layout {
  placed: readonly Placed[];
  /** Headings of the hooks, above their first chain. */
  headings: readonly { text: string; x: number; y: number }[];
  curves: readonly { arrow: Arrow; from: Point; to: Point }[];
  width: number;
  height: number;
}

interface Point {
  x: number;
  y: number;
}

/** Pixels. */
export const SIZES = {
  margin: 24,
  header: 38,
  line: 16,
  gap: 14,
  column: 90,
  heading: 30,
  padding: 8,
  /** Of a character of the text, and of the smaller ones beside it. */
  character: 6.63,
  small: 5.45,
  /** Characters. */
  text: 84,
} as const;

export function layOut({ boxes, arrows }: Graph, top: number): Layout {
  const columns = columnsOf(boxes, arrows);
  const placed = new Map<string, Placed>();
  const headings: { text: string; x: number; y: number }[] = [];
  let x: number = SIZES.margin;
  let height = top;
  for (const [i, column] of columns.entries()) {
    const width = Math.max(...column.map(widthOf));
    const height0 =
      i === 0
        ? placeHooks(column, { x, y: top, width }, placed, headings)
        : placeLed(column, { x, y: top, width }, placed, arrows);
    height = Math.max(height, height0);
    x += width + SIZES.column;
  }
  const curves = arrows.flatMap((arrow) => {
    const [from, to] = [placed.get(arrow.from), placed.get(arrow.to)];
    if (from === undefined || to === undefined) return [];
    const y = from.rows[Math.min(arrow.line, from.rows.length - 1)] ?? from.y + SIZES.header / 2;
    return [{ arrow, from: { x: from.x + from.width, y }, to: { x: to.x, y: to.y + SIZES.header / 2 } }];
  });
  return {
    placed: [...placed.values()],
    headings,
    curves,
    width: x - SIZES.column + SIZES.margin,
    height: height + SIZES.margin,
  };
}

/** Hooks first; then each box right of all that lead to it. A circle, which the kernel allows nowhere, is cut. */
function columnsOf(boxes: readonly Box[], arrows: readonly Arrow[]): Box[][] {
  const from = new Map<string, string[]>();
  for (const { from: source, to } of arrows) from.set(to, [...(from.get(to) ?? []), source]);
  const depths = new Map<string, number>();
  const hooked = new Set(boxes.filter(({ hook }) => hook).map(({ id }) => id));
  const depth = (id: string, trail: ReadonlySet<string>): number => {
    const known = depths.get(id);
    if (known !== undefined) return known;
    if (hooked.has(id) || trail.has(id)) return 0;
    const own =
      1 + Math.max(0, ...(from.get(id) ?? []).map((source) => depth(source, new Set([...trail, id]))));
    depths.set(id, own);
    return own;
  };
  const columns: Box[][] = [];
  for (const box of boxes) {
    const at = depth(box.id, new Set());
    columns[at] = [...(columns[at] ?? []), box];
  }
  return Array.from(columns, (column) => column ?? []).filter((column) => column.length > 0);
}

interface Corner extends Point {
  width: number;
}

function placeHooks(
  column: readonly Box[],
  { x, y, width }: Corner,
  placed: Map<string, Placed>,
  headings: Layout['headings'][number][],
): number {
  // Of equal priority the last that was made is asked first.
  const sorted = [...column]
    .reverse()
    .sort(
      (a, b) =>
        (a.hook?.order ?? 99) - (b.hook?.order ?? 99) || (a.hook?.priority ?? 0) - (b.hook?.priority ?? 0),
    );
  let at = y;
  let hook: string | undefined;
  for (const box of sorted) {
    if (box.hook && box.hook.name !== hook) {
      hook = box.hook.name;
      headings.push({ text: hook, x, y: at + SIZES.heading - 10 });
      at += SIZES.heading;
    }
    at = place(box, { x, y: at, width }, placed);
  }
  return at;
}

/** At the height of what leads there, in that order, and below each other. */
function placeLed(
  column: readonly Box[],
  { x, y, width }: Corner,
  placed: Map<string, Placed>,
  arrows: readonly Arrow[],
): number {
  const heights = new Map(column.map((box) => [box.id, wantedHeight(box, placed, arrows)]));
  const sorted = [...column].sort((a, b) => (heights.get(a.id) ?? 0) - (heights.get(b.id) ?? 0));
  let at = y;
  for (const box of sorted)
    at = place(box, { x, y: Math.max(at, (heights.get(box.id) ?? 0) - SIZES.header / 2), width }, placed);
  return at;
}

function wantedHeight({ id }: Box, placed: ReadonlyMap<string, Placed>, arrows: readonly Arrow[]): number {
  const rows = arrows.flatMap(({ from, to, line }) => {
    const source = to === id ? placed.get(from) : undefined;
    return source ? [source.rows[Math.min(line, source.rows.length - 1)] ?? source.y] : [];
  });
  return rows.length === 0 ? 0 : rows.reduce((sum, row) => sum + row, 0) / rows.length;
}

function place(box: Box, { x, y, width }: Corner, placed: Map<string, Placed>): number {
  const rows = box.lines.map((_, i) => y + SIZES.header + SIZES.line * (i + 0.5));
  const height = SIZES.header + SIZES.line * box.lines.length + (box.lines.length > 0 ? SIZES.padding : 0);
  placed.set(box.id, { box, x, y, width, height, rows });
  return y + height + SIZES.gap;
}

function widthOf({ title, subtitle, lines }: Box): number {
  const widths = [
    title.length * SIZES.character * 1.12,
    subtitle.length * SIZES.small,
    ...lines.map(({ text, comment, counters }) => {
      const note = comment === undefined ? 0 : comment.length + 3;
      const shown = Math.min(text.length + note, SIZES.text) * SIZES.character;
      return shown + (counters === undefined ? 0 : (counted(counters).length + 2) * SIZES.small);
    }),
  ];
  return Math.ceil(Math.max(...widths)) + 2 * SIZES.padding + 6;
}
