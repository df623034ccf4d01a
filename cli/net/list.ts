/** `weft net list` */
import type { Ambient } from '../../cni/ambient.ts';
import { listNetworks, unused } from '../../runtime/conf-dir.ts';
import type { WeftContext } from '../context.ts';
import { lines, table } from '../table.ts';

/** Flags of the commands that name a network but no container. */
export interface ListFlags {
  cniPath?: string;
  json?: boolean;
}

export async function list(this: WeftContext, flags: { json?: boolean }): Promise<Error | undefined> {
  const { confDir } = this.ambient.paths;
  const all = await listNetworks(confDir);
  const good = all.flatMap((entry) => ('list' in entry ? [entry.list] : []));
  const bad = all.flatMap((entry) => ('error' in entry ? [entry.error] : []));
  if (flags.json) {
    const networks = good.map(({ name, cniVersion, plugins, file }) => ({
      name,
      cniVersion,
      plugins: plugins.map(({ type }) => type),
      file,
    }));
    this.terminal.out(`${JSON.stringify(networks, null, 2)}\n`);
  } else if (good.length === 0) {
    this.terminal.err(`there is no network in ${confDir}\n`);
  } else {
    const rows = good.map(({ name, cniVersion, plugins, file = '' }) => [
      name,
      cniVersion,
      plugins.map(({ type }) => type).join(' '),
      file,
    ]);
    this.terminal.out(lines(...table([['NETWORK', 'VERSION', 'PLUGINS', 'FILE'], ...rows])));
  }
  for (const { words } of unused(all)) this.terminal.err(`weft: warning: ${words}\n`);
  for (const error of bad.slice(1)) this.terminal.err(`weft: ${error.message}\n`);
  return bad[0];
}

/** For completion. */
export async function networkNames(ambient: Ambient): Promise<string[]> {
  const all = await listNetworks(ambient.paths.confDir);
  return all.flatMap((entry) => ('list' in entry ? [entry.list.name] : []));
}
