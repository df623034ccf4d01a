/** The settings of a network namespace that decide over packets (Documentation/networking/ip-sysctl.rst). */
import type { Namespace } from '../../netlink/door.ts';

/** By their path below /proc/sys/net, as numbers: `ipv4/conf/eth0/rp_filter`. What the kernel does not have is absent. */
export type Sysctls = ReadonlyMap<string, number>;

const FOR_ALL = [
  'ipv4/ip_forward',
  'ipv4/icmp_echo_ignore_all',
  'ipv6/icmp/echo_ignore_all',
  'bridge/bridge-nf-call-iptables',
  'bridge/bridge-nf-call-ip6tables',
  'bridge/bridge-nf-call-arptables',
  'netfilter/nf_conntrack_max',
  'netfilter/nf_conntrack_count',
] as const;

const PER_LINK = [
  ['ipv4', 'forwarding'],
  ['ipv4', 'rp_filter'],
  ['ipv4', 'accept_local'],
  ['ipv4', 'route_localnet'],
  ['ipv4', 'proxy_arp'],
  ['ipv4', 'src_valid_mark'],
  ['ipv4', 'arp_ignore'],
  ['ipv4', 'ignore_routes_with_linkdown'],
  ['ipv6', 'forwarding'],
  ['ipv6', 'disable_ipv6'],
  ['ipv6', 'proxy_ndp'],
] as const;

/** Reads them for `all`, `default` and the given links. Throws nothing: what cannot be read is absent. */
export async function readSysctls(
  ns: Pick<Namespace, 'readFile'>,
  links: readonly string[],
): Promise<Sysctls> {
  const names = [
    ...FOR_ALL,
    ...['all', ...links].flatMap((link) =>
      PER_LINK.map(([family, name]) => `${family}/conf/${link}/${name}` as const),
    ),
  ];
  const found = new Map<string, number>();
  for (const name of names) {
    const value = await readNumber(ns, name);
    if (value !== undefined) found.set(name, value);
  }
  return found;
}

async function readNumber(ns: Pick<Namespace, 'readFile'>, name: string): Promise<number | undefined> {
  try {
    const value = Number((await ns.readFile(`/proc/sys/net/${name}`)).trim());
    return Number.isInteger(value) ? value : undefined;
  } catch {
    return undefined;
  }
}
