/** What the commands of `weft net` are given: the network. */
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
