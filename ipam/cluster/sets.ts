/** What a host holds of a network, as range sets of host-local's allocator: one set for each family. */
import { CniError, ErrorCode } from '../../cni/errors.ts';
import {
  type Address,
  contains,
  firstOf,
  lastOf,
  type Prefix,
  parseAddress,
  parsePrefix,
  width,
} from '../../cni/prefix.ts';
import type { Asked } from '../asked.ts';
import type { Range, RangeSet } from '../host-local/ranges.ts';
import type { Layout } from './config.ts';
import type { Membership } from './membership.ts';

/** What addresses depend on. */
export type Holding = Pick<Membership, 'network' | 'subnets' | 'borrowed' | 'pools' | 'away' | 'problem'>;

/**
 * Where a container's addresses may come from. On a stretched subnet an address of another host's block can be asked for, and one that went
 * away: a container that moves here, or comes back, brings it along. Throws CniError(tryAgain) when the host holds nothing of a pool yet, (io) when the membership is damaged.
 */
export function setsOf(membership: Holding, layout: Layout, asked: readonly Asked[] = []): RangeSet[] {
  const blocks = membership.subnets.map((text) => read(text, parsePrefix, membership));
  const brought = layout === 'stretched' ? asked : [];
  const singles = [
    ...membership.borrowed.map((text) => read(text, parseAddress, membership)),
    ...brought.map(({ address }) => address),
  ];
  const away = (membership.away ?? [])
    .filter((text) => !brought.some((one) => one.text === text))
    .map((text) => read(text, parseAddress, membership));
  return membership.pools.map((text) => {
    const pool = read(text, parsePrefix, membership);
    const ranges = blocks
      .filter(({ address }) => contains(pool, address))
      .map((block) => rangeOf(block, layout === 'stretched' ? pool : block, layout));
    const spare = singles
      .filter((address) => contains(pool, address) && !ranges.some((range) => isIn(range, address)))
      .map(
        (address): Range => ({ ...rangeOf(pool, pool, layout), first: address.value, last: address.value }),
      );
    if (ranges.length + spare.length === 0) {
      throw new CniError(
        ErrorCode.tryAgain,
        `this host holds no part of ${text} of network ${membership.network} yet: ${membership.problem ?? 'see the log of `weft agent`'}`,
      );
    }
    return setOf(pool, { ranges, spare }, away, layout);
  });
}

function read<T>(text: string, parse: (text: string) => T | undefined, { network }: Holding): T {
  const value = parse(text);
  if (value !== undefined) return value;
  throw new CniError(
    ErrorCode.io,
    `what this host holds of network ${network} is damaged, it has ${JSON.stringify(text)}: restart \`weft agent\``,
  );
}

const isIn = ({ first, last }: Range, { value }: Address) => value >= first && value <= last;

/** `link`: the prefix that the container sees, and whose first address is its gateway. */
function rangeOf(block: Prefix, link: Prefix, layout: Layout): Range {
  const { family } = block.address;
  return {
    subnet: layout === 'single' ? { ...block, bits: width(family) } : link,
    first: firstOf(block),
    last: lastOf(block),
    gateway: { family, value: firstOf(link) + 1n },
  };
}

function setOf(
  pool: Prefix,
  { ranges, spare }: Required<Pick<RangeSet, 'ranges' | 'spare'>>,
  away: readonly Address[],
  layout: Layout,
): RangeSet {
  const { family } = pool.address;
  const excluded = new Set(away.filter((address) => address.family === family).map(({ value }) => value));
  const links: readonly { first: bigint; last: bigint }[] =
    layout === 'stretched' ? [{ first: firstOf(pool), last: lastOf(pool) }] : ranges;
  for (const { first, last } of links) {
    // The network's own address (IPv6: that of any router), the gateway, and the broadcast address.
    excluded.add(first);
    if (layout !== 'single') excluded.add(first + 1n);
    if (family === 4) excluded.add(last);
  }
  return { index: family === 4 ? 0 : 1, family, ranges, spare, excluded };
}

/** `10.244.3.0/24 of network mynet` for messages. */
export function heldOf({ network, subnets, borrowed }: Holding): string {
  const single = borrowed.length > 0 ? ` and ${borrowed.length} borrowed addresses` : '';
  return `${subnets.join(', ')}${single} of network ${network}`;
}

/** Whether an address is one of the network's. */
export function isOfNetwork({ pools }: Holding, address: Address): boolean {
  return pools.some((text) => {
    const pool = parsePrefix(text);
    return pool !== undefined && contains(pool, address);
  });
}
