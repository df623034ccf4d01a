/** `weft trace` */
import { CniError, ErrorCode } from '../../cni/errors.ts';
import type { WeftContext } from '../context.ts';
import { lines } from '../table.ts';
import { parseDestination } from './parse.ts';
import { questionFor } from './question.ts';
import { predictionLines } from './view.ts';

export interface TraceFlags {
  predictOnly?: boolean;
  ipv6?: boolean;
  json?: boolean;
  host?: readonly (readonly [string, string])[];
  sourcePort?: number;
  size?: number;
}

export async function trace(
  this: WeftContext,
  flags: TraceFlags,
  from: string,
  to: string,
): Promise<Error | undefined> {
  const { ambient, terminal } = this;
  const wanted = {
    ...{ from, to: parseDestination(to) },
    ...(flags.ipv6 ? { family: 6 as const } : {}),
    ...(flags.sourcePort === undefined ? {} : { sourcePort: flags.sourcePort }),
    ...(flags.size === undefined ? {} : { size: flags.size }),
  };
  const [{ gather }, { listContainers }, { readRuleset }, { openDoor }, { default: colours }] =
    await Promise.all([
      import('../../inspect/path/gather.ts'),
      import('../../inspect/containers.ts'),
      import('../../inspect/ruleset/read.ts'),
      import('../../netlink/namespace.ts'),
      import('picocolors'),
    ]);
  const gathered = await gather({
    door: openDoor(),
    readRuleset: (ns) => readRuleset(ns, ambient),
    hosts: new Map(flags.host),
    containers: (namespaces) => listContainers(ambient.paths.cacheDir, namespaces),
  });
  const question = await questionFor(gathered, wanted);
  const prediction = await gathered.predict(question);
  if (flags.json) terminal.out(`${JSON.stringify(prediction, null, 2)}\n`);
  else terminal.out(lines(...predictionLines(prediction, colours.createColors(terminal.color))));
  const { there, back } = prediction;
  const bad = [there, back].find(
    (path) => path !== undefined && path.outcome !== 'delivered' && path.outcome !== 'left',
  );
  return (
    bad &&
    new CniError(
      ErrorCode.limitedConnectivity,
      `the packet ${bad === back ? 'arrives, but its answer does not' : 'does not arrive'}`,
    )
  );
}
