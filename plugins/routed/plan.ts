/**
 * The routed plugin as a plan: a veth pair per container and no bridge. On the host the container is a route and a neighbour; in the
 * container everything goes to a link-local gateway, whose neighbour entry is fixed: nobody ever asks who has an address.
 */
import { addressOf, canonical, defaultRoute, familyOf, hostPrefix } from '../../cni/prefix.ts';
import type { IpConfig, Route } from '../../cni/types.ts';
import type { IpamResult } from '../../ipam/ipam.ts';
import { hostLinkAlias, hostLinkName, linkMac } from '../../plan/names.ts';
import type { Step } from '../../plan/step.ts';
import {
  checkAddresses,
  containerRoutes,
  forwarding,
  masquerade,
  requireAddresses,
  requireMtu,
  SCOPE_LINK,
} from '../addressing.ts';
import { askedMac } from '../asked-mac.ts';
import type { PlanInput } from '../definition.ts';
import { clusterNetwork } from './network.ts';
import type { RoutedConf } from './schema.ts';

/** Link-local (RFC 3927, RFC 4291): no network uses them, and every container can have the same. */
const GATEWAYS = { 4: '169.254.1.1', 6: 'fe80::1' } as const;

const gatewayOf = (address: string) => GATEWAYS[familyOf(address)];

export const poolsOf = (config: RoutedConf) => clusterNetwork(config).pools.map(({ prefix }) => prefix);

function containerMac({ config, args, attachment }: PlanInput<RoutedConf>): string {
  return askedMac(config, args) ?? linkMac(attachment.network, attachment, 'container');
}

export function routedLinks(input: PlanInput<RoutedConf>): Step[] {
  const { config, attachment } = input;
  const { network, ifname } = attachment;
  return [
    {
      kind: 'veth',
      host: {
        name: hostLinkName(network, attachment),
        mac: linkMac(network, attachment, 'host'),
        alias: hostLinkAlias(network, attachment),
      },
      inside: { name: ifname, mac: containerMac(input), up: true },
      ...(config.mtu && { mtu: config.mtu }),
    },
  ];
}

/** Single addresses with the link-local gateway of their family; the default route by it, or routes to the network's pools. */
export function routedAnswer(config: RoutedConf, ipam: IpamResult): IpamResult {
  requireMtu('routed', config.mtu, ipam.ips);
  requireAddresses('routed', ipam, 'the host needs one to route to');
  checkAddresses('routed', ipam.ips);
  const ips = ipam.ips.map(
    ({ address }): IpConfig => ({ address: hostPrefix(address), gateway: gatewayOf(address) }),
  );
  const families = [...new Set(ips.map(({ address }) => familyOf(address)))];
  const wanted =
    (config.isDefaultGateway ?? true)
      ? families.map(defaultRoute)
      : poolsOf(config).filter((prefix) => families.includes(familyOf(prefix)));
  const known = new Set(ipam.routes.map(({ dst }) => canonical(dst)));
  const added = wanted.filter((dst) => !known.has(dst)).map((dst): Route => ({ dst, gw: gatewayOf(dst) }));
  return { ...ipam, ips, routes: [...ipam.routes, ...added] };
}

/** The gateway is on the link, though in no subnet of it; its neighbour entry is the host's end. */
function inside(dev: string, hostMac: string, ips: readonly IpConfig[]): Step[] {
  const families = new Set(ips.map(({ address }) => familyOf(address)));
  const gateways = [...families].map((family) => GATEWAYS[family]);
  return [
    ...ips.map(({ address }): Step => ({ kind: 'address', in: 'container', dev, address })),
    ...gateways
      .filter((gateway) => familyOf(gateway) === 4)
      .map(
        (gateway): Step => ({
          ...{ kind: 'route', in: 'container', dev },
          ...{ dst: hostPrefix(gateway), scope: SCOPE_LINK },
        }),
      ),
    ...gateways.map((address): Step => ({ kind: 'neighbour', in: 'container', dev, address, mac: hostMac })),
  ];
}

function outside(dev: string, mac: string, ips: readonly IpConfig[]): Step[] {
  return ips.flatMap(({ address }): Step[] => {
    const scope = familyOf(address) === 4 ? { scope: SCOPE_LINK } : {};
    return [
      { kind: 'route', in: 'host', dev, dst: hostPrefix(address), ...scope },
      { kind: 'neighbour', in: 'host', dev, address: addressOf(address), mac },
    ];
  });
}

export function routedAddresses(input: PlanInput<RoutedConf>, answer: IpamResult): Step[] {
  const { config, attachment } = input;
  const { network, ifname } = attachment;
  const { ips } = answer;
  return [
    ...outside(hostLinkName(network, attachment), containerMac(input), ips),
    ...forwarding(ips),
    ...inside(ifname, linkMac(network, attachment, 'host'), ips),
    ...containerRoutes(ifname, answer),
    ...((config.ipMasq ?? true) ? [masquerade(attachment, ips, config.ipMasqBackend, poolsOf(config))] : []),
  ];
}
