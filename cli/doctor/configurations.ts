/** Whether the networks that are configured could be attached to: readable, their plugins there, and ready when asked. */
import type { Configuration } from '../../inspect/doctor/view.ts';
import { assertInstalled, statusNetwork } from '../../runtime/chain.ts';
import { type Loaded, listNetworks } from '../../runtime/conf-dir.ts';
import type { Caller } from '../../runtime/execution.ts';

/** Each plugin of a list of CNI 1.1 or later answers STATUS, which says whether this kernel has what it needs. */
export async function readConfigurations(caller: Caller): Promise<Configuration[]> {
  const loaded = await listNetworks(caller.ambient.paths.confDir);
  return await Promise.all(loaded.map((one) => configurationOf(caller, one)));
}

async function configurationOf(caller: Caller, loaded: Loaded): Promise<Configuration> {
  const { file } = loaded;
  if ('error' in loaded) return { file, problem: { is: 'unreadable', words: loaded.error.message } };
  const { list } = loaded;
  try {
    assertInstalled(caller, list);
    await statusNetwork(caller, list);
    return { file, name: list.name };
  } catch (error) {
    const words = error instanceof Error ? error.message : String(error);
    return { file, name: list.name, problem: { is: 'not ready', words } };
  }
}
