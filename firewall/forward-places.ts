/** Where a host decides what it forwards; asked by a constant number of messages and no process. */
import type { Ambient } from '../cni/ambient.ts';
import type { Namespace, Reply } from '../netlink/door.ts';
import { tolerating } from '../netlink/message.ts';
import { type Chain, getChain, getTable } from '../netlink/nftables-objects.ts';
import type { IpFamily } from './address.ts';
import type { Admission } from './forward.ts';
import type { IptablesVariant } from './iptables-command.ts';
import { findProgram } from './program.ts';
import { legacyTables, NO_NFTABLES } from './xtables.ts';

/** One iptables of one family; without a variant, what the administrator chose as `iptables`. */
export interface IptablesPlace {
  family: IpFamily;
  variant: IptablesVariant | undefined;
}

export interface Forwarding {
  kernel: boolean;
  nft: boolean;
  iptables: boolean;
  /** Where iptables forwards nothing by itself, or has rules that might drop. */
  dropping: readonly IptablesPlace[];
  /** Rules of firewalld stand. */
  firewalld: boolean;
}

const NF_DROP = 0;

/** What is there. Throws NetlinkError. */
export async function forwarding(host: Namespace, ambient: Ambient): Promise<Forwarding> {
  const chain = (family: 'ip' | 'ip6', name: string) =>
    tolerating(getChain({ family, table: 'filter', chain: name }), 'ENOENT', ...NO_NFTABLES);
  const [four, six, zones, table] = await host.send(
    chain('ip', 'FORWARD'),
    chain('ip6', 'FORWARD'),
    // firewalld's own backends: iptables, nftables.
    chain('ip', 'FORWARD_ZONES'),
    tolerating(getTable({ family: 'inet', table: 'firewalld' }), 'ENOENT', ...NO_NFTABLES),
  );
  const legacy = async (family: IpFamily): Promise<IptablesPlace[]> =>
    // Its policy and rules could only be read by a program.
    (await legacyTables(host, family)).includes('filter') ? [{ family, variant: 'legacy' }] : [];
  return {
    kernel: four.ok || four.error.errno === 'ENOENT',
    nft: findProgram(ambient.env, 'nft') !== undefined,
    iptables: findProgram(ambient.env, 'iptables-restore') !== undefined,
    dropping: [
      ...(mayDrop(four) ? [{ family: 4, variant: 'nft' } as const] : []),
      ...(mayDrop(six) ? [{ family: 6, variant: 'nft' } as const] : []),
      ...(await legacy(4)),
      ...(await legacy(6)),
    ],
    firewalld: zones.ok || table.ok,
  };
}

/** A rule of ours counts as well: where we once wrote, we stay. */
function mayDrop(forward: Reply<Chain>): boolean {
  return forward.ok && (forward.value.policy === NF_DROP || (forward.value.use ?? 0) > 0);
}

/** Where one attachment's part belongs. */
export interface ForwardPlaces {
  nftables: boolean;
  iptables: readonly IptablesPlace[];
  firewalld: boolean;
  /** Why it cannot be done. */
  problem: string | undefined;
}

const NO_IPTABLES = 'iptables-restore is not installed (or not on PATH): install iptables';
const NO_NFT = 'nft is not installed (or not on PATH): install nftables';

/** Pure. */
export function placesFor(
  found: Forwarding,
  wanted: Pick<Admission, 'rules' | 'required' | 'zone' | 'addresses'>,
): ForwardPlaces {
  const { rules, required, zone, addresses } = wanted;
  const families = ([4, 6] as const).filter((family) => addresses.some((one) => one.family === family));
  const nftables = rules === 'nftables' || (rules === undefined && found.kernel && found.nft);
  const inIptables = rules === 'iptables' || (!nftables && found.iptables);
  const iptables = families.flatMap((family): IptablesPlace[] => {
    const dropping = found.dropping.filter((place) => place.family === family);
    // What nftables is asked for explicitly stays out of iptables, come what may.
    if (rules === 'nftables') return [];
    return dropping.length > 0 || !inIptables ? dropping : [{ family, variant: undefined }];
  });
  return {
    nftables,
    iptables,
    firewalld: zone !== undefined && (found.firewalld || required === 'zone'),
    problem: problemOf(found, nftables, iptables.length > 0 || rules === 'iptables', required === 'rules'),
  };
}

function problemOf(
  found: Forwarding,
  nftables: boolean,
  iptables: boolean,
  isRequired: boolean,
): string | undefined {
  const start = 'what this host forwards cannot be let through or kept apart: ';
  if (nftables && !found.kernel) return `${start}the kernel has no nf_tables: remove "backend": "nftables"`;
  if (nftables && !found.nft) return start + NO_NFT;
  if (iptables && !found.iptables) return start + NO_IPTABLES;
  if (!isRequired || nftables || iptables) return undefined;
  return `${start}neither nft nor iptables is installed (or on PATH): install nftables or iptables`;
}
