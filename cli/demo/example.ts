/** The networks of examples/, which lie beside the executables: an installed weft has no other folder. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { CniError, ErrorCode } from '../../cni/errors.ts';
import { type NetworkList, parseNetworkList } from '../../runtime/conflist.ts';

/** @param name of examples/<name>.conflist. Throws CniError(io): the folder of the executables is not whole. */
export async function exampleNetwork(home: string, name: string): Promise<NetworkList> {
  const [kept, file] = [join(home, 'weft-examples.json'), `examples/${name}.conflist`];
  try {
    const texts = JSON.parse(readFileSync(kept, 'utf8')) as Record<string, string>;
    return { ...(await parseNetworkList(texts[name] ?? '', file)), file };
  } catch (cause) {
    throw new CniError(
      ErrorCode.io,
      `the example ${file} cannot be read from ${kept}: install the whole folder, or give a CONFLIST to show`,
      (cause as Error).message,
      { cause },
    );
  }
}
