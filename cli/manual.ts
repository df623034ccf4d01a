/** `weft __manual`: the help of every command as one page for man(1), written by `make install`: it cannot say anything else. */
import type { RouteMap } from '@stricli/core';
import type { WeftContext } from './context.ts';
import { WEFT_VERSION } from './version-number.ts';

/** The words that name each command and group of them, in the order of the help text. */
export function commandsOf(routes: RouteMap<WeftContext>): string[][] {
  return routes.getAllEntries().flatMap(({ name, target }) => {
    const word = name['convert-camel-to-kebab'];
    const below = 'getAllEntries' in target ? commandsOf(target) : [];
    return [[word], ...below.map((words) => [word, ...words])];
  });
}

/** A help text in the language of man(7): headings, and all else as it stands. */
function page(help: string, heading: string): string[] {
  return help.split('\n').flatMap((line) => {
    if (/^[A-Z]+( [A-Z]+)*$/.test(line)) return ['.fi', `${heading} ${line}`, '.nf'];
    const text = line.replaceAll('\\', '\\e').replaceAll('-', '\\-');
    return [/^[.']/.test(text) ? `\\&${text}` : text];
  });
}

/** `helpOf` gives what `weft WORDS --help` prints. */
export async function manual(
  root: RouteMap<WeftContext>,
  helpOf: (words: readonly string[]) => Promise<string>,
): Promise<string> {
  const parts = [
    `.TH WEFT 8 "" "weft ${WEFT_VERSION}"`,
    '.SH NAME',
    `weft \\- ${root.brief}`,
    ...['.nf', ...page(await helpOf([]), '.SH')],
  ];
  for (const words of commandsOf(root)) {
    const help = await helpOf(words);
    parts.push('.fi', `.SH weft ${words.join(' ')}`, '.nf', ...page(help, '.SS'));
  }
  return `${parts.join('\n')}\n`;
}
