import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Host } from '../support/host.ts';

/** Calls GC of a network's first plugin, as a runtime that knows version 1.1.0 does; nothing is valid any more. */
export async function collectGarbage(host: Host, network: string): Promise<void> {
  const conflist = JSON.parse(await readFile(join(host.dirs.conf, `10-${network}.conflist`), 'utf8'));
  const [plugin] = conflist.plugins;
  const config = { ...plugin, cniVersion: '1.1.0', name: network, 'cni.dev/valid-attachments': [] };
  await host.exec(join(host.dirs.bin, plugin.type), [], {
    env: { CNI_COMMAND: 'GC', CNI_PATH: host.dirs.bin },
    input: JSON.stringify(config),
  });
}
