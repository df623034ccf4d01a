/** A rule of iptables-save as words and options. */

/** Splits a line as iptables-restore does: spaces part words, double quotes hold them together, a backslash quotes one character. */
export function splitWords(line: string): string[] {
  const found: string[] = [];
  let word = '';
  let inWord = false;
  let quoted = false;
  for (let i = 0; i < line.length; i += 1) {
    const char = line[i] ?? '';
    if (char === '\\' && quoted) {
      i += 1;
      word += line[i] ?? '';
    } else if (char === '"') {
      quoted = !quoted;
      inWord = true;
    } else if (/\s/.test(char) && !quoted) {
      if (inWord) found.push(word);
      word = '';
      inWord = false;
    } else {
      word += char;
      inWord = true;
    }
  }
  if (inWord) found.push(word);
  return found;
}

/** One option and what follows it. */
export interface Option {
  not: boolean;
  /** `-s`, `--dport`. */
  name: string;
  values: string[];
}

/** The options of one extension, or of the rule itself. */
export interface Part {
  /** `''` for the rule itself, `match conntrack`, `target DNAT`, `goto KUBE-MARK`. */
  of: string;
  options: Option[];
}

const EXTENSION: Readonly<Record<string, string>> = { '-m': 'match', '-j': 'target', '-g': 'goto' };
/** What follows these is a person's text, whatever it looks like. */
const TEXTS = ['--comment', '--log-prefix', '--nflog-prefix', '--string', '--hex-string'];

/** Groups the words behind `-A CHAIN`: first the rule's own options, then those of each `-m` and of `-j` or `-g`. */
export function partsOf(words: readonly string[]): Part[] {
  const own: Part = { of: '', options: [] };
  const parts = [own];
  let current = own;
  let option: Option | undefined;
  let not = false;
  for (const word of words) {
    const isText = option !== undefined && TEXTS.includes(option.name) && option.values.length === 0;
    if (current.of.endsWith(' ')) {
      current.of += word;
    } else if (isText || !/^(?:!|-[a-zA-Z]|--[a-z][\w-]*)$/.test(word)) {
      option?.values.push(word);
    } else if (word === '!') {
      not = true;
    } else if (Object.hasOwn(EXTENSION, word)) {
      current = { of: `${EXTENSION[word]} `, options: [] };
      parts.push(current);
      option = undefined;
    } else {
      option = { not, name: word, values: [] };
      // `-s`, `-p` and the like are the rule's own wherever they stand.
      (word.startsWith('--') ? current : own).options.push(option);
      not = false;
    }
  }
  return parts;
}

/** An option as it stands in the rule. */
export function optionWords({ not, name, values }: Option): string {
  return [...(not ? ['!'] : []), name, ...values].join(' ');
}
