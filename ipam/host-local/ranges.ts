import { CniError, ErrorCode } from '../../cni/errors.ts';
import {
  type Address,
  contains,
  type Family,
  firstOf,
  formatAddress,
  formatPrefix,
  isLinkLocal6,
  lastOf,
  type Prefix,
  parseAddress,
  parsePrefix,
  width,
} from '../../cni/prefix.ts';
import type { RangeConf } from './schema.ts';

/** A range with everything filled in and checked. */
export interface Range {
  subnet: Prefix;
  /** First and last address, both included. */
  first: bigint;
  last: bigint;
  gateway: Address;
}

/** Alternatives: an attachment gets one address of each set. */
export interface RangeSet {
  /** Position in the configuration: the n of `last_reserved_ip.n`. */
  index: number;
  family: Family;
  ranges: readonly Range[];
  /** Given out when the ranges have nothing left (ipam/cluster). */
  spare?: readonly Range[];
  /** Inside the ranges, but never handed out: gateways, network and broadcast addresses. */
  excluded: ReadonlySet<bigint>;
}

/** A range set as it stands in the configuration, with the path to it for error messages. */
export interface RawSet {
  field: string;
  /** Whether the members are written `field` (old single form) or `field[n]`. */
  single: boolean;
  ranges: readonly RangeConf[];
}

/**
 * Fills in and checks range sets by the rules of the reference host-local.
 * Throws CniError(invalidConfig) that names the field.
 */
export function canonicalSets(raw: readonly RawSet[]): RangeSet[] {
  const sets = raw.map(({ field, single, ranges }) => {
    if (ranges.length === 0) throw invalid(field, 'a range set is empty: wanted at least one range');
    return ranges.map((range, n) => canonicalRange(range, single ? field : `${field}[${n}]`));
  });
  for (const [n, ranges] of sets.entries()) checkOneFamily(ranges, raw[n]?.field ?? '');
  checkOverlaps(sets, raw);
  const gateways = sets.flat().map((range) => range.gateway);
  return sets.map((ranges, index) => {
    const family = ranges[0]?.subnet.address.family ?? 4;
    return { index, family, ranges, excluded: excludedOf(ranges, family, gateways) };
  });
}

function canonicalRange(conf: RangeConf, field: string): Range {
  const subnet = parsePrefix(conf.subnet);
  if (subnet === undefined) {
    throw invalid(
      `${field}.subnet`,
      `wanted a subnet such as 10.1.0.0/16 or fd00:1::/64, found ${conf.subnet}`,
    );
  }
  const { family } = subnet.address;
  const largest = width(family) - 2;
  if (subnet.bits > largest) {
    throw invalid(
      `${field}.subnet`,
      `${conf.subnet} is too small to allocate from, with its network address, gateway and broadcast address: ` +
        `wanted a prefix length of at most /${largest}`,
    );
  }
  const network = firstOf(subnet);
  if (network !== subnet.address.value) {
    const wanted = formatPrefix({ address: { family, value: network }, bits: subnet.bits });
    throw invalid(`${field}.subnet`, `${conf.subnet} has host bits set: wanted ${wanted}`);
  }
  const first = member(conf.rangeStart, `${field}.rangeStart`, subnet) ?? network + 1n;
  const last =
    member(conf.rangeEnd, `${field}.rangeEnd`, subnet) ?? lastOf(subnet) - (family === 4 ? 1n : 0n);
  if (first > last) {
    const text = (value: bigint) => formatAddress({ family, value });
    throw invalid(`${field}.rangeStart`, `${text(first)} lies after rangeEnd ${text(last)}`);
  }
  return { subnet, first, last, gateway: gatewayOf(conf.gateway, `${field}.gateway`, subnet) };
}

function member(text: string | undefined, field: string, subnet: Prefix): bigint | undefined {
  if (!text) return undefined;
  const address = parseAddress(text);
  if (address === undefined || !contains(subnet, address)) {
    throw invalid(field, `wanted an address of ${formatPrefix(subnet)}, found ${text}`);
  }
  return address.value;
}

/** A link-local gateway is on every IPv6 link, whatever its subnet. */
function gatewayOf(text: string | undefined, field: string, subnet: Prefix): Address {
  const { family } = subnet.address;
  if (!text) return { family, value: firstOf(subnet) + 1n };
  const address = parseAddress(text);
  const onLink =
    address !== undefined && (contains(subnet, address) || (family === 6 && isLinkLocal6(address)));
  if (!onLink) throw invalid(field, `wanted an address of ${formatPrefix(subnet)}, found ${text}`);
  return address;
}

function checkOneFamily(ranges: readonly Range[], field: string): void {
  const families = new Set(ranges.map((range) => range.subnet.address.family));
  if (families.size > 1) {
    throw invalid(
      field,
      'a range set mixes IPv4 and IPv6: its ranges are alternatives; put the families in sets of their own',
    );
  }
}

function checkOverlaps(sets: readonly (readonly Range[])[], raw: readonly RawSet[]): void {
  const all = sets.flatMap((ranges, set) =>
    ranges.map((range, n) => {
      const { field = '', single = false } = raw[set] ?? {};
      return { range, field: single ? field : `${field}[${n}]` };
    }),
  );
  for (const [n, a] of all.entries()) {
    for (const b of all.slice(n + 1)) {
      if (a.range.subnet.address.family !== b.range.subnet.address.family) continue;
      if (a.range.first > b.range.last || b.range.first > a.range.last) continue;
      throw invalid(
        b.field,
        `${formatRange(b.range)} overlaps with ${formatRange(a.range)} of ${a.field}: an address must be in one range only`,
      );
    }
  }
}

function excludedOf(
  ranges: readonly Range[],
  family: Family,
  gateways: readonly Address[],
): ReadonlySet<bigint> {
  const excluded = new Set(gateways.filter((gw) => gw.family === family).map((gw) => gw.value));
  for (const { subnet } of ranges) {
    excluded.add(firstOf(subnet));
    if (family === 4) excluded.add(lastOf(subnet));
  }
  return excluded;
}

function invalid(field: string, text: string): CniError {
  return new CniError(ErrorCode.invalidConfig, `${field}: ${text}`);
}

/** The range of a set that an address lies in; it may still be excluded. */
export function rangeFor(set: RangeSet, address: Address): Range | undefined {
  if (address.family !== set.family) return undefined;
  return rangesOf(set).find((range) => address.value >= range.first && address.value <= range.last);
}

function rangesOf({ ranges, spare = [] }: RangeSet): readonly Range[] {
  return spare.length === 0 ? ranges : [...ranges, ...spare];
}

/**
 * Every address that may be handed out, in the order in which to try: from the one after `last` to the end, and round to it.
 * Lazy, because an IPv6 set has more addresses than time has nanoseconds.
 */
export function* candidates(set: RangeSet, last: Address | undefined): Generator<Address, void> {
  yield* round(set, last);
  if (set.spare?.length) yield* round({ ...set, ranges: set.spare, spare: [] }, undefined);
}

function* round(set: RangeSet, last: Address | undefined): Generator<Address, void> {
  const current = last && rangeFor({ ...set, spare: [] }, last);
  const start = current ? set.ranges.indexOf(current) : 0;
  const count = set.ranges.length;
  for (let step = 0; step <= count; step++) {
    const range = set.ranges[(start + step) % count];
    if (range === undefined) return;
    const from = step === 0 && current && last ? last.value + 1n : range.first;
    // The round ends where it began: with the addresses up to `last`, or without a `last` after the last range.
    const to = step < count ? range.last : current && last ? last.value : range.first - 1n;
    for (let value = from; value <= to; value++) {
      if (!set.excluded.has(value)) yield { family: set.family, value };
    }
  }
}

/** `10.1.0.2-10.1.0.254`. */
export function formatRange({ subnet, first, last }: Range): string {
  const { family } = subnet.address;
  return `${formatAddress({ family, value: first })}-${formatAddress({ family, value: last })}`;
}

/** `10.1.0.2-10.1.0.254, 10.2.0.2-10.2.0.254`. */
export function formatSet(set: RangeSet): string {
  return rangesOf(set).map(formatRange).join(', ');
}
