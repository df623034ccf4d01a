/** Where a command line of ours ends and that of the container's command, or of runc's callers, begins. */

/** Flags without a value, of `weft run` and `weft exec`. Everything else that begins with a dash takes the next word. */
const SWITCHES: readonly string[] = [
  ...['--detach', '-d', '--interactive', '-i', '--tty', '-t', '--rm', '--init', '--read-only', '--dry-run'],
  ...['--json', '--privileged', '--help', '-h', '--help-all', '-H'],
];
/** Commands whose last words are a command of the container, with the number of words before it. */
const BEFORE: Readonly<Record<string, number>> = { run: 0, exec: 1 };

function isSwitch(word: string): boolean {
  // Short ones may stand together: -it.
  return (
    SWITCHES.includes(word) ||
    (/^-[a-zA-Z]{2,}$/.test(word) && [...word.slice(1)].every((one) => SWITCHES.includes(`-${one}`)))
  );
}

/**
 * `run -it --net demo sh -c ls` with `--` before `sh`: the words after it belong to the container's command, however they look. Other command
 * lines are returned as they are.
 */
export function withCommandApart(argv: readonly string[]): readonly string[] {
  const [name = '', ...words] = argv;
  if (name === 'oci') return [name, '--', ...words];
  let positional = BEFORE[name];
  if (positional === undefined) return argv;
  for (let at = 0; at < words.length; at++) {
    const word = words[at] ?? '';
    if (word === '--') return argv;
    if (word.startsWith('-') && word !== '-') {
      if (!isSwitch(word) && !word.includes('=')) at++;
    } else if (positional-- === 0) return [name, ...words.slice(0, at), '--', ...words.slice(at)];
  }
  return argv;
}
