/** A packet's way as people read it: a column of hops, grouped by where they are. */

import type { Owner } from '../../inspect/owner.ts';
import type { ComparedHop, Comparison, Mark } from '../../inspect/path/compare.ts';
import type { Hop, Path } from '../../inspect/path/hop.ts';
import { tupleWords } from '../../inspect/path/packet.ts';
import type { Prediction } from '../../inspect/path/predict.ts';
import { placeWords } from '../../inspect/path/world.ts';

/** Colours; each gives the text back where there are none. */
export interface Paint {
  bold(text: string): string;
  dim(text: string): string;
  green(text: string): string;
  red(text: string): string;
  yellow(text: string): string;
  cyan(text: string): string;
}

export function hopLines(shown: readonly ComparedHop[], paint: Paint): string[] {
  const lines: string[] = [];
  let place = '';
  for (const { hop, mark, remark, seen } of shown) {
    const here = hop.place.namespace;
    if (here !== place) lines.push(paint.bold(headerWords(hop)));
    place = here;
    lines.push(`${marked(hop.kind === 'drop' ? ' ' : mark, paint)} ${paintHop(hop, paint)}`.trimEnd());
    if (hop.rewritten !== undefined) lines.push(`      ${paint.cyan(`→ ${tupleWords(hop.rewritten)}`)}`);
    if (seen !== undefined) lines.push(`      ${paint.green('✓')} ${paint.dim(`seen: ${seen}`)}`);
    if (remark !== undefined) lines.push(`      ${paint.red(remark)}`);
  }
  return lines;
}

/** Where hops are, as a heading. */
export function headerWords({ place }: Hop): string {
  const { host, container } = place;
  return container === undefined ? host : `${placeWords(place)} on ${host}`;
}

function marked(mark: Mark, paint: Paint): string {
  if (mark === '✓') return `  ${paint.green(mark)}`;
  return mark === '✗' ? `  ${paint.red(mark)}` : `  ${paint.dim(mark)}`;
}

function paintHop(hop: Hop, paint: Paint): string {
  if (hop.kind === 'drop') return paint.red(`✗ ${hop.words}`);
  if (hop.kind === 'deliver') return paint.green(hop.words);
  if (hop.kind !== 'rule') return hop.words;
  const by = ownerWords(hop.owner);
  const verdict = /drop|reject/.test(hop.verdict) ? paint.red(hop.verdict) : paint.yellow(hop.verdict);
  return `${verdict}  ${ruleWords(hop)}${by === '' ? '' : paint.dim(`  (${by})`)}`;
}

/** A hop in words, rewritten addresses with it. */
export function hopWords(hop: Hop): string {
  const after = hop.rewritten === undefined ? '' : ` → ${tupleWords(hop.rewritten)}`;
  if (hop.kind !== 'rule') return `${hop.words}${after}`;
  const by = ownerWords(hop.owner);
  return `${hop.verdict}  ${ruleWords(hop)}${by === '' ? '' : `  (${by})`}${after}`;
}

function ruleWords({ hook, family, table, chain, text, element }: Extract<Hop, { kind: 'rule' }>): string {
  return `${hook}: ${family} ${table} ${chain}: ${plainText(text)}${element === undefined ? '' : `, element ${element}`}`;
}

/** Our own comments say what the owner says. */
function plainText(text: string): string {
  return text.replace(/ comment "weft\/\d [^"]*"/, '');
}

export function ownerWords({ who, network, containerId, plugin }: Owner): string {
  if (who === 'somebody else') return '';
  const parts = [who, plugin, network && `network ${network}`, containerId && `container ${containerId}`];
  return parts.filter(Boolean).join(', ');
}

/** `delivered`, with why. */
export function outcomeLine({ outcome, why }: Path, paint: Paint): string {
  const good = outcome === 'delivered' || outcome === 'left';
  const mark = good ? paint.green('✓') : outcome === 'unknown' ? paint.yellow('?') : paint.red('✗');
  return `${mark} ${good ? paint.green(outcome) : paint.red(outcome)}: ${why}`;
}

/** The prediction alone. */
export function predictionLines({ there, back }: Prediction, paint: Paint): string[] {
  const plain = (hops: readonly Hop[]): ComparedHop[] => hops.map((hop) => ({ hop, mark: ' ' }));
  return [
    ...hopLines(plain(there.hops), paint),
    '',
    outcomeLine(there, paint),
    ...(back === undefined ? [] : backLines(back, paint, plain(back.hops))),
    ...remarks(there, back, paint),
  ];
}

/** Prediction and observation side by side: marks are what was seen. */
export function comparisonLines(
  { there, back }: Prediction,
  compared: Comparison,
  notSeen: readonly string[],
  paint: Paint,
): string[] {
  const { differences, words } = compared;
  const good = compared.outcome === 'delivered' || compared.outcome === 'left';
  const mark = good ? paint.green('✓') : compared.outcome === 'unknown' ? paint.yellow('?') : paint.red('✗');
  return [
    ...hopLines(compared.there, paint),
    '',
    `predicted  ${outcomeLine(there, paint)}`,
    `seen       ${mark} ${words}`,
    ...(back === undefined ? [] : backLines(back, paint, compared.back)),
    ...(differences.length === 0
      ? []
      : ['', paint.bold('What differs:'), ...differences.map((one) => `  ${paint.red(one)}`)]),
    ...remarks(there, back, paint),
    ...notSeen.map((what) => paint.dim(`not looked at: ${what}`)),
  ];
}

/** One line where all is well; all of it where it is not. */
export function backLines(back: Path, paint: Paint, shown: readonly ComparedHop[]): string[] {
  if (back.outcome === 'delivered' && shown.every(({ mark }) => mark !== '✗')) {
    const rewritten = back.hops.filter((hop) => hop.rewritten !== undefined).map(({ words }) => words);
    const changes = rewritten.length === 0 ? '' : ` (${rewritten.join('; ')})`;
    return [`${paint.green('✓')} and back: ${back.why}${paint.dim(changes)}`];
  }
  return ['', paint.bold('and back:'), ...hopLines(shown, paint), '', outcomeLine(back, paint)];
}

export function remarks(there: Path, back: Path | undefined, paint: Paint): string[] {
  const all = (key: 'assumptions' | 'notes') => [...new Set([...there[key], ...(back?.[key] ?? [])])];
  const [assumptions, notes] = [all('assumptions'), all('notes')];
  return [
    ...(notes.length === 0 ? [] : ['', ...notes.map((note) => `${paint.yellow('note')}: ${note}`)]),
    ...(assumptions.length === 0 ? [] : ['', ...assumptions.map((one) => paint.dim(`assumed: ${one}`))]),
  ];
}
