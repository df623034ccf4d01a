/** Network configurations as a user would write them, for tests that put them into a host's `dirs.conf`. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Host } from './host.ts';

export interface BridgeNetwork {
  cniVersion?: string;
  name?: string;
  bridge?: string;
  /** One range set per address family. */
  ranges?: object[][];
  /** Fields of the bridge plugin besides the usual ones. */
  extra?: object;
  /** Plugins that come after the bridge in the chain. */
  chained?: object[];
}

/** A dual-stack bridge with host-local and masquerade. */
export function bridgeConflist(network: BridgeNetwork = {}) {
  return {
    cniVersion: network.cniVersion ?? '1.0.0',
    name: network.name ?? 'weftnet',
    plugins: [
      {
        type: 'bridge',
        bridge: network.bridge ?? 'weft0',
        isGateway: true,
        ipMasq: true,
        ...network.extra,
        ipam: {
          type: 'host-local',
          ranges: network.ranges ?? [[{ subnet: '10.77.0.0/24' }], [{ subnet: 'fd00:77::/64' }]],
          routes: [{ dst: '0.0.0.0/0' }, { dst: '::/0' }],
        },
      },
      ...(network.chained ?? []),
    ],
  };
}

/** Writes a conflist where the host's runtimes look for it. */
export async function installConflist(host: Host, conflist: { name: string }): Promise<string> {
  const file = join(host.dirs.conf, `10-${conflist.name}.conflist`);
  await writeFile(file, JSON.stringify(conflist, null, 2));
  return file;
}
