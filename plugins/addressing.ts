/** What bridge and ptp make of IPAM's answer. */
import { CniError, ErrorCode } from '../cni/errors.ts';
import { addressOf, canonical, familyOf, networkOf, overlap } from '../cni/prefix.ts';
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
    if (via !== undefined && familyOf(via) !== familyOf(route.dst)) {
      throw new CniError(
        ErrorCode.invalidConfig,
        `the gateway ${via} of route ${route.dst} is of the other family: set one of the same`,
      );
    }
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

/** The container's traffic leaves the host with the host's address; what stays in `within` (its own prefixes) keeps its own. */
export function masquerade(
  attachment: Attachment,
  ips: readonly IpConfig[],
  backend: MasqueradeBackend | undefined,
  within: readonly string[] = ips.map((ip) => networkOf(ip.address)),
): Step {
  return {
    kind: 'masquerade',
    network: attachment.network,
    containerId: attachment.containerId,
    ifname: attachment.ifname,
    sources: ips.map((ip) => addressOf(ip.address)),
    except: [...new Set(within)],
    ...(backend && { backend }),
  };
}

/** Neighbours learn where the container's addresses are now; without a MAC as soon as the link is set up. */
export function announce(dev: string, mac: string | undefined, ips: readonly IpConfig[]): Step {
  return { kind: 'announce', dev, ...(mac && { mac }), addresses: ips.map((ip) => addressOf(ip.address)) };
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

/** Unspecified and multicast addresses (RFC 6890, RFC 5771, RFC 4291): the kernel takes them, and nothing works. */
const NO_HOST = ['0.0.0.0/32', '224.0.0.0/4', '::/128', 'ff00::/8'];

const refuse = (type: string, problem: string) =>
  new CniError(ErrorCode.invalidConfig, `${type}: ${problem}`);

/** An address is that of one host, and its gateway of the same family. Throws CniError(invalidConfig). */
export function checkAddresses(type: string, ips: readonly IpConfig[]): void {
  for (const { address, gateway } of ips) {
    if (NO_HOST.some((prefix) => overlap(prefix, addressOf(address)))) {
      throw refuse(
        type,
        `${address} cannot be the address of a container: wanted neither zero nor multicast`,
      );
    }
    if (gateway && familyOf(gateway) !== familyOf(address)) {
      throw refuse(type, `the gateway ${gateway} of ${address} is of the other family: set one of the same`);
    }
  }
}

/** Where the host is the gateway, it cannot have the container's address. Throws CniError(invalidConfig). */
export function refuseOwnGateway(type: string, ips: readonly IpConfig[]): void {
  const own = ips.find(
    ({ address, gateway }) => gateway && canonical(gateway) === canonical(addressOf(address)),
  );
  if (own === undefined) return;
  const advice = 'give the container another address, or set another gateway';
  throw refuse(type, `${own.address} has itself as gateway: ${advice}`);
}

export function requireAddresses(type: string, answer: IpamResult, why: string): void {
  if (answer.ips.length > 0) return;
  throw new CniError(ErrorCode.invalidConfig, `${type}: IPAM gave no address, but ${why}`);
}
