/** Comments that name an attachment: ours (firewall/ownership.ts and its users) and others'. */
import { GUARDED } from '../firewall/mac-filter-ruleset.ts';
import type { Owner } from './owner.ts';

type Attachment = Pick<Owner, 'network' | 'containerId' | 'ifname'>;

/** `<network> <container id> <interface>`, of the port tables and of the forward rules. */
export function threeWords(comment: string): Attachment | undefined {
  const [network, containerId, ifname, more] = comment.split(' ');
  return network && containerId && ifname && more === undefined
    ? { network, containerId, ifname }
    : undefined;
}

/** `<container id> <interface>`, where the set or chain says the network. */
export function twoWords(comment: string): Attachment | undefined {
  const [containerId, ifname, more] = comment.split(' ');
  return containerId && ifname && more === undefined ? { containerId, ifname } : undefined;
}

/** The MAC filter's: three words, and the MAC in one of its sets. */
export function filterMark(set: string, comment: string): Attachment | undefined {
  return threeWords(set === GUARDED ? comment.replace(/ [0-9a-f:]{17}$/, '') : comment);
}

/** `weft network podnet: masquerade` of the iptables backend. */
export function weftNetwork(comment: string): string | undefined {
  return /^weft network (\S+): /.exec(comment)?.[1];
}

/** The reference plugins': `name: "net" id: "c1"`, cut at 255 characters; since 1.6 in nf_tables `..., net: net, if: eth0, id: c1`. */
export function referenceMark(comment: string): Attachment | undefined {
  const [, network, containerId] = /name: "?([^" ]*)"? id: "?([^" ]*)"?/.exec(comment) ?? [];
  if (network !== undefined && containerId) return { network, containerId };
  const [, net, ifname, id] = /, net: (.*?), if: (.*?), id: (\S+)/.exec(comment) ?? [];
  return net !== undefined && ifname && id ? { network: net, ifname, containerId: id } : undefined;
}
