/** `weft nat graph` */
import { writeFile } from 'node:fs/promises';
import { CniError, ErrorCode } from '../../cni/errors.ts';
import { graphOf } from '../../inspect/nat/graph/graph.ts';
import { svgOf } from '../../inspect/nat/graph/svg.ts';
import { readRuleset } from '../../inspect/ruleset/read.ts';
import { openDoor } from '../../netlink/namespace.ts';
import { UsageError, type WeftContext } from '../context.ts';
import { lines } from '../table.ts';

export interface GraphFlags {
  output?: string;
}

export async function graph(this: WeftContext, { output }: GraphFlags): Promise<void> {
  const { ambient, terminal } = this;
  if (output === undefined && terminal.screen?.() !== undefined) {
    throw new UsageError('a picture is no text for a terminal: give --output FILE.svg, or send it elsewhere');
  }
  const host = await openDoor().open();
  try {
    const ruleset = await readRuleset(host, ambient);
    const [unread] = ruleset.unread;
    if (ruleset.tables.length === 0 && unread !== undefined) {
      throw new CniError(
        ErrorCode.io,
        'the rules of this host cannot be read: run as root (CAP_NET_ADMIN)',
        unread,
      );
    }
    const drawn = graphOf(ruleset);
    const when = new Date(ambient.now()).toISOString().slice(0, 16).replace('T', ' ');
    const picture = svgOf(drawn, `packet rules, ${when} UTC`);
    if (output === undefined) terminal.out(picture);
    else {
      await writeFile(output, picture);
      terminal.err(lines(`${output}: ${drawn.boxes.length} chains and sets`));
    }
    for (const words of ruleset.unread) terminal.err(lines(`not read: ${words}`));
  } finally {
    host.close();
  }
}
