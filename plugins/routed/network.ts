/** A routed configuration as a network between hosts. */
import type { ClusterNetwork } from '../../cluster/network.ts';
import { CniError, ErrorCode } from '../../cni/errors.ts';
import { formatAddress, parseAddress } from '../../cni/prefix.ts';
import { readPools } from '../pools.ts';
import type { RoutedConf } from './schema.ts';

const refuse = (problem: string) => new CniError(ErrorCode.invalidConfig, problem);

/** Pure. Throws CniError(invalidConfig) that names the field, what it has and what is allowed. */
export function clusterNetwork(config: RoutedConf): ClusterNetwork {
  const { name, mtu } = config;
  const bgp = bgpOf(config);
  return {
    name,
    backend: bgp ? 'bgp' : 'routed',
    pools: readPools(config, 'subnet'),
    ...(bgp && { bgp }),
    ...(mtu && { mtu }),
  };
}

function bgpOf({ backend, bgp }: RoutedConf): ClusterNetwork['bgp'] {
  if (backend !== 'bgp') {
    if (bgp !== undefined)
      throw refuse('bgp is set, but backend is not bgp: set backend to "bgp" or remove bgp');
    return undefined;
  }
  if (bgp === undefined) {
    throw refuse('bgp.asn: missing, wanted the number of the autonomous system of all hosts, such as 64512');
  }
  const reflectors = (bgp.reflectors ?? []).map((text, n) => {
    const address = parseAddress(text);
    if (address === undefined) {
      throw refuse(`bgp.reflectors[${n}]: found ${text}, wanted the address of a route reflector`);
    }
    return formatAddress(address);
  });
  return { daemon: bgp.daemon ?? 'bird', asn: bgp.asn, reflectors };
}
