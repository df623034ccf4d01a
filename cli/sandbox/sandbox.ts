/** `weft sandbox create`, `list` and `remove` */
import { CniError, ErrorCode } from '../../cni/errors.ts';
import type { NamespaceKind } from '../../runtime/container/spec.ts';
import { createSandbox, listSandboxes, removeSandbox, type Sandbox } from '../../runtime/sandbox/sandbox.ts';
import { monitorOf } from '../container/maker.ts';
import { UsageError, type WeftContext } from '../context.ts';
import { assertRoot } from '../rights.ts';
import { lines, table } from '../table.ts';

function enter({ namespaces, pid }: Sandbox): string {
  const flags = namespaces
    .filter(({ kind }) => kind !== 'pid' || pid !== undefined)
    .map(({ kind, path }) => `--${kind === 'mnt' ? 'mount' : kind}=${path}`);
  return `nsenter ${flags.join(' ')} sh`;
}

export async function create(
  this: WeftContext,
  flags: { ns: readonly NamespaceKind[]; json?: boolean },
  name: string,
): Promise<void> {
  if (flags.ns.length === 0)
    throw new UsageError('--ns is empty: wanted at least one namespace, such as net');
  assertRoot('sandbox create', 'to make namespaces and pin them');
  const made = await createSandbox(this.ambient, monitorOf(this), name, flags.ns);
  if (flags.json) this.terminal.out(`${JSON.stringify(made, null, 2)}\n`);
  else this.terminal.out(lines(`sandbox ${name}: ${flags.ns.join(', ')}`, `enter it by: ${enter(made)}`));
}

export async function list(this: WeftContext, flags: { json?: boolean }): Promise<void> {
  const all = listSandboxes(this.ambient);
  if (flags.json) {
    this.terminal.out(`${JSON.stringify(all, null, 2)}\n`);
    return;
  }
  const rows = all.map(({ name, namespaces, pid, folder }) => [
    name,
    namespaces.map(({ kind }) => kind).join(',') || '-',
    pid === undefined ? '-' : String(pid),
    folder,
  ]);
  this.terminal.out(lines(...table([['NAME', 'NAMESPACES', 'PID', 'PINNED IN'], ...rows])));
}

export async function remove(this: WeftContext, _: object, ...names: string[]): Promise<void> {
  for (const name of names) {
    if (await removeSandbox(this.ambient, name)) this.terminal.out(`${name}\n`);
    else
      throw new CniError(
        ErrorCode.unknownContainer,
        `there is no sandbox ${JSON.stringify(name)}: "weft sandbox list" shows those that there are`,
      );
  }
}
