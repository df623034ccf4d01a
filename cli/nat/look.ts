/** Reads what the commands of `weft nat` show. */
import type { Ambient } from '../../cni/ambient.ts';
import { CniError } from '../../cni/errors.ts';
import { type Container, listContainers } from '../../inspect/containers.ts';
import type { Surveyed } from '../../inspect/host/survey.ts';
import { gatherNat, type NatView } from '../../inspect/nat/view.ts';
import { gather } from '../../inspect/path/gather.ts';
import { readRuleset } from '../../inspect/ruleset/read.ts';
import { openDoor } from '../../netlink/namespace.ts';
import type { WeftContext } from '../context.ts';

/** Throws CniError(io) where this process may not. */
export async function look({ ambient }: Pick<WeftContext, 'ambient'>): Promise<NatView> {
  return await gatherNat(
    await gather({
      door: openDoor(() => true),
      readRuleset: (namespace) => readRuleset(namespace, ambient),
      hosts: new Map(),
      containers: (namespaces) => containersOf(ambient, namespaces),
    }),
  );
}

/** Whoever may not read what is written down may not read rules either, and is told so then. */
function containersOf({ paths }: Ambient, namespaces: ReadonlyMap<string, Surveyed>): Container[] {
  try {
    return listContainers(paths.cacheDir, namespaces);
  } catch (error) {
    if (error instanceof CniError && error.details?.includes('EACCES')) return [];
    throw error;
  }
}
