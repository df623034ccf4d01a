/** What bridge and ptp make of IPAM's answer. */
import { CniError, ErrorCode } from '../cni/errors.ts';
import { addressOf, canonical, familyOf, networkOf } from '../cni/prefix.ts';
import type { Attachment, IpConfig, Route } from '../cni/types.ts';
import type { IpamResult } from '../ipam/ipam.ts';
import type { MasqueradeBackend, RouteStep, Step } from '../plan/step.ts';

/** RT_SCOPE_LINK (linux/rtnetlink.h). */
export const SCOPE_LINK = 253;

/** The gateway that IPAM gave for a family: that of the first address which has one. */
function gatewayOf(ips: readonly IpConfig[], family: 4 | 6): string | undefined {
  return ips.find((ip) => ip.gateway && familyOf(ip.address) === family)?.gateway;
}

/**
 * The container's routes. A route without a gateway goes by that of its family (SPEC 1.1, "Success"),
 * unless its own scope says that it is on the link.
 */
export function containerRoutes(dev: string, answer: IpamResult): RouteStep[] {
  return answer.routes.map((route: Route) => {
    const onLink = (route.scope ?? 0) >= SCOPE_LINK;
    const via = route.gw ?? (onLink ? undefined : gatewayOf(answer.ips, familyOf(route.dst)));
    const { mtu, advmss, priority, table, scope } = route;
    return {
      kind: 'route',
      in: 'container',
      dev,
      dst: route.dst,
      ...(via !== undefined && { via }),
      ...(mtu !== undefined && { mtu }),
      ...(advmss !== undefined && { advmss }),
      ...(priority !== undefined && { priority }),
      ...(table !== undefined && { table }),
      ...(scope !== undefined && { scope }),
    };
  });
}

/** The host forwards packets of each family in use. */
export function forwarding(ips: readonly IpConfig[]): Step[] {
  const keys = { 4: 'net/ipv4/ip_forward', 6: 'net/ipv6/conf/all/forwarding' } as const;
  const families = new Set(ips.map((ip) => familyOf(ip.address)));
  return [...families].map((family) => ({ kind: 'sysctl', in: 'host', key: keys[family], value: '1' }));
}

/** The container's traffic leaves the host with the host's address; what stays in its own prefixes keeps its own. */
export function masquerade(
  attachment: Attachment,
  ips: readonly IpConfig[],
  backend: MasqueradeBackend | undefined,
): Step {
  return {
    kind: 'masquerade',
    network: attachment.network,
    containerId: attachment.containerId,
    ifname: attachment.ifname,
    sources: ips.map((ip) => addressOf(ip.address)),
    except: [...new Set(ips.map((ip) => networkOf(ip.address)))],
    ...(backend && { backend }),
  };
}

/** Neighbours learn where the container's addresses are now. */
export function announce(dev: string, mac: string, ips: readonly IpConfig[]): Step {
  return { kind: 'announce', dev, mac, addresses: ips.map((ip) => addressOf(ip.address)) };
}

/** IPv6 does not run on a link of less (RFC 8200, section 5): bytes. */
const IPV6_MIN_MTU = 1280;

/** Refuses what the kernel would (net/ipv6/addrconf.c): IPv6 addresses on a link whose configured MTU is too small. */
export function requireMtu(type: string, mtu: number | undefined, ips: readonly IpConfig[]): void {
  const six = ips.find(({ address }) => familyOf(address) === 6);
  if (!mtu || mtu >= IPV6_MIN_MTU || six === undefined) return;
  throw new CniError(
    ErrorCode.invalidConfig,
    `${type}: mtu ${mtu} is too small for ${six.address}: IPv6 needs ${IPV6_MIN_MTU} at least (RFC 8200, section 5)`,
  );
}

/** A gateway is another address of the same family. */
export function checkGateways(type: string, ips: readonly IpConfig[]): void {
  const refuse = (problem: string) => new CniError(ErrorCode.invalidConfig, `${type}: ${problem}`);
  for (const { address, gateway } of ips) {
    if (!gateway) continue;
    if (familyOf(gateway) !== familyOf(address)) {
      throw refuse(`the gateway ${gateway} of ${address} is of the other family: set one of the same`);
    }
    // The host's end would have the container's address: neither could reach the other.
    if (canonical(gateway) === canonical(addressOf(address))) {
      throw refuse(
        `${address} has itself as gateway: give the container another address, or set another gateway`,
      );
    }
  }
}

export function requireAddresses(type: string, answer: IpamResult, why: string): void {
  if (answer.ips.length > 0) return;
  throw new CniError(ErrorCode.invalidConfig, `${type}: IPAM gave no address, but ${why}`);
}
