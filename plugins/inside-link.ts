/** What a container's only link gets of IPAM's answer, for macvlan, ipvlan, vlan, tap, dummy and host-device. */
import type { Attachment } from '../cni/types.ts';
import type { IpamResult } from '../ipam/ipam.ts';
import { hostLinkAlias } from '../plan/names.ts';
import type { Step } from '../plan/step.ts';
import { announce, checkAddresses, containerRoutes, requireAddresses, requireMtu } from './addressing.ts';
import type { PluginConf } from './definition.ts';

/** How neighbours are told of the addresses. */
export type Announcing =
  /** By setting the MAC that the link has. */
  | { by: 'mac'; mac: string }
  /** By setting the link up after its addresses: its MAC cannot be set, or is known to the kernel alone. */
  | { by: 'up' }
  /** Nobody is there yet to be told. */
  | { by: 'nothing' };

/** Throws CniError(invalidConfig) on what cannot be an answer for a container's link. */
export function insideAnswer(
  config: PluginConf & { mtu?: number | undefined },
  ipam: IpamResult,
): IpamResult {
  if (!config.ipam?.type) return ipam;
  requireMtu(config.type, config.mtu, ipam.ips);
  requireAddresses(config.type, ipam, 'ipam.type is set: leave ipam out for a link without addresses');
  checkAddresses(config.type, ipam.ips);
  return ipam;
}

/**
 * Whether the link is up from the start. One that announces by going up has to wait for its addresses, where they are known by then:
 * DHCP asks by means of the link.
 */
export function upAtBirth(announcing: Announcing, answer: IpamResult | undefined): boolean {
  return announcing.by !== 'up' || answer === undefined || answer.ips.length === 0;
}

/** Addresses and routes of the container's link `dev`. */
export function insideAddresses(dev: string, answer: IpamResult, announcing: Announcing): Step[] {
  const { ips } = answer;
  if (ips.length === 0) return containerRoutes(dev, answer);
  const addresses = ips.map(({ address }): Step => ({ kind: 'address', in: 'container', dev, address }));
  const routes = containerRoutes(dev, answer);
  switch (announcing.by) {
    case 'mac':
      return [...addresses, ...routes, announce(dev, announcing.mac, ips)];
    case 'up':
      return [
        ...addresses,
        announce(dev, undefined, ips),
        { kind: 'link-up', in: 'container', dev },
        ...routes,
      ];
    case 'nothing':
      return [...addresses, ...routes];
  }
}

export const aliasOf = (attachment: Attachment) => hostLinkAlias(attachment.network, attachment);
