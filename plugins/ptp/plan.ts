/**
 * The ptp plugin as a plan: a veth pair whose host end is the container's gateway. Everything the container sends,
 * to its own prefix too, goes by the gateway: the prefix is a route, not a link.
 */
import { CniError, ErrorCode } from '../../cni/errors.ts';
import { addressOf, canonical, familyOf, hostPrefix, networkOf } from '../../cni/prefix.ts';
import type { IpConfig } from '../../cni/types.ts';
import type { IpamResult } from '../../ipam/ipam.ts';
import { hostLinkAlias, hostLinkName, linkMac } from '../../plan/names.ts';
import type { Step } from '../../plan/step.ts';
import {
  announce,
  checkAddresses,
  containerRoutes,
  forwarding,
  masquerade,
  refuseOwnGateway,
  requireAddresses,
  requireMtu,
  SCOPE_LINK,
} from '../addressing.ts';
import type { PlanInput } from '../definition.ts';
import type { PtpConf } from './schema.ts';

export function validatePtp(config: PtpConf): void {
  if (!config.ipam?.type) {
    throw new CniError(
      ErrorCode.invalidConfig,
      'ptp needs ipam.type: routes to a container need its address',
    );
  }
}

export function ptpLinks({ config, attachment }: PlanInput<PtpConf>): Step[] {
  const { network, ifname } = attachment;
  return [
    {
      kind: 'veth',
      host: {
        name: hostLinkName(network, attachment),
        mac: linkMac(network, attachment, 'host'),
        alias: hostLinkAlias(network, attachment),
      },
      inside: { name: ifname, mac: linkMac(network, attachment, 'container'), up: true },
      ...(config.mtu && { mtu: config.mtu }),
    },
  ];
}

export function ptpAnswer(config: PtpConf, ipam: IpamResult): IpamResult {
  requireMtu('ptp', config.mtu, ipam.ips);
  requireAddresses('ptp', ipam, 'the host needs one to route to');
  for (const { address, gateway } of ipam.ips) {
    if (gateway) continue;
    throw new CniError(
      ErrorCode.invalidConfig,
      `ptp: IPAM gave ${address} without a gateway: set one, it becomes the host's end of the link`,
    );
  }
  checkAddresses('ptp', ipam.ips);
  refuseOwnGateway('ptp', ipam.ips);
  return ipam;
}

/** How the container reaches its gateway, and by it its own prefix. */
function inside(dev: string, address: string, gateway: string): Step[] {
  const src = addressOf(address);
  const network = networkOf(address);
  const toGateway = hostPrefix(gateway);
  // fib_check_nh: the scope of IPv6 routes is the kernel's own business.
  const scope = familyOf(address) === 4 ? { scope: SCOPE_LINK } : {};
  const steps: Step[] = [
    { kind: 'address', in: 'container', dev, address, noPrefixRoute: true },
    { kind: 'route', in: 'container', dev, dst: toGateway, src, ...scope },
  ];
  if (canonical(hostPrefix(address)) !== network && network !== toGateway) {
    steps.push({ kind: 'route', in: 'container', dev, dst: network, via: gateway, src });
  }
  return steps;
}

/**
 * For what it forwards the host asks for an IPv6 neighbour by a link-local address alone, and the one that the kernel makes is not to be used
 * until duplicate address detection is through, seconds later (ndisc_send_ns in net/ipv6/ndisc.c). This one can be used at once.
 */
const ASKING = 'fe80::1/64';

function outside(dev: string, ips: readonly IpConfig[]): Step[] {
  const gateways = new Set(ips.flatMap(({ gateway }) => (gateway ? [hostPrefix(gateway)] : [])));
  const six = ips.filter(({ address }) => familyOf(address) === 6);
  const asking = six.length > 0 && !six.some(({ gateway }) => gateway?.startsWith('fe80:')) ? [ASKING] : [];
  return [
    ...[...gateways, ...asking].map((address): Step => ({ kind: 'address', in: 'host', dev, address })),
    ...ips.map(({ address }): Step => ({ kind: 'route', in: 'host', dev, dst: hostPrefix(address) })),
  ];
}

export function ptpAddresses({ config, attachment }: PlanInput<PtpConf>, answer: IpamResult): Step[] {
  const { network, ifname } = attachment;
  const { ips } = answer;
  return [
    ...outside(hostLinkName(network, attachment), ips),
    ...forwarding(ips),
    ...ips.flatMap(({ address, gateway }) => (gateway ? inside(ifname, address, gateway) : [])),
    ...containerRoutes(ifname, answer),
    ...(config.ipMasq ? [masquerade(attachment, ips, config.ipMasqBackend)] : []),
    announce(ifname, linkMac(network, attachment, 'container'), ips),
  ];
}
