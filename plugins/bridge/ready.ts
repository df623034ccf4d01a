import { CniError, ErrorCode } from '../../cni/errors.ts';
import { formatAddress } from '../../cni/prefix.ts';
import type { IpamNetConf } from '../../ipam/ipam.ts';
import { Look } from '../../plan/look.ts';
import type { AddressStep } from '../../plan/step.ts';
import { conflicting } from '../../plan/steps/address.ts';
import type { Surroundings } from '../../plan/surroundings.ts';
import { bridgeName, gatewayLink, isGateway } from './plan.ts';
import type { BridgeConf } from './schema.ts';

/**
 * Whether what stands on the host lets an ADD succeed: the bridge's name is not that of another link, and no address on it is in the
 * gateways' way. Throws CniError(notAvailable). A host without the bridge is ready: ADD makes it.
 */
export async function bridgeReady(config: BridgeConf, host: Surroundings): Promise<void> {
  const look = new Look(host);
  const name = bridgeName(config);
  const link = await look.link('host', name);
  if (link !== undefined && link.kind !== 'bridge') {
    const found = link.kind ? `of kind ${link.kind}` : 'no virtual link';
    throw notReady(
      `wanted a bridge ${name}, found a link of that name that is ${found}: choose another name or remove the link`,
    );
  }
  if (link === undefined || !isGateway(config) || config.forceAddress) return;
  const found = await look.addresses('host', gatewayLink(config));
  const sets = await gatewaysOf(config);
  for (const alternatives of sets) {
    const inTheWay = alternatives.map((step) => conflicting(step, sets.flat(), found));
    if (inTheWay.length === 0 || inTheWay.some((others) => others.length === 0)) continue;
    const wanted = alternatives.map(({ address }) => address).join(' or ');
    throw notReady(
      `bridge ${name} has address ${[...new Set(inTheWay.flat())].join(', ')}, configuration wants ${wanted}: ` +
        'set forceAddress or remove the address',
    );
  }
}

const notReady = (why: string) => new CniError(ErrorCode.notAvailable, `no ADD can succeed: ${why}`);

/** The gateways of host-local's ranges, by range set: one of each comes onto the bridge. Another IPAM says them only when it is run. */
async function gatewaysOf(config: BridgeConf): Promise<AddressStep[][]> {
  if (config.ipam?.type !== 'host-local') return [];
  const { readHostLocal } = await import('../../ipam/host-local/config.ts');
  return readHostLocal(config as unknown as IpamNetConf).sets.map(({ ranges }) =>
    ranges.map(({ subnet, gateway }) => ({
      kind: 'address',
      in: 'host',
      dev: gatewayLink(config),
      address: `${formatAddress(gateway)}/${subnet.bits}`,
    })),
  );
}
