/**
 * The nftables backend: table `inet weft` (nftables-ruleset.ts). The base is installed by one `nft -f -`; a container is one map
 * element per address, sent natively. A steady ADD is one native call and no process: it reads the comments of the
 * base rules (a constant number) in the same call that adds the elements, and so notices rules that somebody flushed.
 */
import type { Ambient } from '../cni/ambient.ts';
import { CniError, ErrorCode } from '../cni/errors.ts';
import type { AttachmentId } from '../cni/types.ts';
import type { Namespace, Op, Reply } from '../netlink/door.ts';
import { tolerating } from '../netlink/message.ts';
import {
  addElements,
  batch,
  type Change,
  deleteChain,
  deleteElements,
  deleteRule,
  deleteTable,
  type Element,
  getElements,
  listElements,
  type SetRef,
} from '../netlink/nftables.ts';
import { addressKey } from '../netlink/nftables-keys.ts';
import { listChains, listComments, listRules, listSets } from '../netlink/nftables-objects.ts';
import { formatAddress, type IpFamily, parseSources, type Source } from './address.ts';
import { despiteOthers } from './elements.ts';
import type { FirewallBackend, Membership } from './firewall.ts';
import { runCounting } from './nft.ts';
import {
  baseCommands,
  exceptionsOf,
  MAPS,
  networkComments,
  POSTROUTING,
  POSTROUTING_COMMENTS,
  renderCommands,
  TABLE,
} from './nftables-ruleset.ts';
import { masqueradeChain, ownerMark } from './ownership.ts';
import { findProgram, withFirewallLock } from './program.ts';
import { NO_NFTABLES } from './xtables.ts';

const IN_TABLE = { family: 'inet', table: TABLE } as const;

interface Standing {
  complete: boolean;
  /** Prefixes that the network's chain excepts now. */
  exceptions: string[];
}

/** Opens nothing and changes nothing; `host` and `ambient` are used by the methods. */
export function nftablesBackend(host: Namespace, ambient: Ambient): FirewallBackend {
  return {
    name: 'nftables',
    addMasquerade: (member) => despiteOthers(() => add(host, ambient, member)),
    removeMasquerade: (member) => remove(host, member),
    verifyMasquerade: (member) => verify(host, member),
    collectMasquerade: (network, valid) => collect(host, ambient, network, valid),
    renderMasquerade: renderCommands,
    probe: () => probe(host, ambient),
  };
}

/** Comments of one of our chains' rules; empty where chain or table is missing. */
function comments(chain: string): Op<(string | undefined)[]> {
  return tolerating(listComments({ ...IN_TABLE, chain }), 'ENOENT');
}

function standing(
  member: Pick<Membership, 'network' | 'except'>,
  postrouting: Reply<(string | undefined)[]>,
  network: Reply<(string | undefined)[]>,
): Standing {
  const base = postrouting.ok ? postrouting.value : [];
  const own = network.ok ? network.value : [];
  const complete =
    POSTROUTING_COMMENTS.every((comment) => base.includes(comment)) &&
    networkComments(member.network, member.except).every((comment) => own.includes(comment));
  return { complete, exceptions: exceptionsOf(own) };
}

async function look(host: Namespace, member: Pick<Membership, 'network' | 'except'>): Promise<Standing> {
  const [postrouting, network] = await host.send(
    comments(POSTROUTING),
    comments(masqueradeChain(member.network)),
  );
  return standing(member, postrouting, network);
}

function mapOf(family: IpFamily): SetRef {
  return { ...IN_TABLE, set: MAPS[family] };
}

/** One container's address in its family's map; EEXIST where somebody has it. */
function entering(member: Membership, { family, address }: Source): Change {
  const element: Element = {
    key: addressKey(address),
    verdict: { kind: 'jump', chain: masqueradeChain(member.network) },
    comment: ownerMark(member),
  };
  return addElements(mapOf(family), [element], true);
}

function leaving({ family, address }: Source): Change {
  return deleteElements(mapOf(family), [{ key: addressKey(address) }]);
}

/** Takes addresses out together; one by one where somebody took some of them at the same time. */
async function leave(host: Namespace, sources: readonly Source[]): Promise<void> {
  if (sources.length === 0) return;
  const what = `end the masquerade of ${sources[0]?.address}${sources.length > 1 ? ` and ${sources.length - 1} more` : ''}`;
  const op = (some: readonly Source[]): Op<void> =>
    tolerating({ ...batch(some.map(leaving)), what }, 'ENOENT');
  const [together] = await host.send(op(sources));
  if (!together.ok && sources.length > 1) await host.send(...sources.map((source) => op([source])));
}

/** The element of an address, if it has one. */
function find({ family, address }: Source): Op<Element[]> {
  return tolerating(getElements(mapOf(family), [addressKey(address)]), 'ENOENT');
}

type Owned = Pick<Membership, 'network' | 'containerId' | 'ifname'>;

function isOurs(reply: Reply<Element[]> | undefined, member: Owned): boolean {
  const element = reply?.ok ? reply.value[0] : undefined;
  return element?.comment === ownerMark(member) && leadsTo(element, member.network);
}

function leadsTo({ verdict }: Element, network: string): boolean {
  return verdict?.kind === 'jump' && verdict.chain === masqueradeChain(network);
}

interface Member extends Source {
  comment: string | undefined;
}

/** Everybody in a network; grows with the number of containers on the host. */
async function membersOf(host: Namespace, network: string): Promise<Member[]> {
  const families = [4, 6] as const;
  const replies = await host.send(
    ...families.map((family) => tolerating(listElements(mapOf(family)), 'ENOENT')),
  );
  return families.flatMap((family, i) => {
    const reply = replies[i];
    const elements = reply?.ok ? reply.value : [];
    return elements.flatMap((element) =>
      element.key && leadsTo(element, network)
        ? [{ family, address: formatAddress(element.key), comment: element.comment }]
        : [],
    );
  });
}

async function add(host: Namespace, ambient: Ambient, member: Membership): Promise<void> {
  const sources = parseSources(member.sources);
  if (sources.length === 0) return;
  const entries = batch(sources.map((source) => entering(member, source)));
  const [postrouting, network, entered] = await host.send(
    comments(POSTROUTING),
    comments(masqueradeChain(member.network)),
    tolerating({ ...entries, what: `masquerade ${member.sources.join(', ')}` }, 'ENOENT', 'EEXIST'),
  );
  const refusal = entered.ok ? undefined : entered.error.errno;
  if (refusal === 'ENOENT' || !standing(member, postrouting, network).complete) {
    await install(host, ambient, member);
  }
  if (refusal !== undefined) await enterAgain(host, member, sources);
}

/**
 * After the base was installed, or where an address has an element already: ours from an earlier ADD, or one that a container left
 * behind. The latter must not keep its mark, or the next collection would take the address from its new owner.
 */
async function enterAgain(host: Namespace, member: Membership, sources: readonly Source[]): Promise<void> {
  const present = await host.send(...sources.map(find));
  const changes = sources.flatMap((source, i) => {
    if (isOurs(present[i], member)) return [];
    return [...(present[i]?.ok ? [leaving(source)] : []), entering(member, source)];
  });
  // One batch: no packet sees the address without an element.
  const what = `masquerade ${member.sources.join(', ')}`;
  if (changes.length > 0) await host.send({ ...batch(changes), what });
}

/** Installs the base of a network, or puts back what is missing of it, in one process; nothing if somebody else just did. */
async function install(host: Namespace, ambient: Ambient, member: Membership): Promise<void> {
  await withFirewallLock(ambient, async () => {
    const now = await look(host, member);
    if (now.complete) return;
    // Containers with other prefixes may be in the network: their exceptions stay.
    const commands = baseCommands(member.network, [...now.exceptions, ...member.except]);
    const what = `install the nftables base rules of network ${member.network}`;
    if (!findProgram(ambient.env, 'nft')) {
      throw new CniError(
        ErrorCode.program,
        `cannot ${what}: nft is not installed (or not on PATH): install nftables, or set the iptables backend`,
      );
    }
    await runCounting(host, ambient, commands, what);
  });
}

async function remove(host: Namespace, member: Omit<Membership, 'except'>): Promise<void> {
  await leave(host, await ownedBy(host, member));
}

/** An address that belongs to somebody else by now is not ours to take away: DEL may be repeated at any time. */
async function ownedBy(host: Namespace, member: Omit<Membership, 'except'>): Promise<Source[]> {
  if (member.sources.length === 0) {
    const mark = ownerMark(member);
    return (await membersOf(host, member.network)).filter(({ comment }) => comment === mark);
  }
  const sources = parseSources(member.sources);
  const found = await host.send(...sources.map(find));
  return sources.filter((_, i) => isOurs(found[i], member));
}

async function verify(host: Namespace, member: Membership): Promise<string[]> {
  const chain = masqueradeChain(member.network);
  const sources = parseSources(member.sources);
  const [postrouting, network, ...elements] = await host.send(
    comments(POSTROUTING),
    comments(chain),
    ...sources.map(find),
  );
  const missing = (wanted: readonly string[], reply: Reply<(string | undefined)[]>, name: string): string[] =>
    wanted
      .filter((comment) => !(reply.ok && reply.value.includes(comment)))
      .map((comment) => `rule "${comment}" in chain ${name} of table inet ${TABLE}`);
  return [
    ...missing(POSTROUTING_COMMENTS, postrouting, POSTROUTING),
    ...missing(networkComments(member.network, member.except), network, chain),
    ...sources.flatMap((source, i) => {
      const reply = elements[i];
      if (isOurs(reply, member)) return [];
      const found = reply?.ok ? ` (it is there for "${reply.value[0]?.comment ?? 'nobody'}")` : '';
      return [
        `element ${source.address} : jump ${chain} in map inet ${TABLE} ${MAPS[source.family]}${found}`,
      ];
    }),
  ];
}

async function collect(
  host: Namespace,
  ambient: Ambient,
  network: string,
  valid: readonly AttachmentId[],
): Promise<string[]> {
  const members = await membersOf(host, network);
  const marks = new Set(valid.map(ownerMark));
  // An element without a comment was put there by a person.
  const stale = members.filter(({ comment }) => comment !== undefined && !marks.has(comment));
  await leave(host, stale);
  if (valid.length === 0 && stale.length === members.length) await removeNetwork(host, ambient, network);
  return stale.map(({ address, comment }) => `masquerade of ${address} (${comment}) in network ${network}`);
}

/**
 * Nobody is in the network any more: its chain goes, and with the last network the table. The kernel refuses (EBUSY) while an
 * element leads to the chain; a host without our chains can get none but under the lock. So no ADD is lost.
 */
async function removeNetwork(host: Namespace, ambient: Ambient, network: string): Promise<void> {
  const chain = { ...IN_TABLE, chain: masqueradeChain(network) };
  await withFirewallLock(ambient, async () => {
    const [rules] = await host.send(tolerating(listRules(chain), 'ENOENT'));
    const handles = rules.ok ? rules.value.map((rule) => rule.handle) : [];
    const removal = batch([...handles.map((handle) => deleteRule(chain, handle)), deleteChain(chain)]);
    await host.send(
      tolerating({ ...removal, what: `remove the chain of network ${network}` }, 'ENOENT', 'EBUSY'),
    );
    const [chains, sets] = await host.send(
      tolerating(listChains(IN_TABLE), 'ENOENT'),
      tolerating(listSets(IN_TABLE), 'ENOENT'),
    );
    const alone =
      chains.ok &&
      chains.value.every(({ family, chain: name }) => family === 'inet' && name === POSTROUTING) &&
      sets.ok &&
      sets.value.every(({ set }) => set === MAPS[4] || set === MAPS[6]);
    if (alone) await host.send(tolerating(batch([deleteTable(IN_TABLE)]), 'ENOENT'));
  });
}

async function probe(host: Namespace, ambient: Ambient): Promise<void> {
  const [kernel] = await host.send(tolerating(comments(POSTROUTING), ...NO_NFTABLES));
  if (!kernel.ok && kernel.error.errno !== 'ENOENT') {
    throw new CniError(
      ErrorCode.notAvailable,
      `the nftables backend cannot work: the kernel has no nf_tables (${kernel.error.errno})`,
      kernel.error.message,
    );
  }
  if (!findProgram(ambient.env, 'nft')) {
    throw new CniError(
      ErrorCode.notAvailable,
      'the nftables backend cannot work: nft is not installed (or not on PATH): install nftables',
    );
  }
}
