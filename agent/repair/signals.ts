/**
 * What of the kernel's notifications may mean that something of ours is gone. Only types are read: an ADD makes dozens of notifications,
 * and must not be slower for them.
 */
import { pieces } from '../../netlink/attributes.ts';
import type { Family, Namespace, RawMessage } from '../../netlink/door.ts';
import { type Monitor, monitor, type Overrun } from '../../netlink/monitor.ts';

/** `rules`: others removed rules, chains, sets or tables. `state`: the rest, which our own DELs cause as well. */
export type Signal =
  | { kind: 'rules' | 'state' }
  /** Ends a change of the ruleset: who made it. */
  | { kind: 'author'; author: string };

export type Heard = Signal | Overrun;

/** RTM_DELLINK, RTM_DELADDR, RTM_DELROUTE (linux/rtnetlink.h). */
const ROUTE_TYPES = [17, 21, 25];
const RTM_NEWNETCONF = 80;
/** struct netconfmsg, NETCONFA_IFINDEX and one setting: somebody changed it. A link that comes tells all that it has (linux/netconf.h). */
const ONE_SETTING = 20;
/** NFT_MSG_DELTABLE, DELCHAIN, DELRULE, DELSET (linux/netfilter/nf_tables.h). */
const REMOVALS = [2, 5, 8, 11];
const NFT_MSG_NEWCHAIN = 3;
const NFTA_CHAIN_POLICY = 5;
const NFT_MSG_DELSETELEM = 14;
const NFT_MSG_NEWGEN = 15;
const NFGENMSG = 4;
const NFTA_GEN_PROC_PID = 2;
const NFTA_GEN_PROC_NAME = 3;

export function readSignal(family: Family, { type, payload }: RawMessage): Signal | undefined {
  if (family === 'route') {
    const isState = ROUTE_TYPES.includes(type) || (type === RTM_NEWNETCONF && payload.length <= ONE_SETTING);
    return isState ? { kind: 'state' } : undefined;
  }
  const change = type & 0xff;
  if (REMOVALS.includes(change)) return { kind: 'rules' };
  if (change === NFT_MSG_DELSETELEM) return { kind: 'state' };
  // Somebody's policy: what was let through by nobody may have to be let through from now on.
  if (change === NFT_MSG_NEWCHAIN && hasPolicy(payload)) return { kind: 'state' };
  return change === NFT_MSG_NEWGEN ? { kind: 'author', author: authorOf(payload) } : undefined;
}

function hasPolicy(payload: Uint8Array): boolean {
  return [...pieces(payload.subarray(NFGENMSG))].some(({ number }) => number === NFTA_CHAIN_POLICY);
}

/** `nft (process 4711)`; the number is that of the machine's first PID namespace. */
function authorOf(payload: Uint8Array): string {
  let name = 'a program without a name';
  let pid = '';
  for (const { number, payload: value } of pieces(payload.subarray(NFGENMSG))) {
    const bytes = Buffer.from(value.buffer, value.byteOffset, value.length);
    if (number === NFTA_GEN_PROC_NAME) name = bytes.toString('utf8').replace(/\0.*$/s, '');
    if (number === NFTA_GEN_PROC_PID && bytes.length === 4) pid = ` (process ${bytes.readUInt32BE()})`;
  }
  return name + pid;
}

/** `host` must be of openDoor(). `arrived` is called for every notification. Throws an Error with `code`. */
export async function signals(host: Namespace, arrived: () => void): Promise<Monitor<Signal>> {
  const groups = ['link', 'address', 'route', 'netconf'] as const;
  // The kernel drops the others: most of what an ADD causes does not even wake this process.
  const types = [...ROUTE_TYPES, RTM_NEWNETCONF];
  const read = (family: Family, message: RawMessage) => {
    arrived();
    return readSignal(family, message);
  };
  try {
    return await monitor(host, [...groups, 'nftables'], read, types);
  } catch {
    // A kernel without nf_tables.
    return await monitor(host, groups, read, types);
  }
}
