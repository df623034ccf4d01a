/**
 * Published ports by nftables (ports-ruleset.ts): the base is installed once per host by one `nft -f -`, a container is one batch of
 * elements, sent natively. A steady ADD is one native call and no process, and notices rules that somebody flushed.
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
  deleteElements,
  type Element,
  getElements,
  listElements,
  type SetRef,
} from '../netlink/nftables.ts';
import { addressKey, concatenated, linkNameKey, portKey, protocolKey } from '../netlink/nftables-keys.ts';
import { listRules } from '../netlink/nftables-objects.ts';
import { runNft } from './nft.ts';
import { type PortBackend, PROTOCOLS, type Publication, type PublishedPort, portWords } from './ports.ts';
import {
  ALWAYS,
  BOUND,
  containerAddresses,
  elementWords,
  LINKS,
  OWN,
  PORT_CHAINS,
  PORT_RULES,
  PORTS,
  PORTS_TABLE,
  portBase,
  publicationMark,
  publicationPrefix,
  renderPorts,
} from './ports-ruleset.ts';
import { findProgram, withFirewallLock } from './program.ts';
import { NO_NFTABLES } from './xtables.ts';

const IN_TABLE = { family: 'inet', table: PORTS_TABLE } as const;
const setOf = (set: string): SetRef => ({ ...IN_TABLE, set });

/** Opens nothing and changes nothing; `host` and `ambient` are used by the methods. */
export function nftablesPorts(host: Namespace, ambient: Ambient): PortBackend {
  return {
    name: 'nftables',
    publish: (publication) => publish(host, ambient, publication),
    withdraw: (publication) => withdraw(host, publication),
    verify: (publication) => verify(host, publication),
    collect: (network, valid) => collect(host, network, valid),
    render: renderPorts,
    probe: () => probe(host, ambient),
  };
}

/** An element and the set that it is in. */
interface Place {
  set: string;
  element: Element & { key: Uint8Array };
}

function portPlace(
  { protocol, family, hostAddress, hostPort, address, containerPort }: PublishedPort,
  comment: string,
): Place {
  const port = [protocolKey(PROTOCOLS[protocol]), portKey(hostPort)];
  const key = hostAddress === undefined ? port : [addressKey(hostAddress), ...port];
  return {
    set: (hostAddress === undefined ? PORTS : BOUND)[family],
    element: {
      key: concatenated(...key),
      value: concatenated(addressKey(address), portKey(containerPort)),
      comment,
    },
  };
}

/** What says that a container is masqueraded towards: one element for each of its addresses. */
function ownPlaces(publication: Pick<Publication, 'ports' | 'sourceNat'>, comment: string): Place[] {
  const { sourceNat } = publication;
  if (sourceNat === 'never') return [];
  return containerAddresses(publication).map(({ family, address }) => {
    const key = addressKey(address);
    return sourceNat === 'always'
      ? { set: ALWAYS[family], element: { key, comment } }
      : { set: OWN[family], element: { key: concatenated(key, key), comment } };
  });
}

/** Shared by all containers of a link, and left when they go: a link that is gone matches nothing. */
const linkPlaces = ({ links, sourceNat }: Publication): Place[] =>
  sourceNat !== 'needed'
    ? []
    : links.map((link) => ({
        set: LINKS,
        element: { key: concatenated(linkNameKey(link), linkNameKey(link)) },
      }));

const adding = ({ set, element }: Place, exclusive: boolean): Change =>
  addElements(setOf(set), [element], exclusive);
const taking = ({ set, element }: Place): Change => deleteElements(setOf(set), [{ key: element.key }]);
const finding = ({ set, element }: Place): Op<Element[]> =>
  tolerating(getElements(setOf(set), [element.key]), 'ENOENT', ...NO_NFTABLES);

/** Comments of the base's rules, chain by chain. */
const base = () =>
  PORT_CHAINS.map((chain) => {
    const op = tolerating(listRules({ ...IN_TABLE, chain }), 'ENOENT', ...NO_NFTABLES);
    return {
      ...op,
      decode: (messages: Parameters<typeof op.decode>[0]) =>
        op.decode(messages).map(({ comment }) => comment),
    };
  });

type CommentsReply = Reply<(string | undefined)[]>;

function missingRules(replies: readonly CommentsReply[]): string[] {
  const there = new Map(PORT_CHAINS.map((chain, i) => [chain as string, replies[i]]));
  return PORT_RULES.filter(({ chain, comment }) => {
    const reply = there.get(chain);
    return !(reply?.ok && reply.value.includes(comment));
  }).map(({ chain, comment }) => `rule "${comment}" in chain ${chain} of table inet ${PORTS_TABLE}`);
}

const placesOf = (publication: Publication): Place[] => {
  const mark = publicationMark(publication);
  return [...ownPlaces(publication, mark), ...publication.ports.map((port) => portPlace(port, mark))];
};

/** All of it in one batch: a port that somebody has keeps the others from being published, too. */
function entering(publication: Publication): Op<void> {
  const changes = [
    ...linkPlaces(publication).map((place) => adding(place, false)),
    ...placesOf(publication).map((place) => adding(place, true)),
  ];
  return { ...batch(changes), what: `publish ${publication.ports.map(portWords).join(', ')}` };
}

async function publish(host: Namespace, ambient: Ambient, publication: Publication): Promise<void> {
  if (publication.ports.length === 0) return;
  const replies = await host.send(
    ...base(),
    tolerating(entering(publication), 'ENOENT', 'EEXIST', ...NO_NFTABLES),
  );
  const entered = replies.at(-1) as Reply<void>;
  const refusal = entered.ok ? undefined : entered.error.errno;
  if (refusal !== undefined && (NO_NFTABLES as readonly string[]).includes(refusal)) {
    throw new CniError(
      ErrorCode.noKernelSupport,
      `cannot publish ports: the kernel has no nf_tables (${refusal})`,
    );
  }
  if (missingRules(replies.slice(0, -1) as CommentsReply[]).length > 0) await install(host, ambient);
  if (refusal !== undefined) await enterAgain(host, publication);
}

/** After the base was installed, or where an element of that key is there: ours from an earlier ADD, or somebody else's. */
async function enterAgain(host: Namespace, publication: Publication): Promise<void> {
  const mark = publicationMark(publication);
  const places = placesOf(publication);
  const found = await host.send(...places.map(finding));
  const present = places.map((_, i) => elementIn(found[i]));
  publication.ports.forEach((port, i) => {
    const element = present[places.length - publication.ports.length + i];
    if (element && element.comment !== mark) throw taken(port, element.comment);
  });
  // One batch: no packet sees the port unpublished. What was left behind of another container must not keep its mark.
  const changes = [
    ...linkPlaces(publication).map((place) => adding(place, false)),
    ...places.flatMap((place, i) => [...(present[i] ? [taking(place)] : []), adding(place, true)]),
  ];
  await host.send({ ...batch(changes), what: `publish ${publication.ports.map(portWords).join(', ')}` });
}

function elementIn(reply: Reply<Element[]> | undefined): Element | undefined {
  return reply?.ok ? reply.value[0] : undefined;
}

function taken(port: PublishedPort, comment: string | undefined): CniError {
  const [network, container, ifname] = comment?.split(' ') ?? [];
  const owner =
    container === undefined ? 'somebody by hand' : `container ${container} (${ifname} in network ${network})`;
  return new CniError(
    ErrorCode.conflict,
    `port ${portWords(port)} of this host is published for ${owner}: choose another hostPort, or remove that container first`,
  );
}

async function install(host: Namespace, ambient: Ambient): Promise<void> {
  await withFirewallLock(ambient, async () => {
    const now = (await host.send(...base())) as CommentsReply[];
    if (missingRules(now).length === 0) return;
    if (!findProgram(ambient.env, 'nft')) throw new CniError(ErrorCode.program, NO_NFT);
    await runNft(host, ambient, portBase(), 'install the nftables rules of published ports');
  });
}

const NO_NFT =
  'cannot publish ports: nft is not installed (or not on PATH): install nftables, or set "backend": "iptables"';

async function withdraw(
  host: Namespace,
  publication: Pick<Publication, keyof AttachmentId | 'network' | 'ports'>,
): Promise<void> {
  const mark = publicationMark(publication);
  const places = [
    ...(['needed', 'always'] as const).flatMap((sourceNat) => ownPlaces({ ...publication, sourceNat }, mark)),
    ...publication.ports.map((port) => portPlace(port, mark)),
  ];
  const found = places.length > 0 ? await host.send(...places.map(finding)) : [];
  const ours = places.filter((_, i) => elementIn(found[i])?.comment === mark);
  const known = publication.ports.length > 0 && ours.length >= publication.ports.length;
  // What the runtime says by now may not be what it said at ADD.
  await leave(host, known ? ours : await placesWith(host, (comment) => comment === mark));
}

/** Together; one by one where somebody took some of them away. */
async function leave(host: Namespace, places: readonly Place[]): Promise<void> {
  if (places.length === 0) return;
  const op = (some: readonly Place[]) =>
    tolerating(
      { ...batch(some.map(taking)), what: `withdraw ${places.length} elements of published ports` },
      'ENOENT',
    );
  const [together] = await host.send(op(places));
  if (!together.ok && places.length > 1) await host.send(...places.map((place) => op([place])));
}

const ALL_SETS = [PORTS, BOUND, OWN, ALWAYS].flatMap((named) => [named[4], named[6]]);

/** Every element whose comment fits; grows with the number of published ports. */
async function placesWith(host: Namespace, fits: (comment: string) => boolean): Promise<Place[]> {
  const replies = await host.send(
    ...ALL_SETS.map((set) => tolerating(listElements(setOf(set)), 'ENOENT', ...NO_NFTABLES)),
  );
  return replies.flatMap((reply, i) => {
    const set = ALL_SETS[i] ?? '';
    return (reply.ok ? reply.value : []).flatMap((element): Place[] =>
      element.key && element.comment !== undefined && fits(element.comment)
        ? [{ set, element: { ...element, key: element.key } }]
        : [],
    );
  });
}

async function verify(host: Namespace, publication: Publication): Promise<string[]> {
  if (publication.ports.length === 0) return [];
  const mark = publicationMark(publication);
  const rules = (await host.send(...base())) as CommentsReply[];
  const places = publication.ports.map((port) => portPlace(port, mark));
  const found = await host.send(...places.map(finding));
  return [
    ...missingRules(rules),
    ...publication.ports.flatMap((port, i) => {
      const element = elementIn(found[i]);
      const wanted = places[i]?.element.value ?? new Uint8Array();
      if (element?.comment === mark && Buffer.compare(element.value ?? new Uint8Array(), wanted) === 0)
        return [];
      return [`${elementWords(port)}${element ? ` (it is there for "${element.comment ?? 'nobody'}")` : ''}`];
    }),
  ];
}

async function collect(host: Namespace, network: string, valid: readonly AttachmentId[]): Promise<string[]> {
  const marks = new Set(valid.map((id) => publicationMark({ ...id, network })));
  const prefix = publicationPrefix(network);
  const stale = await placesWith(host, (comment) => comment.startsWith(prefix) && !marks.has(comment));
  await leave(host, stale);
  const owners = new Set(stale.map(({ element }) => element.comment));
  return [...owners].map((owner) => `published ports of ${owner}`);
}

async function probe(host: Namespace, ambient: Ambient): Promise<void> {
  const [first] = base();
  const [kernel] = first ? await host.send(first) : [];
  if (kernel && !kernel.ok && kernel.error.errno !== 'ENOENT') {
    throw new CniError(
      ErrorCode.notAvailable,
      `ports cannot be published: the kernel has no nf_tables (${kernel.error.errno})`,
    );
  }
  if (!findProgram(ambient.env, 'nft')) throw new CniError(ErrorCode.notAvailable, NO_NFT);
}
