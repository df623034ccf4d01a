/**
 * The iptables backend with ipset: a container is a set element, added natively. Whether the network's rule still stands is seen
 * from how often its set is referred to, in the same native call: a steady ADD starts no process.
 */
import { existsSync } from 'node:fs';
import type { AttachmentId } from '../cni/types.ts';
import type { Namespace, Op, RawMessage, Reply } from '../netlink/door.ts';
import {
  addSetElement,
  createSet,
  deleteSetElement,
  destroySet,
  listSetElements,
  listSetHeaders,
} from '../netlink/ipset.ts';
import { tolerating } from '../netlink/message.ts';
import { familiesOf, type IpFamily, parseExceptions, parseSources, type Source } from './address.ts';
import type { Membership } from './firewall.ts';
import type { IptablesCommand } from './iptables-command.ts';
import { deletion, MAX_ELEMENTS, setRule } from './iptables-rules.ts';
import { iptablesNames, ownerMark } from './ownership.ts';

/** What the kernel answers where it has no ip_set at all. */
const NO_IPSET = ['EINVAL', 'EOPNOTSUPP', 'EPROTONOSUPPORT'] as const;
/** Address families (socket.h). */
const INET: Readonly<Record<IpFamily, number>> = { 4: 2, 6: 10 };
/** Revisions of the set types that have comments and that ipset 6.23 (2014) can list; the newest would shut older programs out. */
const REVISIONS = { 'hash:ip': 4, 'hash:net': 6 } as const;
/** nf_tables gives a deleted rule's set free some milliseconds later. Tries, and milliseconds between them. */
const RELEASE_TRIES = 40;
const RELEASE_PAUSE = 25;

const MODULES = '/sys/module';

/** Whether the kernel has ipset by now. A lookup would make it load ip_set, or look for it in vain each time (request_module in nfnetlink.c). */
export function hasIpset(): boolean {
  return existsSync(`${MODULES}/ip_set`) || !existsSync(MODULES);
}

export type SetsState =
  /** Sets and rule stand, and the elements are in. */
  | 'standing'
  /** A set or the rule that refers to it is missing. */
  | 'missing'
  /** This kernel has no ipset. */
  | 'unsupported';

/** A set's number of references, 0 where nothing refers to it. */
function references(set: string): Op<number> {
  const op = tolerant(listSetHeaders(set));
  return { ...op, decode: (messages) => op.decode(messages)[0]?.references ?? 0 };
}

function stands(reply: Reply<number> | undefined): boolean {
  return reply?.ok === true && reply.value > 0;
}

/** The member's addresses and the destinations it excepts; repeating it only renews the comments. */
function entries(member: Membership, families: readonly IpFamily[]): Op<void>[] {
  const names = iptablesNames(member.network);
  const except = parseExceptions(member.except);
  const sources = parseSources(member.sources).filter((source) => families.includes(source.family));
  return [
    ...families.flatMap((family) =>
      except[family].map((prefix) => addSetElement(names.except[family], { address: prefix })),
    ),
    ...sources.map(({ family, address }) =>
      addSetElement(names.sources[family], { address, comment: ownerMark(member) }),
    ),
  ];
}

/** Of what a kernel without ipset, or without the set, answers. */
export function tolerant<T>(op: Op<T>): Op<T> {
  return tolerating(op, 'ENOENT', ...NO_IPSET);
}

/** One native call: what stands, and the elements with it. */
export async function addToSets(host: Namespace, member: Membership): Promise<SetsState> {
  const families = familiesOf(parseSources(member.sources));
  const names = iptablesNames(member.network);
  // The rule refers to both sets of a family, so that one of them tells of the rule; a missing one refuses its elements.
  const headers = families.map((family) => references(names.sources[family]));
  const replies = await host.send(...headers, ...entries(member, families).map(tolerant));
  const found = replies.slice(0, headers.length) as Reply<number>[];
  if (found.some((reply) => !reply.ok && reply.error.errno !== 'ENOENT')) return 'unsupported';
  return found.every(stands) && replies.every((reply) => reply.ok) ? 'standing' : 'missing';
}

/**
 * Makes the sets and the rule of each family that the member has addresses of, and enters the member. To be called under the
 * firewall's lock: the rule must not be added twice. One iptables-restore per family that lacks its rule.
 * Returns false, having changed nothing that counts, where this kernel lacks these sets.
 */
export async function installSets(
  host: Namespace,
  command: IptablesCommand,
  member: Membership,
): Promise<boolean> {
  const families = familiesOf(parseSources(member.sources));
  const names = iptablesNames(member.network);
  const made = await host.send(
    ...families.flatMap((family) => [
      creation(names.sources[family], 'hash:ip', family),
      creation(names.except[family], 'hash:net', family),
    ]),
  );
  if (!made.every((reply) => reply.ok)) return false;
  await host.send(...entries(member, families));
  for (const family of families) {
    const [reply] = await host.send(references(names.sources[family]));
    if (!stands(reply)) await command.restore(family, 'nat', [setRule(member.network, family)]);
  }
  return true;
}

/** A set of ours; an answer that is not ok says that this kernel lacks such sets. */
export function creation(name: string, type: keyof typeof REVISIONS, family: IpFamily): Op<void> {
  const op = createSet({
    name,
    type,
    revision: REVISIONS[type],
    family: INET[family],
    maxElements: MAX_ELEMENTS,
    comments: type === 'hash:ip',
  });
  return tolerating(op, 'IPSET_ERR_FIND_TYPE', ...NO_IPSET);
}

export interface Entry {
  family: IpFamily;
  address: string;
  owner: string | undefined;
}

/**
 * Every container's address in a network's sets; empty where there are none.
 * @param owner only those with this mark. The kernel finds them no faster, but then only what may hold them is decoded.
 */
export const entriesOf = (host: Namespace, network: string, owner?: string): Promise<Entry[]> =>
  entriesIn(host, iptablesNames(network).sources, owner);

/** The same of a pair of sets. */
export async function entriesIn(
  host: Namespace,
  sets: Readonly<Record<IpFamily, string>>,
  owner?: string,
): Promise<Entry[]> {
  const families = [4, 6] as const;
  const replies = await host.send(
    ...families.map((family) => {
      const op = tolerant(listSetElements(sets[family]));
      const holds = ({ payload }: RawMessage): boolean =>
        owner === undefined ||
        Buffer.from(payload.buffer, payload.byteOffset, payload.length).includes(owner);
      return { ...op, decode: (messages: readonly RawMessage[]) => op.decode(messages.filter(holds)) };
    }),
  );
  return families.flatMap((family, i) => {
    const reply = replies[i];
    if (!reply?.ok) return [];
    return reply.value
      .filter(({ comment }) => owner === undefined || comment === owner)
      .map(({ address, comment }) => ({ family, address, owner: comment }));
  });
}

function dropEntry(network: string, { family, address }: Source): Op<void> {
  return tolerant(deleteSetElement(iptablesNames(network).sources[family], { address }));
}

/**
 * Takes a container's addresses out: the given ones, or all that carry its mark. An address that belongs to somebody else by
 * now stays. Returns how many it took.
 */
export async function removeFromSets(
  host: Namespace,
  member: Pick<Membership, 'network' | 'containerId' | 'ifname' | 'sources'>,
): Promise<number> {
  const asked = parseSources(member.sources).map((source) => source.address);
  const ours = (await entriesOf(host, member.network, ownerMark(member))).filter(
    ({ address }) => asked.length === 0 || asked.includes(address),
  );
  if (ours.length > 0) await host.send(...ours.map((entry) => dropEntry(member.network, entry)));
  return ours.length;
}

/** What is missing, one line each. Runs one iptables-save per family. */
export async function verifySets(
  host: Namespace,
  command: IptablesCommand,
  member: Membership,
): Promise<string[]> {
  const names = iptablesNames(member.network);
  const sources = parseSources(member.sources);
  const present = await entriesOf(host, member.network);
  const missing: string[] = [];
  for (const family of familiesOf(sources)) {
    const saved = await command.save(family, 'nat');
    const rule = setRule(member.network, family);
    if (!saved.split('\n').includes(rule)) {
      missing.push(`rule "${rule}" in ${family === 4 ? 'iptables' : 'ip6tables'} table nat`);
    }
    const [except] = await host.send(tolerant(listSetElements(names.except[family])));
    const excepted = except.ok ? except.value.map((entry) => entry.address) : [];
    for (const prefix of parseExceptions(member.except)[family]) {
      if (!excepted.includes(prefix)) missing.push(`entry ${prefix} in ipset ${names.except[family]}`);
    }
  }
  const mark = ownerMark(member);
  for (const { family, address } of sources) {
    const entry = present.find((candidate) => candidate.address === address);
    if (entry?.owner === mark) continue;
    const found = entry ? ` (it is there for "${entry.owner ?? 'nobody'}")` : '';
    missing.push(`entry ${address} in ipset ${names.sources[family]}${found}`);
  }
  return missing;
}

/** Removes the entries of containers that are not valid. Returns what it removed, and whether any entry is left. */
export async function collectSets(
  host: Namespace,
  network: string,
  valid: readonly AttachmentId[],
): Promise<{ removed: string[]; left: number }> {
  const marks = new Set(valid.map(ownerMark));
  const present = await entriesOf(host, network);
  // An entry without a comment was put there by a person.
  const stale = present.filter(({ owner }) => owner !== undefined && !marks.has(owner));
  if (stale.length > 0) await host.send(...stale.map((entry) => dropEntry(network, entry)));
  return {
    removed: stale.map(({ address, owner }) => `masquerade of ${address} (${owner}) in network ${network}`),
    left: present.length - stale.length,
  };
}

/** Removes rule and sets of a network that nobody is in, under the firewall's lock. */
export async function removeSets(host: Namespace, command: IptablesCommand, network: string): Promise<void> {
  const names = iptablesNames(network);
  for (const family of [4, 6] as const) {
    const sets = [names.sources[family], names.except[family]];
    const present = await host.send(...sets.map(references));
    if (present.some(stands)) {
      const saved = (await command.save(family, 'nat')).split('\n');
      const rules = saved.filter((line) => line === setRule(network, family));
      if (rules.length > 0) await command.restore(family, 'nat', rules.map(deletion));
    }
    await destroy(
      host,
      sets.filter((_, i) => present[i]?.ok),
    );
  }
}

/** Sets that something refers to all the while stay: without elements they do no harm. */
async function destroy(host: Namespace, sets: readonly string[]): Promise<void> {
  const destroys = sets.map((set) => tolerating(destroySet(set), 'ENOENT', 'IPSET_ERR_BUSY'));
  for (let i = 0; i < RELEASE_TRIES; i += 1) {
    const replies = await host.send(...destroys);
    if (!replies.some((reply) => !reply.ok && reply.error.errno === 'IPSET_ERR_BUSY')) return;
    await new Promise((resolve) => setTimeout(resolve, RELEASE_PAUSE));
  }
}
