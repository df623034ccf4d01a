/**
 * Published ports by nftables (ports-ruleset.ts): the base is installed once per host by one `nft -f -`, a container is one batch of
 * elements, sent natively. A steady ADD is one native call and no process, and notices rules that somebody flushed.
 */
import type { Ambient } from '../cni/ambient.ts';
import { CniError, ErrorCode } from '../cni/errors.ts';
import type { AttachmentId } from '../cni/types.ts';
import type { Namespace, Op, Reply } from '../netlink/door.ts';
import { tolerating } from '../netlink/message.ts';
import { batch, type Element } from '../netlink/nftables.ts';
import { addressKey, concatenated, linkNameKey, portKey, protocolKey } from '../netlink/nftables-keys.ts';
import {
  adding,
  commentsIn,
  despiteOthers,
  enterAnew,
  lacking,
  lookInto,
  type Place,
  placesWith,
  take,
} from './elements.ts';
import { runCounting } from './nft.ts';
import { type PortBackend, PROTOCOLS, type Publication, type PublishedPort, portWords } from './ports.ts';
import {
  ALWAYS,
  BOUND,
  containerAddresses,
  elementWords,
  NEAR,
  OWN,
  PORT_CHAINS,
  PORT_RULES,
  PORTS,
  PORTS_TABLE,
  portBase,
  publicationMark,
  renderPorts,
  staleIn,
} from './ports-ruleset.ts';
import { findProgram, withFirewallLock } from './program.ts';
import { NO_NFTABLES } from './xtables.ts';

const IN_TABLE = { family: 'inet', table: PORTS_TABLE } as const;
const setOf = (set: string) => ({ ...IN_TABLE, set });

/** Opens nothing and changes nothing; `host` and `ambient` are used by the methods. */
export function nftablesPorts(host: Namespace, ambient: Ambient): PortBackend {
  return {
    name: 'nftables',
    publish: (publication) => despiteOthers(() => publish(host, ambient, publication)),
    withdraw: (publication) => withdraw(host, publication),
    missing: (publications) => missing(host, publications),
    collect: (network, valid) => collect(host, network, valid),
    render: renderPorts,
    probe: () => probe(host, ambient),
  };
}

/** One that is shown to people: `element tcp 8080 : 10.88.0.5:80 in map inet weft-ports ports4`. */
interface WordedPlace extends Place {
  words: string;
}

function portPlace(port: PublishedPort, comment: string): WordedPlace {
  const { protocol, family, hostAddress, hostPort, address, containerPort } = port;
  const parts = [protocolKey(PROTOCOLS[protocol]), portKey(hostPort)];
  const key = hostAddress === undefined ? parts : [addressKey(hostAddress), ...parts];
  return {
    set: setOf((hostAddress === undefined ? PORTS : BOUND)[family]),
    element: {
      key: concatenated(...key),
      value: concatenated(addressKey(address), portKey(containerPort)),
      comment,
    },
    words: elementWords(port),
  };
}

/** What says when a container is masqueraded towards. */
function ownPlaces(
  publication: Pick<Publication, 'ports' | 'sourceNat' | 'links'>,
  comment: string,
): WordedPlace[] {
  const { sourceNat, links } = publication;
  if (sourceNat === 'never') return [];
  return containerAddresses(publication).flatMap(({ family, address }) => {
    const own = addressKey(address);
    const place = (set: string, key: Uint8Array) => ({
      ...{ set: setOf(set), element: { key, comment } },
      words: `element of ${address} in set inet ${PORTS_TABLE} ${set}`,
    });
    if (sourceNat === 'always') return [place(ALWAYS[family], own)];
    const near = links.map((link) => concatenated(own, linkNameKey(link), linkNameKey(link)));
    return [place(OWN[family], concatenated(own, own)), ...near.map((key) => place(NEAR[family], key))];
  });
}

/** Comments of the base's rules, chain by chain. */
const base = () => PORT_CHAINS.map((chain) => commentsIn({ ...IN_TABLE, chain }));

type CommentsReply = Reply<(string | undefined)[]>;

function missingRules(replies: readonly CommentsReply[]): string[] {
  return PORT_CHAINS.flatMap((chain, i) => {
    const wanted = PORT_RULES.filter((rule) => rule.chain === chain).map(({ comment }) => comment);
    return lacking(replies[i], wanted).map(
      (comment) => `rule "${comment}" in chain ${chain} of table inet ${PORTS_TABLE}`,
    );
  });
}

const placesOf = (publication: Publication): WordedPlace[] => {
  const mark = publicationMark(publication);
  return [...ownPlaces(publication, mark), ...publication.ports.map((port) => portPlace(port, mark))];
};

const wordsOf = ({ ports }: Publication) => `publish ${ports.map(portWords).join(', ')}`;

/** All of it in one batch: a port that somebody has keeps the others from being published, too. */
function entering(publication: Publication): Op<void> {
  const changes = placesOf(publication).map((place) => adding(place, true));
  return { ...batch(changes), what: wordsOf(publication) };
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
  const present = await lookInto(host, places);
  publication.ports.forEach((port, i) => {
    const element = present[places.length - publication.ports.length + i];
    if (element && element.comment !== mark) throw taken(port, element.comment);
  });
  // What was left behind of another container must not keep its mark.
  await enterAnew(host, places, present, { what: wordsOf(publication) });
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
    await runCounting(host, ambient, portBase(), 'install the nftables rules of published ports');
  });
}

const NO_NFT =
  'cannot publish ports: nft is not installed (or not on PATH): install nftables, or set "backend": "iptables"';

async function withdraw(
  host: Namespace,
  publication: Pick<Publication, keyof AttachmentId | 'network' | 'ports' | 'links'>,
): Promise<void> {
  const mark = publicationMark(publication);
  const ports = publication.ports.map((port) => portPlace(port, mark));
  const places = [
    ...(['needed', 'always'] as const).flatMap((sourceNat) => ownPlaces({ ...publication, sourceNat }, mark)),
    ...ports,
  ];
  const found = await lookInto(host, places);
  const ours = places.filter((_, i) => found[i]?.comment === mark);
  // What the runtime says by now may not be what it said at ADD.
  const known =
    ports.length > 0 && publication.links.length > 0 && ports.every((port) => ours.includes(port));
  await leave(host, known ? ours : await ownedPlaces(host, (comment) => comment === mark));
}

const leave = (host: Namespace, places: readonly Place[]) =>
  take(host, places, `withdraw ${places.length} elements of published ports`);

const ALL_SETS = [PORTS, BOUND, OWN, NEAR, ALWAYS].flatMap((named) => [named[4], named[6]]).map(setOf);
const ownedPlaces = (host: Namespace, fits: (comment: string | undefined) => boolean) =>
  placesWith(host, ALL_SETS, fits);

async function missing(host: Namespace, publications: readonly Publication[]): Promise<string[][]> {
  const gone = missingRules((await host.send(...base())) as CommentsReply[]);
  const places = publications.map(placesOf);
  const found = await lookInto(host, places.flat());
  let at = 0;
  return places.map((own, i) => [
    // The rules are the same for all.
    ...(i === 0 ? gone : []),
    ...own.flatMap((place) => missingElement(place, found[at++])),
  ]);
}

function missingElement(
  { words, element: { comment, value } }: WordedPlace,
  found: Element | undefined,
): string[] {
  const isOurs = found !== undefined && found.comment === comment;
  if (isOurs && Buffer.compare(found.value ?? new Uint8Array(), value ?? new Uint8Array()) === 0) return [];
  return [found ? `${words} (it is there for "${found.comment ?? 'nobody'}")` : words];
}

async function collect(host: Namespace, network: string, valid: readonly AttachmentId[]): Promise<string[]> {
  const stale = await ownedPlaces(host, staleIn(network, valid));
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
