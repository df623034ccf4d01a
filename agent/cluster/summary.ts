/** A network between hosts as this host's agent sees it: what `weft network` and `weft status` show. */
import type { Session } from '../../cluster/bgp/bird.ts';
import type { Backend, ClusterNetwork } from '../../cluster/network.ts';
import type { Member, NetworkState } from '../../cluster/registry.ts';
import type { ContactState } from './contact.ts';
import { prefixesOf } from './parts.ts';

export interface MemberSummary {
  host: string;
  /** This host. */
  self: boolean;
  addresses: readonly string[];
  subnets: readonly string[];
  borrowed: readonly string[];
  mac?: string;
  /** Addresses of containers that it has published (L2). */
  endpoints: number;
}

export interface NetworkSummary {
  name: string;
  backend: Backend;
  /** The conflist; absent: it was removed, and the network is kept until `weft network leave`. */
  file?: string;
  /** This host's name in the registry. */
  host: string;
  registry: ContactState & { where: string };
  /** Whether this host is a member. */
  joined: boolean;
  /** Until when the registry vouches for what it holds without another sign of life (milliseconds since the epoch); absent: for ever. */
  validUntil?: number;
  addresses: readonly string[];
  subnets: readonly string[];
  borrowed: readonly string[];
  pools: readonly string[];
  /** Bytes. */
  mtu?: number;
  device?: string;
  vni?: number;
  /** When the members were last told, milliseconds since the epoch. */
  seen?: number;
  members: MemberSummary[];
  endpoints: number;
  /** Addresses that containers here hold. */
  leases: number;
  /** Things put right in the kernel since the agent started. */
  corrections: number;
  problems: string[];
  /** BGP. */
  sessions?: Session[];
}

export interface SummaryInput {
  name: string;
  host: string;
  file: string | undefined;
  network: ClusterNetwork | undefined;
  registry: NetworkSummary['registry'];
  joined: boolean;
  member: Member | undefined;
  state: NetworkState;
  seen: number | undefined;
  mtu: number | undefined;
  device: string | undefined;
  leases: number;
  corrections: number;
  problems: string[];
  sessions: Session[] | undefined;
  validUntil: number | undefined;
}

export function summarize(input: SummaryInput): NetworkSummary {
  const { name, host, file, network, registry, joined, member, state, mtu, device, seen, sessions } = input;
  const { leases, corrections, problems, validUntil } = input;
  const published = new Map<string, number>();
  for (const { host } of state.endpoints) published.set(host, (published.get(host) ?? 0) + 1);
  return {
    ...{ name, backend: network?.backend ?? 'vxlan', host, registry, joined },
    ...(file !== undefined && { file }),
    ...(validUntil !== undefined && { validUntil }),
    addresses: member?.addresses ?? [],
    subnets: member?.subnets ?? [],
    borrowed: member?.borrowed ?? [],
    pools: prefixesOf(network?.pools ?? []),
    ...(mtu !== undefined && { mtu }),
    ...(device !== undefined && { device }),
    ...(network?.vxlan && { vni: network.vxlan.vni }),
    ...(seen !== undefined && { seen }),
    members: state.members.map(({ host: other, addresses, subnets, borrowed = [], mac }) => ({
      ...{ host: other, self: other === host, addresses, subnets, borrowed },
      ...(mac !== undefined && { mac }),
      endpoints: published.get(other) ?? 0,
    })),
    ...{ endpoints: state.endpoints.length, leases, corrections, problems },
    ...(sessions && { sessions }),
  };
}
