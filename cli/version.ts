/** `weft version` */
import process from 'node:process';
import { SUPPORTED_VERSIONS } from '../cni/types.ts';
import { PLUGIN_NAMES } from '../plugins/registry.ts';
import type { WeftContext } from './context.ts';
import { lines, table } from './table.ts';
import { WEFT_VERSION } from './version-number.ts';

export { WEFT_VERSION };

export function printVersion(this: WeftContext, flags: { json?: boolean }): void {
  const plugins = [...PLUGIN_NAMES].sort();
  if (flags.json) {
    const versions = { weft: WEFT_VERSION, cni: SUPPORTED_VERSIONS, node: process.versions.node, plugins };
    this.terminal.out(`${JSON.stringify(versions, null, 2)}\n`);
    return;
  }
  this.terminal.out(
    lines(
      ...table([
        ['weft', WEFT_VERSION],
        ['CNI', SUPPORTED_VERSIONS.join(' ')],
        ['Node', process.versions.node],
        ['plugins', plugins.join(' ')],
      ]),
    ),
  );
}
