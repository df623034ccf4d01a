/** What `nft -a -s -t list ruleset` prints: the words of rules, and what nft's JSON leaves out. */

export interface NftText {
  /** Words of a rule, by `family table handle`. */
  rules: ReadonlyMap<string, string>;
  /** Comments and links of tables, chains and sets, by `family table` and `family table name`. */
  comments: ReadonlyMap<string, string>;
  devices: ReadonlyMap<string, readonly string[]>;
}

const BLOCK = /^(\t?)(table|chain|set|map|flowtable|counter|quota|ct \w+|limit) (?:(\w+) )?("?)([^" ]+)\4 \{/;

/** Never throws: a line that is not understood is left out. */
export function readNftText(printed: string): NftText {
  const rules = new Map<string, string>();
  const comments = new Map<string, string>();
  const devices = new Map<string, string[]>();
  let table = '';
  let block = '';
  let pending = '';
  for (const line of printed.split('\n')) {
    const opened = pending === '' ? BLOCK.exec(line) : null;
    if (opened) {
      const [, , what, family, , name] = opened;
      if (what === 'table') table = `${family ?? 'ip'} ${name}`;
      block = what === 'table' ? table : `${table} ${name}`;
      continue;
    }
    if (line.trim() === '}' && pending === '') {
      block = table;
      continue;
    }
    const noted = /^\t+comment "(.*)"$/.exec(line);
    if (noted && pending === '') {
      comments.set(block, noted[1] ?? '');
      continue;
    }
    const hooked =
      /^\t\ttype \w+ hook \w+ devices? = (?:\{ (.*?) \}|(\S+)) |^\t\ttype \w+ hook \w+ device "?([^" ]+)"? /.exec(
        line,
      );
    if (hooked && pending === '') {
      const named = hooked[1] ?? hooked[2] ?? hooked[3] ?? '';
      devices.set(
        block,
        named.split(', ').map((one) => one.replaceAll('"', '')),
      );
      continue;
    }
    // Elements of an anonymous set may take many lines.
    pending = pending === '' ? line.trim() : `${pending} ${line.trim()}`;
    const ended = /^(.*) # handle (\d+)$/.exec(pending);
    if (ended) rules.set(`${table} ${ended[2]}`, (ended[1] ?? '').trim());
    if (ended || !isOpen(pending)) pending = '';
  }
  return { rules, comments, devices };
}

/** Whether a brace or a quote of the line is not closed yet. */
function isOpen(line: string): boolean {
  const plain = line.replaceAll(/"[^"]*"/g, '');
  return (plain.match(/\{/g)?.length ?? 0) > (plain.match(/\}/g)?.length ?? 0);
}
