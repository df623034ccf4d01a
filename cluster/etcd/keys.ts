/**
 * What is stored where, below `<prefix>/<network>/`:
 *   hosts/<host>          the host's record, as JSON
 *   claims/<block>        the host that holds a block; the key sorts by the block's first address
 *   borrowed/<address>    the host that borrowed a single address
 *   endpoints/<address>   the container's MAC and its host
 * A reader needs hosts and endpoints; claims and borrowed are there so that a transaction can ask whether somebody holds what it wants.
 */
import { firstOf, formatAddress, lastOf, type Prefix, parseAddress, width } from '../../cni/prefix.ts';
import { prefixOf } from '../registry/blocks.ts';
import type { Endpoint, Member, NetworkState } from '../registry.ts';

export interface Stored {
  value: string;
  /** Revision of the last change of this key. */
  revision: string;
  /** `0` for none. */
  lease: string;
  /** What the value says, once somebody asked: most keys stay as they are from change to change. */
  member?: Member[];
  endpoint?: Endpoint[];
}

/** By key below the network. */
export type Kvs = Map<string, Stored>;

export const hostKey = (host: string) => `hosts/${host}`;
export const endpointKey = (address: string) => `endpoints/${address}`;
export const borrowedKey = (address: string) => `borrowed/${address}`;

export function claimKey(block: string): string {
  const prefix = prefixOf(block);
  return `claims/${sortable(prefix, firstOf(prefix))}-${prefix.bits}`;
}

/** From the first key to, not including, the second: all claims that begin within a block. */
export function claimsWithin(block: string): [string, string] {
  const prefix = prefixOf(block);
  return [`claims/${sortable(prefix, firstOf(prefix))}`, `claims/${sortable(prefix, lastOf(prefix))}~`];
}

/** Lengths by which another host's configuration may be shorter than ours and still be noticed in the same instant. */
const SHORTER = 12;

/** Keys of the larger blocks that would contain this one. */
export function claimsAround(block: string): string[] {
  const { address, bits } = prefixOf(block);
  const lengths = Array.from({ length: Math.min(SHORTER, bits) }, (_, index) => bits - 1 - index);
  return lengths.map((length) => claimKey(`${formatAddress(address)}/${length}`));
}

function sortable({ address: { family } }: Prefix, value: bigint): string {
  return `${family}-${value.toString(16).padStart(width(family) / 4, '0')}`;
}

/** Borrowed addresses and blocks of a record. */
export function keysOf(member: Member): string[] {
  return [...member.subnets.map(claimKey), ...(member.borrowed ?? []).map(borrowedKey)];
}

/** What cannot be read, because somebody else wrote it, is left out: one bad key must not cost all others. */
export function stateOf(kvs: Kvs): NetworkState {
  const members: Member[] = [];
  const endpoints: Endpoint[] = [];
  for (const [key, stored] of kvs) {
    const [kind, name = '', ...deeper] = key.split('/');
    if (deeper.length > 0) continue;
    if (kind === 'hosts') {
      stored.member ??= parseMember(name, stored.value) ?? [];
      members.push(...stored.member);
    } else if (kind === 'endpoints') {
      stored.endpoint ??= parseEndpoint(name, stored.value) ?? [];
      endpoints.push(...stored.endpoint);
    }
  }
  members.sort((a, b) => (a.host < b.host ? -1 : 1));
  endpoints.sort((a, b) => (a.address < b.address ? -1 : 1));
  return { members, endpoints };
}

/** Holders of claims that have no readable record. */
export function orphansOf(kvs: Kvs, { members }: NetworkState): Member[] {
  const known = new Set(members.map(({ host }) => host));
  const orphans = new Map<string, string[]>();
  for (const [key, { value }] of kvs) {
    if (!key.startsWith('claims/') || known.has(value)) continue;
    const block = claimedBlock(key);
    if (block !== undefined) orphans.set(value, [...(orphans.get(value) ?? []), block]);
  }
  return [...orphans].map(([host, subnets]) => ({ host, addresses: [], subnets }));
}

function claimedBlock(key: string): string | undefined {
  const [, family, hex, bits] = /^claims\/([46])-([0-9a-f]+)-(\d+)$/.exec(key) ?? [];
  if (hex === undefined) return undefined;
  return `${formatAddress({ family: family === '6' ? 6 : 4, value: BigInt(`0x${hex}`) })}/${bits}`;
}

export function formatMember({ host: _, ...fields }: Member): string {
  return JSON.stringify(fields);
}

export function parseMember(host: string, value: string): Member[] | undefined {
  const { addresses, subnets, borrowed, mac } = object(value);
  if (!isTexts(addresses) || !isTexts(subnets) || !(borrowed === undefined || isTexts(borrowed)))
    return undefined;
  const readable = [...addresses, ...(borrowed ?? [])].every((text) => parseAddress(text) !== undefined);
  if (!readable || !subnets.every(isPrefix)) return undefined;
  return [
    {
      host,
      addresses,
      subnets,
      ...(borrowed === undefined ? {} : { borrowed }),
      ...(typeof mac === 'string' ? { mac } : {}),
    },
  ];
}

export function formatEndpoint({ mac, host }: Endpoint): string {
  return JSON.stringify({ mac, host });
}

function parseEndpoint(address: string, value: string): Endpoint[] | undefined {
  const { mac, host } = object(value);
  if (parseAddress(address) === undefined || typeof mac !== 'string' || typeof host !== 'string')
    return undefined;
  return [{ address, mac, host }];
}

function object(value: string): Record<string, unknown> {
  try {
    return Object(JSON.parse(value)) as Record<string, unknown>;
  } catch {
    return {};
  }
}

function isTexts(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((one) => typeof one === 'string');
}

function isPrefix(text: string): boolean {
  try {
    return prefixOf(text) !== undefined;
  } catch {
    return false;
  }
}
