/** What the commands of `weft net` are given: the network, and the rights to do something about it. */
import { readFileSync } from 'node:fs';
import { CniError, ErrorCode } from '../../cni/errors.ts';
import { findNetwork } from '../../runtime/conf-dir.ts';
import { type NetworkList, parseNetworkList, STANDARD_INPUT } from '../../runtime/conflist.ts';
import type { WeftContext } from '../context.ts';
import { lines } from '../table.ts';

/** A network by its name, a file, or `-` for standard input. Throws CniError(invalidConfig, decoding, io). */
export async function givenNetwork(
  { ambient, terminal }: WeftContext,
  network: string,
): Promise<NetworkList> {
  const warn = (words: string) => terminal.err(`weft: warning: ${words}\n`);
  if (network !== '-') return await findNetwork(network, ambient.paths.confDir, warn);
  return await parseNetworkList(await ambient.input(), STANDARD_INPUT);
}

/** Says on standard error which fields do nothing. */
export async function warnOfUnknownFields({ terminal }: WeftContext, list: NetworkList): Promise<void> {
  const { unknownFields } = await import('../unknown-fields.ts');
  terminal.err(lines(...(await unknownFields(list)).map((line) => `weft: warning: ${line}`)));
}

/** Bits of linux/capability.h: to change links, and to enter a container's namespace. */
const NEEDED = (1n << 12n) | (1n << 21n);

/** Better told at once than by the first file that cannot be written. Throws CniError(io). */
export function assertRoot(command: string): void {
  const effective = /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1];
  if (effective === undefined || (BigInt(`0x${effective}`) & NEEDED) === NEEDED) return;
  throw new CniError(
    ErrorCode.io,
    `weft net ${command} needs root (CAP_NET_ADMIN and CAP_SYS_ADMIN), to change what is in a container's namespace`,
  );
}
