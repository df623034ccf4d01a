import type { IpamNetConf } from './ipam.ts';

/** One range of a host-local configuration, for people to read. */
export interface RangeView {
  /** Number of the range set; an attachment gets one address of each. */
  set: number;
  subnet: string;
  /** Addresses of the whole subnet. */
  subnetSize: bigint;
  /** First and last address that is handed out. */
  first: string;
  last: string;
  gateway: string;
  /** How many addresses can be handed out: without gateways, network and broadcast addresses. */
  size: bigint;
}

/**
 * Lists the ranges of a host-local configuration. Loads ip-cidr, which takes 6 ms: for the command line, not for ADD.
 * Throws CniError(invalidConfig).
 */
export async function describeRanges(config: IpamNetConf): Promise<RangeView[]> {
  const [{ default: IpCidr }, { readHostLocal }, prefix] = await Promise.all([
    import('ip-cidr'),
    import('./host-local/config.ts'),
    import('../cni/prefix.ts'),
  ]);
  return readHostLocal(config).sets.flatMap((set) =>
    set.ranges.map(({ subnet, first, last, gateway }) => {
      const text = (value: bigint) => prefix.formatAddress({ family: set.family, value });
      const cidr = new IpCidr(prefix.formatPrefix(subnet));
      const inside = [...set.excluded].filter((value) => value >= first && value <= last);
      return {
        set: set.index,
        subnet: cidr.toString(),
        subnetSize: BigInt(cidr.size as unknown as bigint),
        first: text(firstNot(inside, first, 1n)),
        last: text(firstNot(inside, last, -1n)),
        gateway: prefix.formatAddress(gateway),
        size: last - first + 1n - BigInt(inside.length),
      };
    }),
  );
}

/** The first number from `start` on, in steps, that is not excluded. */
function firstNot(excluded: readonly bigint[], start: bigint, step: bigint): bigint {
  let value = start;
  while (excluded.includes(value)) value += step;
  return value;
}
