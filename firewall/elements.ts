/** Elements of sets and maps that say by their comment whose they are: entered, found again and taken away natively. */
import { type Namespace, NetlinkError, type Op, type Reply } from '../netlink/door.ts';
import { tolerating } from '../netlink/message.ts';
import {
  addElements,
  batch,
  type ChainRef,
  type Change,
  deleteElements,
  type Element,
  getElements,
  listElements,
  type SetRef,
} from '../netlink/nftables.ts';
import { listRules } from '../netlink/nftables-objects.ts';
import { NO_NFTABLES } from './xtables.ts';

/** An element and the set that it is in. */
export interface Place {
  set: SetRef;
  element: Element & { key: Uint8Array };
}

export const adding = ({ set, element }: Place, exclusive: boolean): Change =>
  addElements(set, [element], exclusive);
const taking = ({ set, element }: Place): Change => deleteElements(set, [{ key: element.key }]);
const finding = ({ set, element }: Place): Op<Element[]> =>
  tolerating(getElements(set, [element.key]), 'ENOENT', ...NO_NFTABLES);

/** How often somebody may flush the ruleset, or enter the same element, between two messages of ours. */
const TRIES = 5;

/** Installs and enters once more where others change the same tables meanwhile. `work` may be repeated. Throws what it throws in the end. */
export async function despiteOthers<T>(work: () => Promise<T>): Promise<T> {
  for (let left = TRIES; ; left -= 1) {
    try {
      return await work();
    } catch (error) {
      const isOvertaken = error instanceof NetlinkError && ['ENOENT', 'EEXIST'].includes(error.errno);
      if (!isOvertaken || left <= 1) throw error;
    }
  }
}

/** What is in each of these places, in their order; one native call, none for no places. Throws NetlinkError. */
export async function lookInto(host: Namespace, places: readonly Place[]): Promise<(Element | undefined)[]> {
  if (places.length === 0) return [];
  const replies = await host.send(...places.map(finding));
  return replies.map((reply) => (reply.ok ? reply.value[0] : undefined));
}

/**
 * Enters elements where those may be there already, of whomever (`present`, of lookInto): as one batch, so that no packet sees them
 * gone, and anew, since the kernel keeps the comment of an element that is there. Throws NetlinkError.
 */
export async function enterAnew(
  host: Namespace,
  places: readonly Place[],
  present: readonly (Element | undefined)[],
  { shared = [], what }: { shared?: readonly Place[]; what: string },
): Promise<void> {
  const changes = [
    ...shared.map((place) => adding(place, false)),
    ...places.flatMap((place, i) => [...(present[i] ? [taking(place)] : []), adding(place, true)]),
  ];
  await host.send({ ...batch(changes), what });
}

/** Takes elements away together; one by one where somebody took some of them meanwhile. Throws NetlinkError. */
export async function take(host: Namespace, places: readonly Place[], what: string): Promise<void> {
  if (places.length === 0) return;
  const op = (some: readonly Place[]) =>
    tolerating({ ...batch(some.map(taking)), what }, 'ENOENT', ...NO_NFTABLES);
  const [together] = await host.send(op(places));
  if (!together.ok && places.length > 1) await host.send(...places.map((place) => op([place])));
}

/** Every element whose comment fits, which it may lack; grows with the number of elements. Throws NetlinkError. */
export async function placesWith(
  host: Namespace,
  sets: readonly SetRef[],
  fits: (comment: string | undefined) => boolean,
): Promise<Place[]> {
  const replies = await host.send(
    ...sets.map((set) => tolerating(listElements(set), 'ENOENT', ...NO_NFTABLES)),
  );
  return sets.flatMap((set, i) => {
    const reply = replies[i];
    return (reply?.ok ? reply.value : []).flatMap((element): Place[] =>
      element.key && fits(element.comment) ? [{ set, element: { ...element, key: element.key } }] : [],
    );
  });
}

/** The comments of a chain's rules; a reply without rules where the chain is missing. */
export function commentsIn(chain: ChainRef): Op<(string | undefined)[]> {
  const op = tolerating(listRules(chain), 'ENOENT', ...NO_NFTABLES);
  return { ...op, decode: (messages) => op.decode(messages).map(({ comment }) => comment) };
}

/** Those of `wanted` that a reply to commentsIn() lacks. */
export function lacking(
  reply: Reply<(string | undefined)[]> | undefined,
  wanted: readonly string[],
): string[] {
  return wanted.filter((comment) => !(reply?.ok && reply.value.includes(comment)));
}
