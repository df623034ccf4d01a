/** A packet's way as a picture: a box for each namespace it passes, the way there on the left, the way back on the right. */
import type { ComparedHop, Comparison } from '../../inspect/path/compare.ts';
import type { Hop, Path } from '../../inspect/path/hop.ts';
import type { Prediction } from '../../inspect/path/predict.ts';
import { headerWords, hopWords } from './view.ts';

/** Light or dark as the reader has it, without script. */
const STYLE = `
text { font-family: ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; font-size: 12px; fill: #1c2430 }
.page { fill: #fff } .box { fill: #f5f7fa; stroke: #b6c0cc } .head { font-weight: 700 } .title { font-size: 15px; font-weight: 700 }
.good { fill: #1a7f37 } .bad { fill: #c62828 } .rule { fill: #9a5b00 } .dim { fill: #66717f } .arrow { stroke: #66717f; fill: none; stroke-width: 1.4 }
@media (prefers-color-scheme: dark) {
  text { fill: #e4e8ee } .page { fill: #14181f } .box { fill: #1c222c; stroke: #465262 } .good { fill: #5ecb7e } .bad { fill: #ff7b72 }
  .rule { fill: #e3a34f } .dim, .arrow { fill: #98a3b3 } .arrow { fill: none; stroke: #98a3b3 }
}`;

const [LINE, PAD, GAP, MARGIN, CHARACTER] = [18, 10, 22, 24, 7.3];
/** Characters of a line; longer ones are folded. */
const WIDEST = 78;

interface Text {
  words: string;
  kind: '' | 'good' | 'bad' | 'rule' | 'dim' | 'head';
}

interface Box {
  texts: Text[];
}

/** @param title on top: from where to where */
export function traceSvg(title: string, { there, back }: Prediction, comparison?: Comparison): string {
  const plain = (path: Path | undefined): ComparedHop[] =>
    (path?.hops ?? []).map((hop) => ({ hop, mark: ' ' }));
  const columns = [
    boxesOf(comparison?.there ?? plain(there)),
    ...(back === undefined ? [] : [boxesOf(comparison?.back ?? plain(back))]),
  ];
  const feet = [
    ...footOf('predicted', there.outcome, there.why),
    ...(comparison === undefined ? [] : footOf('seen', comparison.outcome, comparison.words)),
    ...(back === undefined ? [] : footOf('and back', back.outcome, back.why)),
    ...(comparison?.differences ?? []).flatMap((one) =>
      folded(`differs: ${one}`).map((words): Text => ({ words, kind: 'bad' })),
    ),
  ];
  let x = MARGIN;
  let bottom = 0;
  const drawn: string[] = [];
  for (const [i, boxes] of columns.entries()) {
    const width = widthOf(boxes.flatMap(({ texts }) => texts));
    const column = drawColumn(i === 0 ? 'there' : 'and back', boxes, x, width);
    drawn.push(...column.drawn);
    bottom = Math.max(bottom, column.bottom);
    x += width + 2 * GAP;
  }
  const foot = feet.map(({ words, kind }, i) => textAt(MARGIN, bottom + GAP + i * LINE, words, kind));
  const width = Math.ceil(Math.max(x - GAP, 2 * MARGIN + widthOf(feet), 2 * MARGIN + title.length * 9.2));
  const height = Math.ceil(bottom + GAP + feet.length * LINE + MARGIN);
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img">`,
    `<title>${escaped(title)}</title>`,
    `<style>${STYLE}</style>`,
    '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto"><path class="dim" d="M0 0L8 4L0 8z"/></marker></defs>',
    '<rect class="page" width="100%" height="100%"/>',
    textAt(MARGIN, MARGIN + 10, title, 'title'),
    ...drawn,
    ...foot,
    '</svg>',
    '',
  ].join('\n');
}

function boxesOf(compared: readonly ComparedHop[]): Box[] {
  const boxes: Box[] = [];
  let namespace = '';
  for (const { hop, mark, remark, seen } of compared) {
    const here = hop.place.namespace;
    if (here !== namespace) boxes.push({ texts: [{ words: headerWords(hop), kind: 'head' }] });
    namespace = here;
    const sign = hop.kind === 'drop' ? '✗' : mark;
    const texts = folded(`${sign} ${hopWords(hop)}`).map(
      (words): Text => ({ words, kind: kindOf(hop, mark) }),
    );
    if (seen !== undefined)
      texts.push(...folded(`  ✓ seen: ${seen}`).map((words): Text => ({ words, kind: 'dim' })));
    if (remark !== undefined)
      texts.push(...folded(`  ${remark}`).map((words): Text => ({ words, kind: 'bad' })));
    boxes.at(-1)?.texts.push(...texts);
  }
  return boxes;
}

function kindOf(hop: Hop, mark: string): Text['kind'] {
  if (hop.kind === 'drop' || mark === '✗') return 'bad';
  if (hop.kind === 'rule') return /drop|reject/.test(hop.verdict) ? 'bad' : 'rule';
  return hop.kind === 'deliver' ? 'good' : '';
}

function footOf(what: string, outcome: string, why: string): Text[] {
  const kind = outcome === 'delivered' || outcome === 'left' ? 'good' : 'bad';
  return folded(`${what}: ${outcome}: ${why}`, 2 * WIDEST).map((words) => ({ words, kind }));
}

/** At blanks, the rest indented. */
function folded(text: string, widest = WIDEST): string[] {
  if (text.length <= widest) return [text];
  const cut = text.lastIndexOf(' ', widest);
  const at = cut > widest / 2 ? cut : widest;
  return [text.slice(0, at), ...folded(`    ${text.slice(at).trimStart()}`, widest)];
}

function widthOf(texts: readonly Text[]): number {
  return 2 * PAD + Math.max(0, ...texts.map(({ words }) => words.length)) * CHARACTER;
}

function drawColumn(
  name: string,
  boxes: readonly Box[],
  x: number,
  width: number,
): { drawn: string[]; bottom: number } {
  let y = MARGIN + 34;
  const drawn = [textAt(x, y, name, 'dim')];
  y += 12;
  boxes.forEach(({ texts }, i) => {
    const height = 2 * PAD + texts.length * LINE - 4;
    if (i > 0) {
      const middle = x + 28;
      drawn.push(`<path class="arrow" marker-end="url(#tip)" d="M${middle} ${y - GAP}V${y}"/>`);
    }
    drawn.push(`<rect class="box" rx="6" x="${x}" y="${y}" width="${round(width)}" height="${height}"/>`);
    for (const [n, { words, kind }] of texts.entries())
      drawn.push(textAt(x + PAD, y + PAD + 10 + n * LINE, words, kind));
    y += height + GAP;
  });
  return { drawn, bottom: y };
}

function textAt(x: number, y: number, words: string, kind: string): string {
  const style = kind === '' ? '' : ` class="${kind}"`;
  return `<text${style} x="${round(x)}" y="${round(y)}" xml:space="preserve">${escaped(words)}</text>`;
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}

function escaped(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;');
}
