/** The `pool` and `pools` of a network between hosts, for vxlan and routed. */

import type { Pool } from '../cluster/network.ts';
import { CniError, ErrorCode } from '../cni/errors.ts';
import { type Family, firstOf, formatPrefix, parsePrefix, width } from '../cni/prefix.ts';
import { cidr } from '../cni/schema.ts';

/** For a plugin's schema; what fits what is for readPools(). */
export const poolProperties = {
  pool: cidr,
  pools: {
    type: 'array',
    minItems: 1,
    items: {
      type: 'object',
      required: ['prefix'],
      properties: { prefix: cidr, hostLength: { type: 'integer', minimum: 1, maximum: 128 } },
    },
  },
} as const;

export interface PoolsConf {
  /** One pool, with the usual prefix length for a host's part. */
  pool?: string | undefined;
  pools?: readonly { prefix: string; hostLength?: number | undefined }[] | undefined;
}

/** What a host takes of a pool: a `subnet` of its own with network address and gateway, or a `block` of addresses. */
export type Share = 'subnet' | 'block';

/** A subnet as Kubernetes and flannel have it; a block as Calico has it: 64 addresses. */
const USUAL: Readonly<Record<Share, Readonly<Record<Family, number>>>> = {
  subnet: { 4: 24, 6: 64 },
  block: { 4: 26, 6: 122 },
};

const refuse = (problem: string) => new CniError(ErrorCode.invalidConfig, problem);

/** Pools as the registry has them. Throws CniError(invalidConfig) that names the field, what it has and what is allowed. */
export function readPools(conf: PoolsConf, share: Share): Pool[] {
  if (conf.pool !== undefined && conf.pools !== undefined) {
    throw refuse(
      'pool and pools are both set: pool is the short form of pools with one prefix, set one of them',
    );
  }
  if (conf.pool === undefined && conf.pools === undefined) {
    throw refuse('pool: missing, wanted the prefix of all containers on all hosts, such as 10.244.0.0/16');
  }
  const pools =
    conf.pool !== undefined
      ? [readPool(conf.pool, 'pool', undefined, share)]
      : (conf.pools ?? []).map(({ prefix, hostLength }, n) =>
          readPool(
            prefix,
            `pools[${n}].prefix`,
            { field: `pools[${n}].hostLength`, value: hostLength },
            share,
          ),
        );
  const families = pools.map(({ prefix }) => (prefix.includes(':') ? 'IPv6' : 'IPv4'));
  const twice = families.findIndex((family, n) => families.indexOf(family) < n);
  if (twice >= 0) {
    throw refuse(
      `pools[${twice}].prefix: ${pools[twice]?.prefix} is the second pool of ${families[twice]}: wanted one of each family at most`,
    );
  }
  return pools;
}

interface HostLength {
  field: string;
  value: number | undefined;
}

function readPool(text: string, field: string, asked: HostLength | undefined, share: Share): Pool {
  const found = parsePrefix(text);
  if (found === undefined) {
    throw refuse(`${field}: found ${text}, wanted a prefix such as 10.244.0.0/16 or fd00:244::/48`);
  }
  const { family } = found.address;
  const prefix = formatPrefix({ address: { family, value: firstOf(found) }, bits: found.bits });
  if (firstOf(found) !== found.address.value)
    throw refuse(`${field}: ${text} has host bits set: wanted ${prefix}`);
  if (found.bits === 0) throw refuse(`${field}: ${text} is every address: wanted a part of them`);
  return { prefix, blockLength: hostLength(prefix, found.bits, family, field, asked, share) };
}

/** A subnet has a network address, a gateway and (IPv4) a broadcast address besides its containers. */
const longest = (family: Family, share: Share) => width(family) - (share === 'subnet' ? 2 : 0);

function hostLength(
  prefix: string,
  bits: number,
  family: Family,
  field: string,
  asked: HostLength | undefined,
  share: Share,
): number {
  const most = longest(family, share);
  const value = asked?.value ?? USUAL[share][family];
  if (value >= bits && value <= most) return value;
  const what = `a host's ${share} of ${prefix}`;
  if (asked?.value !== undefined) {
    throw refuse(
      `${asked.field}: found ${value}, wanted a prefix length from ${bits} to ${most} for ${what}`,
    );
  }
  if (bits > most)
    throw refuse(`${field}: ${prefix} is too small: wanted a prefix length of ${most} at most`);
  throw refuse(
    `${asked?.field ?? field}: ${prefix} has no room for the usual /${value} of each host: ` +
      `set pools[].hostLength, from ${bits} to ${most}`,
  );
}
