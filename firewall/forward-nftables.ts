/**
 * Our own part of forwarding, by nftables (forward-ruleset.ts): the base is installed once per host by one `nft -f -`, a container is one
 * batch of elements, sent natively. A steady ADD is one native call and no process, and notices rules that somebody flushed.
 */
import type { Ambient } from '../cni/ambient.ts';
import type { AttachmentId } from '../cni/types.ts';
import type { Namespace } from '../netlink/door.ts';
import { tolerating } from '../netlink/message.ts';
import { batch, type Element, type SetRef } from '../netlink/nftables.ts';
import { addressKey, concatenated, linkNameKey } from '../netlink/nftables-keys.ts';
import { formatAddress, type Source } from './address.ts';
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
import type { Firewalld } from './firewalld.ts';
import type { Admission, ForwardPart, Withdrawal } from './forward.ts';
import {
  APART,
  FORWARD,
  FORWARD_COMMENTS,
  FORWARD_TABLE,
  forwardBase,
  LET,
  LINKS_APART,
  LINKS_ISOLATED,
  ZONED,
} from './forward-ruleset.ts';
import { runNft } from './nft.ts';
import { publicationMark, staleIn } from './ports-ruleset.ts';
import { withFirewallLock } from './program.ts';
import { NO_NFTABLES } from './xtables.ts';

const setOf = (set: string): SetRef => ({ family: 'inet', table: FORWARD_TABLE, set });
const base = () => commentsIn({ family: 'inet', table: FORWARD_TABLE, chain: FORWARD });

export interface NftablesForward extends Omit<ForwardPart, 'withdraw'> {
  /** Returns those of the addresses of which nothing here says that they are sources of a zone. */
  withdraw(of: Withdrawal): Promise<Source[]>;
  /** Idempotent. `zoned`: the addresses are sources of a zone of firewalld's, which withdraw() and collect() end. */
  admit(admission: Admission, zoned: boolean): Promise<void>;
}

/** Opens nothing and changes nothing; `host` and `ambient` are used by the methods. */
export function nftablesForward(host: Namespace, ambient: Ambient, zones: Firewalld): NftablesForward {
  return {
    admit: (admission, zoned) => despiteOthers(() => admit(host, ambient, admission, zoned)),
    withdraw: (of) => withdraw(host, ambient, zones, of),
    missing: (admissions) => missing(host, admissions),
    collect: (network, valid) => collect(host, ambient, zones, network, valid),
  };
}

type Owned = Pick<Admission, keyof AttachmentId | 'network' | 'addresses' | 'link'>;

/** `words`: as nft prints the key. */
interface WordedPlace extends Place {
  words: string;
}

const place = (set: string, key: Uint8Array, words: string, comment?: string): WordedPlace => ({
  ...{ set: setOf(set), element: { key, comment }, words },
});

/** One element for each of its addresses. */
function addressPlaces(named: Readonly<Record<4 | 6, string>>, of: Owned): WordedPlace[] {
  const mark = publicationMark(of);
  return of.addresses.map(({ family, address }) => place(named[family], addressKey(address), address, mark));
}

function apartPlaces({ link, ...of }: Owned): WordedPlace[] {
  if (link === undefined) return [];
  const mark = publicationMark(of);
  return of.addresses.map(({ family, address }) =>
    place(
      APART[family],
      concatenated(linkNameKey(link), addressKey(address)),
      `"${link}" . ${address}`,
      mark,
    ),
  );
}

/** Shared by the containers of a link. */
function linkPlaces(link: string, policy: Admission['policy']): WordedPlace[] {
  const key = concatenated(linkNameKey(link), linkNameKey(link));
  const sets = policy === 'open' ? [] : policy === 'isolated' ? [LINKS_APART, LINKS_ISOLATED] : [LINKS_APART];
  return sets.map((set) => place(set, key, `"${link}" . "${link}"`));
}

const sharedPlaces = ({ link, policy }: Admission) => (link === undefined ? [] : linkPlaces(link, policy));
const ownPlaces = (admission: Admission): WordedPlace[] => [
  ...addressPlaces(LET, admission),
  ...(admission.policy === 'open' ? [] : apartPlaces(admission)),
];

async function admit(host: Namespace, ambient: Ambient, admission: Admission, zoned: boolean): Promise<void> {
  const shared = sharedPlaces(admission);
  const places = [...ownPlaces(admission), ...(zoned ? addressPlaces(ZONED, admission) : [])];
  const what = `let ${admission.containerId} through`;
  const enter = async () => {
    const changes = [...shared.map((one) => adding(one, false)), ...places.map((one) => adding(one, true))];
    const entering = tolerating({ ...batch(changes), what }, 'ENOENT', 'EEXIST', ...NO_NFTABLES);
    const [rules, entered] = await host.send(base(), entering);
    const isWhole = lacking(rules, FORWARD_COMMENTS).length === 0;
    if (!isWhole) await install(host, ambient);
    if (!entered.ok) await enterAnew(host, places, await lookInto(host, places), { shared, what });
  };
  // What a DEL takes of a link after its last container must not be what this one needs.
  await (shared.length > 0 ? withFirewallLock(ambient, enter) : enter());
}

/** As one transaction: whoever else installs it does the same. */
const install = (host: Namespace, ambient: Ambient) =>
  runNft(host, ambient, forwardBase(), 'install the nftables rules of what is forwarded');

async function withdraw(
  host: Namespace,
  ambient: Ambient,
  zones: Firewalld,
  of: Withdrawal,
): Promise<Source[]> {
  const mark = publicationMark(of);
  const places = [...addressPlaces(LET, of), ...addressPlaces(ZONED, of), ...apartPlaces(of)];
  const found = await lookInto(host, places);
  const unzoned = of.addresses.filter((_, i) => found[of.addresses.length + i] === undefined);
  const ours = places.filter((_, i) => found[i]?.comment === mark);
  // What the runtime says by now may not be what it said at ADD.
  const known = of.addresses.length > 0 && of.addresses.every((_, i) => found[i]?.comment === mark);
  const due = known ? ours : await placesOf(host, (comment) => comment === mark);
  await leave(host, ambient, zones, due, of.zone);
  return unzoned;
}

const ALL_SETS = [LET, ZONED, APART].flatMap((named) => [named[4], named[6]]).map(setOf);
const placesOf = (host: Namespace, fits: (comment: string | undefined) => boolean) =>
  placesWith(host, ALL_SETS, fits);
const isIn = ({ set }: Place, named: Readonly<Record<4 | 6, string>>) =>
  set.set === named[4] || set.set === named[6];

async function leave(
  host: Namespace,
  ambient: Ambient,
  zones: Firewalld,
  due: readonly Place[],
  zone?: string,
): Promise<void> {
  // Before it is forgotten that they are there.
  const sources = due.filter((one) => isIn(one, ZONED)).map(({ element }) => sourceOf(element));
  await Promise.all(sources.map((source) => zones.release(source, { zone, elsewhere: true })));
  await take(host, due, `withdraw ${due.length} elements of what is let through`);
  if (due.some((one) => isIn(one, APART))) await leaveLinks(host, ambient);
}

function sourceOf({ key }: Place['element']): Source {
  return { family: key.length === 4 ? 4 : 6, address: formatAddress(key) };
}

/** The name's bytes, of the keys of links and of containers with a policy. */
const linkOf = ({ element: { key } }: Place) => Buffer.from(key.subarray(0, 16)).toString('latin1');

/** Takes away what is said of links that no container with a policy has. */
async function leaveLinks(host: Namespace, ambient: Ambient): Promise<void> {
  await withFirewallLock(ambient, async () => {
    const any = () => true;
    const users = await placesWith(host, [setOf(APART[4]), setOf(APART[6])], any);
    const links = await placesWith(host, [setOf(LINKS_APART), setOf(LINKS_ISOLATED)], any);
    const used = new Set(users.map(linkOf));
    const due = links.filter((one) => !used.has(linkOf(one)));
    await take(host, due, `forget ${due.length} links`);
  });
}

async function missing(host: Namespace, admissions: readonly Admission[]): Promise<string[][]> {
  const [rules] = await host.send(base());
  const gone = lacking(rules, FORWARD_COMMENTS).map(
    (comment) => `rule "${comment}" in chain ${FORWARD} of table inet ${FORWARD_TABLE}`,
  );
  const places = admissions.map((admission) => [...sharedPlaces(admission), ...ownPlaces(admission)]);
  const found = await lookInto(host, places.flat());
  let at = 0;
  return places.map((own, i) => [
    // The rules are the same for all.
    ...(i === 0 ? gone : []),
    ...own.flatMap((one) => missingElement(one, found[at++])),
  ]);
}

function missingElement(
  { set: { set }, element: { comment }, words }: WordedPlace,
  found: Element | undefined,
): string[] {
  if (found && found.comment === comment) return [];
  const other = found ? ` (it is there for "${found.comment ?? 'nobody'}")` : '';
  return [`element ${words} in set inet ${FORWARD_TABLE} ${set}${other}`];
}

async function collect(
  host: Namespace,
  ambient: Ambient,
  zones: Firewalld,
  network: string,
  valid: readonly AttachmentId[],
): Promise<string[]> {
  const stale = await placesOf(host, staleIn(network, valid));
  await leave(host, ambient, zones, stale);
  return [...new Set(stale.map(({ element }) => `forwarding of ${element.comment}`))];
}
