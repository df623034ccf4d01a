/** Reads what the commands of `weft nat` show. */
import { listContainers } from '../../inspect/containers.ts';
import { gatherNat, type NatView } from '../../inspect/nat/view.ts';
import { gather } from '../../inspect/path/gather.ts';
import { readRuleset } from '../../inspect/ruleset/read.ts';
import { openDoor } from '../../netlink/namespace.ts';
import type { WeftContext } from '../context.ts';

/** Throws CniError(io) where this process may not. */
export async function look({ ambient }: Pick<WeftContext, 'ambient'>): Promise<NatView> {
  return await gatherNat(
    await gather({
      door: openDoor(),
      readRuleset: (namespace) => readRuleset(namespace, ambient),
      hosts: new Map(),
      containers: (namespaces) => listContainers(ambient.paths.cacheDir, namespaces),
    }),
  );
}
