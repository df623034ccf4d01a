import { CniError, ErrorCode } from '../../cni/errors.ts';
import { type Address, formatAddress, formatPrefix, parseAddress } from '../../cni/prefix.ts';
import type { AttachmentId, IpConfig } from '../../cni/types.ts';
import type { Asked } from '../asked.ts';
import { formatHolder, formatLease, type Holder, type Leases } from '../leases.ts';
import { candidates, formatSet, type RangeSet, rangeFor } from './ranges.ts';

export interface Allocation {
  ips: IpConfig[];
  /** Whether one of the addresses was this attachment's before. */
  adopted: boolean;
}

/** What one range set is to give: any address, or this one. */
export interface Wish {
  set: RangeSet;
  asked: Asked | undefined;
}

/**
 * Gives each address asked for to the first range set that has it. Throws CniError when one is in no range or must
 * not be handed out, or when a set would have to give two.
 */
export function wishesOf(sets: readonly RangeSet[], asked: readonly Asked[]): Wish[] {
  const wishes = sets.map((set): Wish => ({ set, asked: undefined }));
  for (const one of asked) {
    const fitting = wishes.filter((wish) => rangeFor(wish.set, one.address) !== undefined);
    const wish = fitting.find((candidate) => candidate.asked === undefined);
    if (wish === undefined) throw misfit(one, fitting[0]?.asked, sets);
    if (wish.set.excluded.has(one.address.value)) {
      throw new CniError(
        ErrorCode.invalidConfig,
        `${one.field}: ${one.text} is a gateway, network or broadcast address and is not handed out; ` +
          `wanted another one of ${formatSet(wish.set)}`,
      );
    }
    wish.asked = one;
  }
  return wishes;
}

function misfit(one: Asked, rival: Asked | undefined, sets: readonly RangeSet[]): CniError {
  const reason =
    rival === undefined
      ? `${one.text} is in no range; there are ${sets.map(formatSet).join('; ')}`
      : `${one.text} and ${rival.text} are of the same range set, which gives one address to an attachment`;
  return new CniError(ErrorCode.invalidConfig, `${one.field}: ${reason}`);
}

/**
 * Takes one address of each set. All or nothing: what was taken before an error is given back.
 *
 * `adopt`: an address that this attachment holds already is taken again (the ADD before this one did not live to tell);
 * otherwise it is an error, as in the reference. Throws CniError(conflict or exhausted).
 */
export function allocate(
  wishes: readonly Wish[],
  id: AttachmentId,
  leases: Leases,
  adopt: boolean,
): Allocation {
  const held = leases.of(id).map((text) => ({ text, address: parseAddress(text) }));
  const taken: string[] = [];
  const allocation: Allocation = { ips: [], adopted: false };
  try {
    for (const { set, asked } of wishes) {
      const own = held.find(({ address }) => address !== undefined && isAllocatable(set, address))?.text;
      if (own !== undefined) {
        if (!adopt) throw duplicate(own, id);
        if (asked !== undefined && asked.text !== own) throw otherHeld(asked, own, id);
        allocation.adopted = true;
      }
      const address = own ?? take(set, asked, id, leases);
      if (own === undefined) taken.push(address);
      allocation.ips.push(ipConfig(set, address));
    }
  } catch (error) {
    for (const address of taken) leases.release(address, id);
    throw error;
  }
  return allocation;
}

function isAllocatable(set: RangeSet, address: Address): boolean {
  return rangeFor(set, address) !== undefined && !set.excluded.has(address.value);
}

function take(set: RangeSet, asked: Asked | undefined, id: AttachmentId, leases: Leases): string {
  const names = asked === undefined ? namesOf(set, leases.lastReserved(set.index)) : [asked.text];
  const address = leases.claim(names, id);
  if (address === undefined) throw asked === undefined ? exhausted(set) : inUse(asked, leases);
  leases.setLastReserved(set.index, address);
  return address;
}

/** The set's addresses as texts, in the order of the round robin. */
export function* namesOf(set: RangeSet, last: string | undefined): Generator<string, void> {
  for (const address of candidates(set, last === undefined ? undefined : parseAddress(last))) {
    yield formatAddress(address);
  }
}

function ipConfig(set: RangeSet, text: string): IpConfig {
  const address = parseAddress(text);
  const range = address && rangeFor(set, address);
  if (address === undefined || range === undefined) {
    throw new CniError(ErrorCode.internal, `lease ${text} is outside of ${formatSet(set)}`);
  }
  return {
    address: formatPrefix({ address, bits: range.subnet.bits }),
    gateway: formatAddress(range.gateway),
  };
}

export function exhausted(set: RangeSet): CniError {
  return new CniError(
    ErrorCode.exhausted,
    `no address is left in range set ${set.index} (${formatSet(set)}): widen the range, or remove containers; ` +
      'if leases of containers that are gone block it, run GC',
  );
}

function duplicate(address: string, id: AttachmentId): CniError {
  return new CniError(
    ErrorCode.conflict,
    `${address} is held by ${formatHolder(id)} already: a second ADD without a DEL is not allowed (SPEC 1.1, section 2)`,
  );
}

function otherHeld(asked: Asked, own: string, id: AttachmentId): CniError {
  return new CniError(
    ErrorCode.conflict,
    `${asked.field}: ${formatHolder(id)} asks for ${asked.text} and holds ${own} already: DEL it first`,
  );
}

function inUse(asked: Asked, leases: Leases): CniError {
  const holder = leases.holder(asked.text);
  const by = holder === undefined ? 'something that is no lease' : formatHolder(holder);
  return new CniError(ErrorCode.conflict, `${asked.field}: ${asked.text} is held by ${by}: ask for another`);
}

/** The attachment's addresses, or those in the older files that name its container only. */
export function heldBy(id: AttachmentId, leases: Leases): string[] {
  const exact = leases.of(id);
  return exact.length > 0 ? exact : leases.ofContainer(id.containerId);
}

/** Gives back all that an attachment holds, in whatever range it is; returns the addresses. */
export function releaseAll(id: AttachmentId, leases: Leases): string[] {
  const exact = leases.of(id);
  const isExact = exact.length > 0;
  const addresses = isExact ? exact : leases.ofContainer(id.containerId);
  const holder = isExact ? id : { containerId: id.containerId, ifname: undefined };
  for (const address of addresses) leases.release(address, holder);
  return addresses;
}

/** Gives back all that belongs to no valid attachment; returns the addresses. */
export function collect(valid: readonly AttachmentId[], leases: Leases): string[] {
  const containers = new Set(valid.map((id) => id.containerId));
  const attachments = new Set(valid.map(formatLease));
  const isValid = ({ containerId, ifname }: Holder) =>
    ifname === undefined
      ? containers.has(containerId)
      : attachments.has(formatLease({ containerId, ifname }));
  const stale = [...leases.all()].filter(([, holder]) => !isValid(holder));
  for (const [address, holder] of stale) leases.release(address, holder);
  return stale.map(([address]) => address);
}
