/** What the registry's tests share. */

import { openRegistry } from '../../cluster/open-registry.ts';
import type { Endpoint, JoinRequest, Member, NetworkState, Registry } from '../../cluster/registry.ts';
import { overlap } from '../../cni/prefix.ts';
import type { Teardown } from '../support/host.ts';
import { until } from '../support/until.ts';

export const POOL = { prefix: '10.244.0.0/16', blockLength: 24 };
export const POOL6 = { prefix: 'fd00:244::/48', blockLength: 64 };

/** A host by number: its name and address follow from it. */
export function request(number: number, more: Partial<JoinRequest> = {}): JoinRequest {
  return {
    network: 'pods',
    host: `host-${number}`,
    addresses: [`192.0.2.${number}`],
    mac: `02:00:00:00:00:${number.toString(16).padStart(2, '0')}`,
    pools: [POOL],
    before: [],
    avoid: [],
    ...more,
  };
}

/** What a registry told about this host's registration, and about a network. */
export interface Seen {
  states: NetworkState[];
  events: string[];
}

export interface Opened extends Seen {
  registry: Registry;
}

/** Opens a registry that is closed with the test and writes down what its hooks are told. */
export async function open(t: Teardown, location: string, env: Record<string, string> = {}): Promise<Opened> {
  const seen: Seen = { states: [], events: [] };
  const hooks = {
    restored: (_: string, member: Member) => void seen.events.push(`restored ${member.subnets}`),
    gone: (_: string, error: Error) => void seen.events.push(`gone: ${error.message}`),
  };
  const registry = await openRegistry(location, { env, hooks });
  t.teardown(() => registry.close());
  return { registry, ...seen };
}

/** Watches `pods` until the test ends; lost and found are events. */
export function follow(t: Teardown, { registry, states, events }: Opened): void {
  const watch = registry.watch('pods', {
    changed: (state) => void states.push(state),
    lost: (error) => void events.push(`lost: ${error.message}`),
    found: () => void events.push('found'),
  });
  t.teardown(() => watch.close());
}

/** The last state that was told, once it complies. */
export async function told(
  { states }: Seen,
  what: string,
  complies: (state: NetworkState) => boolean,
): Promise<NetworkState> {
  return until(what, () => {
    const last = states.at(-1);
    return last !== undefined && complies(last) ? last : undefined;
  });
}

export const hosts = (state: NetworkState) => state.members.map(({ host }) => host);

/** Pairs of members that hold what overlaps: there must be none. */
export function clashes(members: readonly Member[]): string[] {
  const held = members.flatMap(({ host, subnets }) => subnets.map((subnet) => ({ host, subnet })));
  return held.flatMap((one, index) =>
    held
      .slice(index + 1)
      .filter((other) => overlap(one.subnet, other.subnet))
      .map((other) => `${one.host} and ${other.host}: ${one.subnet} and ${other.subnet}`),
  );
}

/** A location on a real etcd. `seconds`: for an answer; few where it is to be missed. */
export const etcdAt = (address: string, more = '', seconds = 30) =>
  `etcd://${address}/weft?timeout=${seconds}${more}`;

/** So many containers of a host, from the given one on. */
export const containers = (host: string, count: number, from = 0): Endpoint[] =>
  Array.from({ length: count }, (_, index) => ({
    address: `10.9.${Math.floor((from + index) / 200)}.${((from + index) % 200) + 1}`,
    mac: '02:00:00:00:09:09',
    host,
  }));
