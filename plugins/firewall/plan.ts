/** The firewall plugin as a plan: what the host forwards for a container is let through, or kept from it. */
import { CniError, ErrorCode } from '../../cni/errors.ts';
import { addressOf, canonical, familyOf } from '../../cni/prefix.ts';
import type { Step } from '../../plan/step.ts';
import type { ChainedInput } from '../chained.ts';
import { answerFrom, hostLinks } from '../outcome.ts';
import type { FirewallConf } from './schema.ts';

const DEFAULT_ADMIN_CHAIN = 'CNI-ADMIN';

/** Throws CniError(unsupportedField). */
export function validateFirewall({ backend }: FirewallConf): void {
  if (backend !== 'firewalld') return;
  throw new CniError(
    ErrorCode.unsupportedField,
    'backend is firewalld, which weft cannot speak to: set "iptables" or remove it, and put the containers\' prefix into a zone ' +
      'yourself (firewall-cmd --permanent --zone=trusted --add-source=PREFIX)',
  );
}

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
      required: config.backend === 'iptables' || policy !== 'open',
      ...(policy !== 'open' && link !== undefined && { link }),
      ...(policy === 'isolated' && port !== undefined && { isolated: port }),
    },
  ];
}

/** Whatever the configuration says by now: what carries the attachment's mark goes. */
export function firewallRemoval(input: ChainedInput<FirewallConf>): Step[] {
  const { network, containerId, ifname } = input.attachment;
  return [
    {
      kind: 'forward',
      ...{ network, containerId, ifname, addresses: addressesOf(input) },
      ...{ adminChain: DEFAULT_ADMIN_CHAIN, policy: 'open', required: false },
    },
  ];
}
