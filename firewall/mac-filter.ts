/**
 * The MAC filter of bridge ports (mac-filter-ruleset.ts). The base is installed once per host by one `nft -f -`; a container is two
 * elements, sent natively. A steady ADD is one native call and no process, and notices a rule that somebody flushed.
 */
import type { Ambient } from '../cni/ambient.ts';
import { CniError, ErrorCode } from '../cni/errors.ts';
import type { AttachmentId } from '../cni/types.ts';
import type { Namespace, NetlinkError, Op, Reply } from '../netlink/door.ts';
import { tolerating } from '../netlink/message.ts';
import {
  addElements,
  batch,
  type Change,
  deleteElements,
  type Element,
  getElements,
  listElements,
} from '../netlink/nftables.ts';
import { concatenated, linkNameKey, macKey } from '../netlink/nftables-keys.ts';
import { listRules } from '../netlink/nftables-objects.ts';
import {
  ALLOWED,
  FILTER_COMMENT,
  FILTER_TABLE,
  filterCommands,
  GUARDED,
  type GuardedPort,
  guardComment,
  networkMark,
  PREROUTING,
  portMark,
  readGuardComment,
} from './mac-filter-ruleset.ts';
import { runNft } from './nft.ts';
import { findProgram, withFirewallLock } from './program.ts';
import { NO_NFTABLES } from './xtables.ts';

const IN_TABLE = { family: 'bridge', table: FILTER_TABLE } as const;
const GUARDED_SET = { ...IN_TABLE, set: GUARDED };
const ALLOWED_SET = { ...IN_TABLE, set: ALLOWED };

/** Whose an element may be when it is taken away. */
export type PortOwner = Omit<GuardedPort, 'mac'>;

export interface MacFilter {
  /** Idempotent. Works before the port exists. Throws CniError (noKernelSupport, notAvailable, program). */
  guard(member: GuardedPort): Promise<void>;
  /** Idempotent; leaves what belongs to somebody else. */
  release(owner: PortOwner): Promise<void>;
  /** One line per missing thing (rule, element). */
  verify(member: GuardedPort): Promise<string[]>;
  /** Removes elements of this network that belong to none of the valid attachments; returns what it removed, readable. */
  collect(network: string, valid: readonly AttachmentId[]): Promise<string[]>;
  /** Throws CniError(notAvailable) when this host cannot do it. */
  probe(): Promise<void>;
}

/** Opens nothing and changes nothing; `host` and `ambient` are used by the methods. */
export function macFilter(host: Namespace, ambient: Ambient): MacFilter {
  return {
    guard: (member) => guard(host, ambient, member),
    release: (owner) => release(host, owner),
    verify: (member) => verify(host, member),
    collect: (network, valid) => collect(host, network, valid),
    probe: () => probe(host, ambient),
  };
}

const allowedKey = (port: string, mac: string) => concatenated(linkNameKey(port), macKey(mac));
const guardElement = (member: GuardedPort): Element => ({
  key: linkNameKey(member.port),
  comment: guardComment(member),
});
const allowedElement = (member: GuardedPort): Element => ({
  key: allowedKey(member.port, member.mac),
  comment: portMark(member.network, member),
});

/** First what is allowed, then what is guarded: no frame of the container is lost in between. */
const entering = (member: GuardedPort): Change[] => [
  addElements(ALLOWED_SET, [allowedElement(member)], true),
  addElements(GUARDED_SET, [guardElement(member)], true),
];

const findGuard = (port: string): Op<Element[]> =>
  tolerating(getElements(GUARDED_SET, [linkNameKey(port)]), 'ENOENT', ...NO_NFTABLES);
const findAllowed = (port: string, mac: string): Op<Element[]> =>
  tolerating(getElements(ALLOWED_SET, [allowedKey(port, mac)]), 'ENOENT', ...NO_NFTABLES);
const rules = () => tolerating(listRules({ ...IN_TABLE, chain: PREROUTING }), 'ENOENT', ...NO_NFTABLES);

type RulesReply = Reply<{ comment: string | undefined }[]>;
const stands = (reply: RulesReply) =>
  reply.ok && reply.value.some(({ comment }) => comment === FILTER_COMMENT);

function commentIn(reply: Reply<Element[]>): string | undefined {
  return reply.ok ? reply.value[0]?.comment : undefined;
}

async function guard(host: Namespace, ambient: Ambient, member: GuardedPort): Promise<void> {
  const entries = { ...batch(entering(member)), what: `hold port ${member.port} to ${member.mac}` };
  const [base, entered] = await host.send(rules(), tolerating(entries, 'ENOENT', 'EEXIST', ...NO_NFTABLES));
  const refusal = entered.ok ? undefined : entered.error;
  if (refusal && (NO_NFTABLES as readonly string[]).includes(refusal.errno)) throw noKernel(refusal);
  if (!stands(base)) await install(host, ambient);
  if (refusal) await enterAgain(host, member);
}

/** After the base was installed, or where a port of that name has elements already: an earlier ADD's, maybe with another MAC. */
async function enterAgain(host: Namespace, member: GuardedPort): Promise<void> {
  const { port, mac } = member;
  const [guarded] = await host.send(findGuard(port));
  const known = readGuardComment(commentIn(guarded))?.mac;
  const macs = [...new Set([mac.toLowerCase(), ...(known ? [known] : [])])];
  const present = await host.send(...macs.map((each) => findAllowed(port, each)));
  // One batch: the port is not open for a moment.
  const changes = [
    ...(guarded.ok ? [deleteElements(GUARDED_SET, [{ key: linkNameKey(port) }])] : []),
    ...macs.flatMap((each, i) =>
      present[i]?.ok ? [deleteElements(ALLOWED_SET, [{ key: allowedKey(port, each) }])] : [],
    ),
    ...entering(member),
  ];
  await host.send({ ...batch(changes), what: `hold port ${port} to ${mac}` });
}

/** Installs the base, or puts back what is missing of it, in one process; nothing if somebody else just did. */
async function install(host: Namespace, ambient: Ambient): Promise<void> {
  await withFirewallLock(ambient, async () => {
    const [base] = await host.send(rules());
    if (!stands(base)) await installBase(host, ambient);
  });
}

const NFT_MISSING =
  'cannot hold containers to their MAC: nft is not installed (or not on PATH): install nftables, or remove macspoofchk';

async function installBase(host: Namespace, ambient: Ambient): Promise<void> {
  if (!findProgram(ambient.env, 'nft')) throw new CniError(ErrorCode.notAvailable, NFT_MISSING);
  try {
    const what = 'install the nftables rule that holds containers to their MAC';
    await runNft(host, ambient, filterCommands(), what);
  } catch (error) {
    const words = error instanceof CniError ? error.details : undefined;
    // A kernel without nf_tables for bridges takes the table, and refuses the hook.
    if (words && /(?:Operation not supported|No such file or directory)\nadd chain/.test(words))
      throw noKernel(words);
    throw error;
  }
}

function noKernel(reason: NetlinkError | string): CniError {
  return new CniError(
    ErrorCode.noKernelSupport,
    'cannot hold containers to their MAC: the kernel of this host has no nf_tables for bridges (CONFIG_NF_TABLES_BRIDGE); ' +
      'remove macspoofchk',
    typeof reason === 'string' ? reason : reason.message,
  );
}

async function release(host: Namespace, owner: PortOwner): Promise<void> {
  const { port } = owner;
  const [guarded] = await host.send(findGuard(port));
  const known = readGuardComment(commentIn(guarded));
  if (known?.mark !== portMark(owner.network, owner)) return;
  const changes = [
    deleteElements(GUARDED_SET, [{ key: linkNameKey(port) }]),
    deleteElements(ALLOWED_SET, [{ key: allowedKey(port, known.mac) }]),
  ];
  await leave(host, `let go of port ${port}`, changes);
}

/** Together; one by one where somebody took some of them away. */
async function leave(host: Namespace, what: string, changes: readonly Change[]): Promise<void> {
  if (changes.length === 0) return;
  const op = (some: readonly Change[]) => tolerating({ ...batch(some), what }, 'ENOENT');
  const [together] = await host.send(op(changes));
  if (!together.ok && changes.length > 1) await host.send(...changes.map((change) => op([change])));
}

async function verify(host: Namespace, member: GuardedPort): Promise<string[]> {
  const { port, mac } = member;
  const [base, guarded, allowed] = await host.send(rules(), findGuard(port), findAllowed(port, mac));
  const at = `of table bridge ${FILTER_TABLE}`;
  return [
    ...(stands(base) ? [] : [`rule "${FILTER_COMMENT}" in chain ${PREROUTING} ${at}`]),
    ...(commentIn(guarded) === guardComment(member) ? [] : [`element ${port} in set ${GUARDED} ${at}`]),
    ...(commentIn(allowed) === portMark(member.network, member)
      ? []
      : [`element ${port} . ${mac.toLowerCase()} in set ${ALLOWED} ${at}`]),
  ];
}

async function collect(host: Namespace, network: string, valid: readonly AttachmentId[]): Promise<string[]> {
  const marks = new Set(valid.map((id) => portMark(network, id)));
  const list = (set: typeof GUARDED_SET | typeof ALLOWED_SET) =>
    tolerating(listElements(set), 'ENOENT', ...NO_NFTABLES);
  const [guarded, allowed] = await host.send(list(GUARDED_SET), list(ALLOWED_SET));
  const isStale = (mark: string | undefined) => mark?.startsWith(networkMark(network)) && !marks.has(mark);
  const ports = (guarded.ok ? guarded.value : []).flatMap(({ key, comment }) => {
    const mark = readGuardComment(comment)?.mark;
    return key && isStale(mark) ? [{ key, mark }] : [];
  });
  const macs = (allowed.ok ? allowed.value : []).filter(({ comment }) => isStale(comment));
  await leave(host, `let go of the stale ports of network ${network}`, [
    ...ports.map(({ key }) => deleteElements(GUARDED_SET, [{ key }])),
    ...macs.map(({ key }) => deleteElements(ALLOWED_SET, [{ key }])),
  ]);
  return ports.map(({ mark }) => `MAC filter of ${mark}`);
}

async function probe(host: Namespace, ambient: Ambient): Promise<void> {
  const [base] = await host.send(rules());
  if (!base.ok && base.error.errno !== 'ENOENT') {
    throw new CniError(
      ErrorCode.notAvailable,
      `cannot hold containers to their MAC: the kernel has no nf_tables (${base.error.errno})`,
      base.error.message,
    );
  }
  if (!findProgram(ambient.env, 'nft')) throw new CniError(ErrorCode.notAvailable, NFT_MISSING);
}
