/**
 * Lets containers through where a host's iptables drop what is forwarded (forward-iptables-rules.ts). With ipset the rules are constant and a
 * container is an entry, put in natively: a steady ADD starts no process where iptables is the nft variant. Else, each change is one
 * iptables-save to see what is there and one `iptables-restore --noflush` with exactly the difference, for each family, under the firewall's lock.
 */
import type { Ambient } from '../cni/ambient.ts';
import { CniError, ErrorCode } from '../cni/errors.ts';
import type { AttachmentId } from '../cni/types.ts';
import type { Namespace, Op } from '../netlink/door.ts';
import { addSetElement, deleteSetElement, listSetHeaders } from '../netlink/ipset.ts';
import type { IpFamily } from './address.ts';
import type { Admission, ForwardPart, Withdrawal } from './forward.ts';
import {
  FILTER,
  FORWARD_CHAIN,
  FORWARD_JUMP,
  forwardOwner,
  ISOLATION_CHAIN,
  ISOLATION_END,
  ISOLATION_JUMP,
  isAdminJump,
  isReferenceRule,
  LET_SETS,
  memberRules,
  REFERENCE_CHAIN,
  type WantedRules,
  wantedRules,
} from './forward-iptables-rules.ts';
import type { IptablesPlace } from './forward-places.ts';
import { hasChain } from './iptables-chains.ts';
import { removeLines } from './iptables-removal.ts';
import { deletion } from './iptables-rules.ts';
import { creation, type Entry, entriesIn, hasIpset, tolerant } from './iptables-sets.ts';
import { publicationMark, staleIn } from './ports-ruleset.ts';
import { withFirewallLock } from './program.ts';
import { hostIptables, legacyTables, whereChains } from './xtables.ts';
import { noteOf, rulesIn, withoutCounterpart } from './xtables-notes.ts';

export interface IptablesForward extends Omit<ForwardPart, 'missing'> {
  /** Idempotent. Throws CniError. */
  admit(admission: Admission, places: readonly IptablesPlace[]): Promise<void>;
  /** For each of the admissions, one line per missing thing; `places` are theirs. */
  missing(
    admissions: readonly { admission: Admission; places: readonly IptablesPlace[] }[],
  ): Promise<string[][]>;
  madeByReference(addresses: Admission['addresses']): Promise<boolean>;
}

/**
 * Opens nothing and changes nothing; `host` and `ambient` are used by the methods.
 * @param useSets whether to use ipset where the kernel has it
 */
export function iptablesForward(host: Namespace, ambient: Ambient, useSets = true): IptablesForward {
  return {
    async admit(admission, places) {
      for (const place of places) await admit(host, ambient, admission, place, useSets);
    },
    withdraw: (of) => withdraw(host, ambient, of),
    missing: (admissions) => missing(host, ambient, admissions),
    collect: (network, valid) => collect(host, ambient, network, valid),
    madeByReference: (addresses) => madeByReference(host, ambient, addresses),
  };
}

/** Each family's, of one set. */
const RULES_WITH_SETS = 2;
const CHAINS = ['FORWARD', FORWARD_CHAIN, ISOLATION_CHAIN, ISOLATION_END];
const addressesOf = ({ addresses }: Pick<Admission, 'addresses'>, family: IpFamily) =>
  addresses.filter((one) => one.family === family).map(({ address }) => address);
const allRules = ({ jumps, admin, policies, sets }: WantedRules) => [...jumps, admin, ...policies, ...sets];

const entriesOf = async (host: Namespace, owner?: string): Promise<Entry[]> =>
  hasIpset() ? await entriesIn(host, LET_SETS, owner) : [];

function entering(admission: Admission, family: IpFamily): Op<void>[] {
  const comment = publicationMark(admission);
  return addressesOf(admission, family).map((address) =>
    tolerant(addSetElement(LET_SETS[family], { address, comment })),
  );
}

async function admit(
  host: Namespace,
  ambient: Ambient,
  admission: Admission,
  place: IptablesPlace,
  useSets: boolean,
): Promise<void> {
  const { family } = place;
  const entered = await host.send(...entering(admission, family));
  if (
    entered.every((reply) => reply.ok) &&
    (await lackingRules(host, ambient, admission, place)).length === 0
  )
    return;
  await withFirewallLock(ambient, async () => {
    const [made] = useSets ? await host.send(creation(LET_SETS[family], 'hash:ip', family)) : [];
    const inSets =
      made?.ok === true && (await triedSets(() => install(host, ambient, admission, place, true)));
    if (!inSets) await install(host, ambient, admission, place, false);
    else await host.send(...entering(admission, family));
  });
}

/** False where the kernel knows sets, and the programs no rules that match them. */
async function triedSets(work: () => Promise<void>): Promise<boolean> {
  try {
    await work();
    return true;
  } catch (error) {
    if (error instanceof CniError && error.code === ErrorCode.noKernelSupport) return false;
    throw error;
  }
}

async function install(
  host: Namespace,
  ambient: Ambient,
  admission: Admission,
  { family, variant }: IptablesPlace,
  useSets: boolean,
): Promise<void> {
  const command = hostIptables(host, ambient, variant);
  const lines = additions(admission, family, await command.save(family, FILTER), useSets);
  if (lines.length > 0) await command.restore(family, FILTER, lines);
}

/** The lines that turn what iptables-save printed into what the admission wants; empty when it is all there. */
function additions(admission: Admission, family: IpFamily, saved: string, useSets: boolean): string[] {
  const present = saved.split('\n');
  const { chains, admin, policies, sets, apart } = wantedRules(admission, family);
  const missing = (lines: readonly string[]) => lines.filter((line) => !present.includes(line));
  const first = (line: string) => line.replace(/^-A (\S+)/, '-I $1 1');
  const own = useSets ? [] : memberRules(admission, family);
  const mark = publicationMark(admission);
  const isApart = !apart || present.includes(ISOLATION_JUMP);
  // The administrator's rules come first, whatever has to be put before ours.
  const admins = isApart ? [] : present.filter(isAdminJump);
  return [
    ...chains.filter((chain) => !hasChain(saved, chain)).map((chain) => `:${chain} - [0:0]`),
    ...admins.map(deletion),
    ...(isApart ? [] : [first(ISOLATION_JUMP)]),
    ...[...new Set([...admins, ...missing([admin])])].map(first),
    ...missing(policies),
    ...present.filter((line) => forwardOwner(line) === mark && !own.includes(line)).map(deletion),
    ...missing(useSets ? sets : own),
    ...missing([FORWARD_JUMP]).map(first),
  ];
}

/**
 * What seems to be gone of entries and of the rules that use them, in numbers; undefined where nothing does. It costs one message for each
 * family: nobody tells when ipset or legacy iptables change. Where neither is left nothing is seen, as on a host that needs none. Throws
 * NetlinkError.
 */
export async function lackInSets(
  host: Namespace,
  admissions: readonly Admission[],
): Promise<string | undefined> {
  const affected = admissions.filter(({ rules }) => rules !== 'nftables');
  if (affected.length === 0 || !hasIpset()) return undefined;
  const families = [4, 6] as const;
  const headers = await host.send(...families.map((family) => tolerant(listSetHeaders(LET_SETS[family]))));
  const lacks = families.flatMap((family, i) => {
    const { elements = 0, references = 0 } = (headers[i]?.ok ? headers[i].value[0] : undefined) ?? {};
    const wanted = affected.flatMap((admission) => addressesOf(admission, family)).length;
    const isWhole = elements >= wanted && references >= RULES_WITH_SETS;
    return isWhole || elements + references === 0
      ? []
      : [`${LET_SETS[family]}: ${elements} of ${wanted}, ${references}`];
  });
  return lacks.length > 0 ? lacks.join(', ') : undefined;
}

/** The lines that are not there, of those that all containers need and of a policy's. Runs a program for legacy iptables only, or where none of ours is seen. */
async function lackingRules(
  host: Namespace,
  ambient: Ambient,
  admission: Admission,
  { family, variant }: IptablesPlace,
): Promise<string[]> {
  const wanted = allRules(wantedRules(admission, family));
  if (variant !== 'legacy') {
    const lacking = withoutCounterpart(wanted, await rulesIn(host, { family, table: FILTER }, CHAINS));
    // What the administrator chose as iptables may be the legacy one.
    if (variant === 'nft' || lacking.length < wanted.length) return lacking;
  }
  const present = (await hostIptables(host, ambient, variant).save(family, FILTER)).split('\n');
  return wanted.filter((line) => !present.includes(line));
}

async function withdraw(host: Namespace, ambient: Ambient, of: Withdrawal): Promise<void> {
  const mark = publicationMark(of);
  await drop(host, await entriesOf(host, mark));
  await dropLines(
    host,
    ambient,
    (owner) => owner === mark,
    (line) => forwardOwner(line) === mark || isReferenceRule(line, of.addresses),
  );
}

async function drop(host: Namespace, entries: readonly Entry[]): Promise<void> {
  if (entries.length === 0) return;
  await host.send(
    ...entries.map(({ family, address }) => tolerant(deleteSetElement(LET_SETS[family], { address }))),
  );
}

/** Starts no process where the kernel shows no rule that may be due; legacy iptables cannot be seen without one. */
async function dropLines(
  host: Namespace,
  ambient: Ambient,
  isOurs: (owner: string) => boolean,
  isDue: (line: string) => boolean,
): Promise<string[]> {
  let may = false;
  for (const family of [4, 6] as const) {
    const rules = await rulesIn(host, { family, table: FILTER }, [FORWARD_CHAIN, REFERENCE_CHAIN]);
    // The reference's have no comment.
    may ||= (rules.get(FORWARD_CHAIN) ?? []).some((rule) => isOurs(noteOf(rule) ?? ''));
    may ||= (rules.get(REFERENCE_CHAIN) ?? []).some((rule) => noteOf(rule) === undefined);
    may ||= (await legacyTables(host, family)).includes(FILTER);
  }
  if (!may) return [];
  return await removeLines(host, ambient, { table: FILTER, chains: [FORWARD_CHAIN, REFERENCE_CHAIN] }, isDue);
}

async function missing(
  host: Namespace,
  ambient: Ambient,
  admissions: readonly { admission: Admission; places: readonly IptablesPlace[] }[],
): Promise<string[][]> {
  const entries = await entriesOf(host);
  const seen = new Map<string, Promise<string[]>>();
  const lines: string[][] = [];
  for (const { admission, places } of admissions) {
    const own: string[] = [];
    for (const place of places) {
      const wanted = allRules(wantedRules(admission, place.family));
      const key = JSON.stringify([place, wanted]);
      const mark = publicationMark(admission);
      const outside = addressesOf(admission, place.family).filter(
        (address) => entries.find((entry) => entry.address === address)?.owner !== mark,
      );
      const program = place.family === 4 ? 'iptables' : 'ip6tables';
      if (outside.length > 0 && (await standsInRules(host, ambient, admission, place))) continue;
      // The rules are the same for all: the first tells of them.
      const isFirst = !seen.has(key);
      const rules = seen.get(key) ?? lackingRules(host, ambient, admission, place);
      seen.set(key, rules);
      own.push(
        ...(isFirst ? await rules : []).map((line) => `rule "${line}" in ${program} table ${FILTER}`),
        ...outside.map((address) => `entry ${address} in ipset ${LET_SETS[place.family]}`),
      );
    }
    lines.push(own);
  }
  return lines;
}

/** Whether all is there in the way of a host without ipset. */
async function standsInRules(
  host: Namespace,
  ambient: Ambient,
  admission: Admission,
  { family, variant }: IptablesPlace,
): Promise<boolean> {
  const rules = await rulesIn(host, { family, table: FILTER }, [FORWARD_CHAIN]);
  const mark = publicationMark(admission);
  if (variant === 'nft' && !(rules.get(FORWARD_CHAIN) ?? []).some((rule) => noteOf(rule) === mark))
    return false;
  const { jumps, admin, policies } = wantedRules(admission, family);
  const present = (await hostIptables(host, ambient, variant).save(family, FILTER)).split('\n');
  const wanted = [...jumps, admin, ...policies, ...memberRules(admission, family)];
  return wanted.every((line) => present.includes(line));
}

async function madeByReference(
  host: Namespace,
  ambient: Ambient,
  addresses: Admission['addresses'],
): Promise<boolean> {
  const saved: string[] = [];
  for (const { variant, family } of await whereChains(host, [REFERENCE_CHAIN], FILTER))
    saved.push(...(await hostIptables(host, ambient, variant).save(family, FILTER)).split('\n'));
  return addresses.every((one) => saved.some((line) => isReferenceRule(line, [one])));
}

async function collect(
  host: Namespace,
  ambient: Ambient,
  network: string,
  valid: readonly AttachmentId[],
): Promise<string[]> {
  const isStale = staleIn(network, valid);
  const stale = (await entriesOf(host)).filter(({ owner }) => isStale(owner));
  await drop(host, stale);
  const removed = await dropLines(host, ambient, isStale, (line) => isStale(forwardOwner(line)));
  const owners = [...stale.map(({ owner }) => owner), ...removed.map(forwardOwner)];
  return [...new Set(owners)].map((owner) => `forwarding of ${owner}`);
}
