/** From a change to etcd's transaction: what must still be so, and what is done then. Pure. */
import { contains, parseAddress } from '../../cni/prefix.ts';
import { prefixOf } from '../registry/blocks.ts';
import { type Change, MOST_ENDPOINTS } from '../registry/store.ts';
import type { Member } from '../registry.ts';
import { encode, type Json } from './client.ts';
import {
  borrowedKey,
  claimKey,
  claimsAround,
  claimsWithin,
  endpointKey,
  formatEndpoint,
  formatMember,
  hostKey,
  type Kvs,
  keysOf,
  parseMember,
} from './keys.ts';

/** etcd's default for the operations of one transaction is 128; beyond this the claims are guarded as a whole. */
const MANY = 100;

/** `base`: what stands before every key; `lease`: what every key of this host hangs on. */
export function transaction(base: string, seen: Kvs, revision: string, change: Change, lease: string): Json {
  const write = new Transaction(base, seen, revision, lease);
  write.record(change);
  for (const endpoint of change.put ?? []) {
    write.unchanged(endpointKey(endpoint.address));
    write.put(endpointKey(endpoint.address), formatEndpoint(endpoint));
  }
  for (const address of change.remove ?? []) {
    write.unchanged(endpointKey(address));
    write.remove(endpointKey(address));
  }
  return write.body();
}

class Transaction {
  readonly #base: string;
  readonly #seen: Kvs;
  readonly #revision: string;
  readonly #lease: string;
  readonly #compare = new Map<string, Json>();
  readonly #success: Json[] = [];

  constructor(base: string, seen: Kvs, revision: string, lease: string) {
    this.#base = base;
    this.#seen = seen;
    this.#revision = revision;
    this.#lease = lease;
  }

  record({ host, member }: Change): void {
    const key = hostKey(host);
    const old = parseMember(host, this.#seen.get(key)?.value ?? '')?.[0];
    this.unchanged(key);
    if (member === undefined) return;
    const wanted = new Set(member === null ? [] : keysOf(member));
    for (const held of this.#heldBy(host, old)) if (!wanted.has(held)) this.remove(held);
    if (member === null) {
      this.remove(key);
      return;
    }
    for (const block of member.subnets) this.#claim(host, block);
    for (const address of member.borrowed ?? []) this.#borrow(host, address);
    this.put(key, formatMember(member));
    this.#takeAlong(host);
  }

  /** Containers that hang on another lease of this host would go with that one. Those that are too many here are published again when they do. */
  #takeAlong(host: string): void {
    const elsewhere = [...this.#seen].filter(
      ([key, { endpoint, lease }]) =>
        lease !== this.#lease && key.startsWith('endpoints/') && endpoint?.[0]?.host === host,
    );
    for (const [key, { value }] of elsewhere.slice(0, MOST_ENDPOINTS)) {
      this.unchanged(key);
      this.put(key, value);
    }
  }

  /** By the record, and by the keys themselves: a record may have been lost or changed by hand. */
  #heldBy(host: string, old: Member | undefined): string[] {
    const named = old === undefined ? [] : keysOf(old).filter((key) => this.#seen.get(key)?.value === host);
    const claimed = [...this.#seen].flatMap(([key, { value }]) =>
      value === host && /^(claims|borrowed)\//.test(key) ? [key] : [],
    );
    return [...new Set([...named, ...claimed])];
  }

  #claim(host: string, block: string): void {
    const key = claimKey(block);
    const seen = this.#seen.get(key);
    if (seen?.value === host) {
      if (seen.lease === this.#lease) return;
      this.unchanged(key);
    } else {
      this.#absent(...claimsWithin(block));
      for (const larger of claimsAround(block)) this.#absent(larger);
    }
    this.put(key, host);
  }

  #borrow(host: string, address: string): void {
    const key = borrowedKey(address);
    const seen = this.#seen.get(key);
    if (seen?.value === host && seen.lease === this.#lease) return;
    this.unchanged(key);
    if (seen === undefined) {
      // The block must still be somebody's (one that comes free is taken whole), and no container of it may have come to have the address.
      this.#lenderOf(address);
      this.unchanged(endpointKey(address));
    }
    this.put(key, host);
  }

  #lenderOf(address: string): void {
    const one = parseAddress(address);
    const lender = [...this.#seen].flatMap(([key, { value }]) =>
      key.startsWith('hosts/') ? (parseMember(key, value)?.[0]?.subnets ?? []) : [],
    );
    const block = lender.find((subnet) => one !== undefined && contains(prefixOf(subnet), one));
    if (block !== undefined) this.unchanged(claimKey(block));
  }

  unchanged(key: string): void {
    const seen = this.#seen.get(key);
    this.#compare.set(
      key,
      seen === undefined
        ? { target: 'CREATE', result: 'EQUAL', key: this.#key(key), create_revision: '0' }
        : { target: 'MOD', result: 'EQUAL', key: this.#key(key), mod_revision: seen.revision },
    );
  }

  /** Compared with a range, each of its keys must comply. */
  #absent(from: string, to?: string): void {
    const range = { key: this.#key(from), ...(to === undefined ? {} : { range_end: this.#key(to) }) };
    this.#compare.set(`${from}..`, { target: 'CREATE', result: 'EQUAL', ...range, create_revision: '0' });
  }

  put(key: string, value: string): void {
    this.#success.push({ request_put: { key: this.#key(key), value: encode(value), lease: this.#lease } });
  }

  remove(key: string): void {
    this.#success.push({ request_delete_range: { key: this.#key(key) } });
  }

  body(): Json {
    const compare = [...this.#compare];
    const fine = compare.map(([, one]) => one);
    if (fine.length <= MANY) return { compare: fine, success: this.#success };
    const rest = compare.filter(([key]) => !key.startsWith('claims/')).map(([, one]) => one);
    // No claim was made since we looked.
    const range = { key: this.#key('claims/'), range_end: this.#key('claims0') };
    const since = String(BigInt(this.#revision) + 1n);
    rest.push({ target: 'MOD', result: 'LESS', ...range, mod_revision: since });
    return { compare: rest, success: this.#success };
  }

  #key(key: string): string {
    return encode(this.#base + key);
  }
}
