/** This host on networks between hosts: what the agent knows, and what a registry says of them. */
import { hostname } from 'node:os';
import type { NetworkSummary } from '../../agent/cluster/summary.ts';
import { openRegistry } from '../../cluster/open-registry.ts';
import type { Ambient } from '../../cni/ambient.ts';
import type { Membership } from '../../inspect/doctor/view.ts';
import { askNetworks } from '../network/ask.ts';

/** @param location asked for the members, besides what the agent of this host knows */
export async function readMemberships(ambient: Ambient, location: string | undefined): Promise<Membership[]> {
  const { running, networks } = await askNetworks(ambient.paths).catch(() => ({
    running: false,
    networks: [],
  }));
  const known = networks.map((one) => membershipOf(one, running));
  if (location === undefined || known.length === 0) return known;
  const registry = await openRegistry(location, { env: ambient.env });
  try {
    return await Promise.all(
      known.map(async (one): Promise<Membership> => {
        try {
          const { members } = await registry.read(one.network);
          const name = one.host || hostname();
          return {
            ...{ ...one, where: registry.where, reachable: true },
            members: members.map(({ host, addresses, subnets }) => ({
              ...{ host, self: host === name, addresses, subnets },
            })),
          };
        } catch (error) {
          const reason = error instanceof Error ? error.message : String(error);
          return { ...one, where: registry.where, reachable: false, kept: true, error: reason };
        }
      }),
    );
  } finally {
    await registry.close();
  }
}

function membershipOf(one: NetworkSummary, running: boolean): Membership {
  const { name, host, joined, subnets, validUntil, mtu, device, members, problems } = one;
  const { where, reachable, error } = one.registry;
  return {
    ...{ network: name, host, where, kept: running, reachable, joined, subnets },
    ...(error === undefined ? {} : { error }),
    ...(validUntil === undefined ? {} : { validUntil }),
    ...(mtu === undefined ? {} : { mtu }),
    ...(device === undefined ? {} : { device }),
    // What says no more than that no agent runs has a finding of its own.
    problems: problems.filter((problem) => !problem.startsWith('not joined')),
    members: members.map(({ host: other, self, addresses, subnets: held }) => ({
      ...{ host: other, self, addresses, subnets: held },
    })),
  };
}
