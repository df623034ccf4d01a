/** What the plan engine needs of a backend for published ports: constant rules, changing membership, readable ownership. */
import type { AttachmentId } from '../cni/types.ts';
import type { IpFamily } from './address.ts';

export const PROTOCOLS = { tcp: 6, udp: 17, sctp: 132 } as const;
export type Protocol = keyof typeof PROTOCOLS;

/** One port of the host that leads to one of a container. */
export interface PublishedPort {
  protocol: Protocol;
  family: IpFamily;
  /** The host's address, canonical; absent: each address of the host of that family. */
  hostAddress?: string;
  hostPort: number;
  /** The container's address, canonical, without prefix length. */
  address: string;
  containerPort: number;
}

/** The published ports of one attachment. */
export interface Publication extends AttachmentId {
  network: string;
  ports: readonly PublishedPort[];
  /** Links of the host by which the container is reached: what comes in by one of them and leaves by it again needs another source. */
  links: readonly string[];
  /** Prefixes of the container's own subnets; iptables cannot tell by links who sits beside it. */
  subnets: readonly string[];
  /** `needed`: only where answers would not come back to us (from the host itself, from the same link); `never`; `always`. */
  sourceNat: 'needed' | 'never' | 'always';
  /** iptables only: matches that a packet has to meet besides, as words of a command line. */
  conditions?: Partial<Record<IpFamily, readonly string[]>>;
  /** iptables only: what needs another source goes to this chain, which marks it, instead of being masqueraded by us. */
  markChain?: string;
}

export interface PortBackend {
  readonly name: 'nftables' | 'iptables';
  /** Idempotent. Throws CniError(conflict), naming the owner, when another attachment has one of the ports. */
  publish(publication: Publication): Promise<void>;
  /** Idempotent. `ports` may be empty or others than were published: everything with the attachment's mark goes. */
  withdraw(publication: Pick<Publication, keyof AttachmentId | 'network' | 'ports' | 'links'>): Promise<void>;
  /** For each of the publications, one line per missing thing. */
  missing(publications: readonly Publication[]): Promise<string[][]>;
  /** Removes what belongs to none of the network's valid attachments; returns what it removed, readable. */
  collect(network: string, valid: readonly AttachmentId[]): Promise<string[]>;
  /** The lines that a person would type, base rules included. */
  render(publication: Publication): string[];
  /** Throws CniError(notAvailable) when this backend cannot work on this host. */
  probe(): Promise<void>;
}

/** `tcp 8080`, `udp 203.0.113.1:53`, `tcp [2001:db8::1]:80` */
export function portWords({ protocol, hostAddress, hostPort, family }: PublishedPort): string {
  if (hostAddress === undefined) return `${protocol} ${hostPort}`;
  return `${protocol} ${family === 6 ? `[${hostAddress}]` : hostAddress}:${hostPort}`;
}

export function targetWords({ address, family, containerPort }: PublishedPort): string {
  return `${family === 6 ? `[${address}]` : address}:${containerPort}`;
}
