/** The firewall plugin as a plan: what the host forwards for a container is let through, or kept from it. */
import { CniError, ErrorCode } from '../../cni/errors.ts';
import { addressOf, canonical, familyOf } from '../../cni/prefix.ts';
import type { Admission } from '../../firewall/forward.ts';
import type { Step } from '../../plan/step.ts';
import type { ChainedInput } from '../chained.ts';
import { answerFrom, hostLinks } from '../outcome.ts';
import type { FirewallConf } from './schema.ts';

const DEFAULT_ADMIN_CHAIN = 'CNI-ADMIN';
/** The reference's. */
const DEFAULT_ZONE = 'trusted';

/** Throws CniError(unsupportedField). */
export function validateFirewall({ backend, iptablesAdminChainName }: FirewallConf): void {
  if (backend !== 'nftables' || !iptablesAdminChainName) return;
  throw new CniError(
    ErrorCode.unsupportedField,
    `iptablesAdminChainName is ${iptablesAdminChainName}, and backend is nftables, where the administrator's chain is always ` +
      '"admin" in table inet weft-forward: remove it, or set backend to iptables',
  );
}

/** What the configuration asks for; all absent: what fits this host. */
export function wantedPlaces({
  backend,
  ingressPolicy,
  iptablesAdminChainName,
}: FirewallConf): Pick<Admission, 'rules' | 'required'> {
  const policy = ingressPolicy || 'open';
  if (backend === 'firewalld') return { required: 'zone' };
  if (backend) return { rules: backend, required: 'rules' };
  // A chain that nothing leads to would be no administrator's.
  if (iptablesAdminChainName) return { rules: 'iptables', required: 'rules' };
  return policy === 'open' ? {} : { required: 'rules' };
}

/** As the reference: firewalld's where nothing else is asked for. */
export const zoneOf = ({ backend, firewalldZone }: FirewallConf): Pick<Admission, 'zone'> =>
  !backend || backend === 'firewalld' ? { zone: firewalldZone || DEFAULT_ZONE } : {};

/** Of the container's own link; none without a result. */
export function addressesOf({
  prevResult,
  attachment,
}: Pick<ChainedInput<FirewallConf>, 'prevResult' | 'attachment'>) {
  const ips = prevResult ? answerFrom(prevResult, attachment.ifname).ips : [];
  return ips.map(({ address }) => ({ family: familyOf(address), address: canonical(addressOf(address)) }));
}

/** Throws CniError(invalidConfig). */
export function firewallPlan(input: ChainedInput<FirewallConf>): Step[] {
  const { config, attachment, prevResult } = input;
  const { network, containerId, ifname } = attachment;
  const addresses = addressesOf(input);
  if (prevResult === undefined || addresses.length === 0) return [];
  const policy = config.ingressPolicy || 'open';
  const { links, port } = hostLinks(prevResult);
  const [link] = links;
  if (policy !== 'open' && link === undefined) {
    throw new CniError(
      ErrorCode.invalidConfig,
      `ingressPolicy is ${policy}, which is about the bridge, but the plugins before firewall named no link of the host`,
    );
  }
  return [
    {
      kind: 'forward',
      ...{ network, containerId, ifname, addresses, policy },
      adminChain: config.iptablesAdminChainName || DEFAULT_ADMIN_CHAIN,
      ...wantedPlaces(config),
      ...zoneOf(config),
      ...(policy !== 'open' && link !== undefined && { link }),
      ...(policy === 'isolated' && port !== undefined && { isolated: port }),
    },
  ];
}

/** Whatever the configuration says by now: what carries the attachment's mark goes. */
export function firewallRemoval(input: ChainedInput<FirewallConf>): Step[] {
  const { network, containerId, ifname } = input.attachment;
  const [link] = input.prevResult ? hostLinks(input.prevResult).links : [];
  return [
    {
      kind: 'forward',
      ...{ network, containerId, ifname, addresses: addressesOf(input) },
      ...{ adminChain: DEFAULT_ADMIN_CHAIN, policy: 'open' },
      ...zoneOf(input.config),
      ...(link !== undefined && { link }),
    },
  ];
}
