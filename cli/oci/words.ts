/** A command line in runc's manner: options of the program, a command, its options, its words. */
import { OciError } from '../../runtime/oci/bundle.ts';

/** Names of options; true for those that take a value. One letter for a short name. */
export type Known = Readonly<Record<string, boolean>>;

export interface Taken {
  options: ReadonlyMap<string, string>;
  rest: readonly string[];
}

/**
 * The options in front of the first other word: `--name value`, `--name=value`, `-name`, in Go's manner with one stroke or two.
 * @param aliases short names to long ones
 * Throws OciError for one that is not known.
 */
export function takeOptions(
  words: readonly string[],
  known: Known,
  aliases: Readonly<Record<string, string>> = {},
): Taken {
  const options = new Map<string, string>();
  for (let at = 0; at < words.length; at++) {
    const word = words[at] ?? '';
    if (word === '--') return { options, rest: words.slice(at + 1) };
    const [, written, value] = /^--?([A-Za-z][\w-]*)(?:=(.*))?$/s.exec(word) ?? [];
    if (written === undefined) return { options, rest: words.slice(at) };
    const name = aliases[written] ?? written;
    const wantsValue = known[name];
    if (wantsValue === undefined) throw new OciError(`unknown option ${word}`);
    if (wantsValue && value === undefined) {
      at++;
      if (at >= words.length) throw new OciError(`option --${name} wants a value`);
    }
    options.set(name, value ?? (wantsValue ? (words[at] ?? '') : 'true'));
  }
  return { options, rest: [] };
}

/** A switch that may be given as `--name=false`. */
export const isOn = (options: ReadonlyMap<string, string>, name: string) =>
  options.has(name) && options.get(name) !== 'false';

/** Throws OciError for what is no number of files. */
export function countOf(options: ReadonlyMap<string, string>, name: string): number {
  const text = options.get(name) ?? '0';
  if (/^\d{1,3}$/.test(text)) return Number(text);
  throw new OciError(`--${name} is ${JSON.stringify(text)}: wanted is a number`);
}
