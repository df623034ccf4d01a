/**
 * What this host holds on a network that spans hosts: written by the agent (agent/cluster), read by the plugins. A plugin never asks the
 * registry: containers come and go while it cannot be reached. `<cacheDir>/weft/networks/<network>.json`, written whole (temporary file, rename).
 */
import fs from 'node:fs';
import { join } from 'node:path';
import { makeFolder } from '../../cni/folder.ts';

const FORMAT = 'weft membership 1';

export interface Membership {
  format: typeof FORMAT;
  network: string;
  /** This host's name in the registry. */
  host: string;
  /** Canonical prefixes that containers here get addresses of; at most one of each family but for L2 pools, which have blocks. */
  subnets: string[];
  /** Single addresses of other hosts' blocks (L2 pools). */
  borrowed: string[];
  /** The whole network's prefixes: what lies in them is not masqueraded; on-link in L2 networks. */
  pools: string[];
  /** Bytes: what fits through the underlay. */
  mtu: number;
  /** The device between the hosts (VXLAN). */
  device?: string;
  /** Milliseconds since the epoch until which the registry vouches for this; absent: for ever (file). */
  validUntil?: number;
  /** Why the host should get no new containers (STATUS 50), for people. */
  problem?: string;
  /** With `problem`: no container may be attached until it has ended (ADD 11); otherwise ADD goes on with what the host holds. */
  refuses?: boolean;
  /** With `problem`: containers that run here may have limited connectivity as well (STATUS 51). */
  limited?: boolean;
  /** Addresses of this host's blocks that live behind other hosts (L2: containers that moved); never given out here. */
  away?: string[];
}

export const membershipFile = (cacheDir: string, network: string) =>
  join(cacheDir, 'weft', 'networks', `${network}.json`);

/** Undefined when there is none, or none of this format. Throws an Error with `code` when it cannot be read. */
export function readMembership(cacheDir: string, network: string): Membership | undefined {
  let text: string;
  try {
    text = fs.readFileSync(membershipFile(cacheDir, network), 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  try {
    const value = JSON.parse(text) as Partial<Membership> | null;
    return isMembership(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function isMembership(value: Partial<Membership> | null): value is Membership {
  const lists = [value?.subnets, value?.borrowed, value?.pools, value?.away ?? []];
  return value?.format === FORMAT && typeof value.mtu === 'number' && lists.every(Array.isArray);
}

/** Atomic: a reader finds the old or the new. */
export function writeMembership(cacheDir: string, membership: Omit<Membership, 'format'>): void {
  const file = membershipFile(cacheDir, membership.network);
  makeFolder(join(file, '..'), 0o700);
  const temporary = `${file}.new`;
  fs.writeFileSync(temporary, JSON.stringify({ format: FORMAT, ...membership }), { mode: 0o600 });
  fs.renameSync(temporary, file);
}
