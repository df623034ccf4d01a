/** Small questions about members and endpoints. */

import type { Member, NetworkState } from '../../cluster/registry.ts';
import { overlap } from '../../cni/prefix.ts';
import type { Membership } from '../../ipam/cluster/membership.ts';

export const EMPTY: NetworkState = { members: [], endpoints: [] };

/** What the plugins were told of this host, as the registry would have it. */
export function memberOf({ host, subnets, borrowed }: Membership, addresses: readonly string[]): Member {
  return { host, addresses, subnets, borrowed };
}

export function withMember({ members, endpoints }: NetworkState, member: Member): NetworkState {
  const others = members.filter(({ host }) => host !== member.host);
  return { members: [...others, member].sort((a, b) => (a.host < b.host ? -1 : 1)), endpoints };
}

/** Addresses of a host's blocks whose containers live behind another host. */
export function elsewhere({ endpoints }: NetworkState, self: string, blocks: readonly string[]): string[] {
  return endpoints.flatMap(({ address, host }) =>
    host !== self && blocks.some((block) => overlap(address, block)) ? [address] : [],
  );
}

/** Whether two lists have the same texts, in any order. */
export const sameList = (a: readonly string[], b: readonly string[]) =>
  a.length === b.length && a.every((one) => b.includes(one));
