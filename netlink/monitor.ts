/** What changes in a namespace, as it happens: links, addresses, routes, neighbours, nf_tables. */
import { type Address, decodeAddress } from './address.ts';
import { AF_BRIDGE } from './codec.ts';
import type { Family, Namespace, RawMessage } from './door.ts';
import { errnoName } from './errno.ts';
import { decodeLink, type Link } from './link.ts';
import { NLMSG_HEADER } from './message.ts';
import { handleOf } from './namespace.ts';
import { loadNative, withCode } from './native.ts';
import { decodeFdb, decodeNeighbour, type FdbEntry, type Neighbour } from './neighbour.ts';
import { decodeRoute, type Route } from './route.ts';
import { align, LITTLE_ENDIAN } from './writer.ts';

export type Group = 'link' | 'address' | 'route' | 'neighbour' | 'netconf' | 'nftables' | 'trace';

export type Event =
  | { kind: 'link'; gone: boolean; link: Link }
  | { kind: 'address'; gone: boolean; address: Address }
  | { kind: 'route'; gone: boolean; route: Route }
  | { kind: 'neighbour'; gone: boolean; neighbour: Neighbour }
  | { kind: 'fdb'; gone: boolean; entry: FdbEntry }
  /** NFT_MSG_* in `type`; undecoded. */
  | { kind: 'nftables'; type: number; payload: Uint8Array }
  /** Events were lost: look at the state itself. */
  | Overrun;

export interface Overrun {
  kind: 'overrun';
}

/** RTNLGRP_* and NFNLGRP_*. */
const GROUPS: Readonly<Record<Group, readonly [Family, readonly number[]]>> = {
  link: ['route', [1]],
  neighbour: ['route', [3]],
  address: ['route', [5, 9]],
  route: ['route', [7, 11]],
  netconf: ['route', [24, 25]],
  nftables: ['netfilter', [7]],
  trace: ['netfilter', [9]],
};

/** Events that nobody took yet; more are given up as an overrun. */
const MOST_WAITING = 65_536;

/** An event stream; ends after close(). Leaving a `for await` closes it. */
export interface Monitor<E = Event> extends AsyncIterableIterator<E | Overrun> {
  close(): void;
}

/** Reads one notification; undefined for what is none of ours. */
export function decodeEvent(family: Family, message: RawMessage): Event | undefined {
  const { type, payload } = message;
  if (family === 'netfilter') return { kind: 'nftables', type: type & 0xff, payload: payload.slice() };
  const bridge = payload[0] === AF_BRIDGE;
  switch (type) {
    case 16:
    case 17:
      // AF_BRIDGE tells of a port's state; its RTM_DELLINK means the port has left, not that the link is gone.
      return bridge ? undefined : { kind: 'link', gone: type === 17, link: decodeLink(message) };
    case 20:
    case 21:
      return { kind: 'address', gone: type === 21, address: decodeAddress(message) };
    case 24:
    case 25:
      return { kind: 'route', gone: type === 25, route: decodeRoute(message) };
    case 28:
    case 29:
      return bridge
        ? { kind: 'fdb', gone: type === 29, entry: decodeFdb(message) }
        : { kind: 'neighbour', gone: type === 29, neighbour: decodeNeighbour(message) };
    default:
      return undefined;
  }
}

function* split(bytes: Uint8Array): Generator<RawMessage> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let at = 0; at + NLMSG_HEADER <= bytes.length; ) {
    const length = view.getUint32(at, LITTLE_ENDIAN);
    if (length < NLMSG_HEADER || at + length > bytes.length) return;
    yield {
      type: view.getUint16(at + 4, LITTLE_ENDIAN),
      flags: view.getUint16(at + 6, LITTLE_ENDIAN),
      payload: bytes.subarray(at + NLMSG_HEADER, at + length),
    };
    at += align(length);
  }
}

/**
 * Listens to groups of a namespace opened by openDoor(); everything after the returned promise is fulfilled is seen.
 * It keeps the process alive until closed, and stays open when the Namespace is closed. Throws an Error with `code`.
 * @param decode for listeners that want to know less than decodeEvent() reads
 * @param types of messages of NETLINK_ROUTE (RTM_*) that are of interest: for others this process is not even woken
 */
export async function monitor<E = Event>(
  ns: Namespace,
  groups: readonly Group[],
  decode: (family: Family, message: RawMessage) => E | undefined = decodeEvent as never,
  types?: readonly number[],
): Promise<Monitor<E>> {
  const stream = new EventStream<E>(decode);
  const native = loadNative();
  try {
    for (const family of ['route', 'netfilter'] as const) {
      const numbers = groups
        .map((group) => GROUPS[group])
        .flatMap(([of, list]) => (of === family ? list : []));
      if (numbers.length === 0) continue;
      const index = family === 'route' ? 0 : 1;
      const listener = (bytes: Uint8Array | undefined, errno: number) => {
        if (bytes !== undefined) stream.take(family, bytes);
        else if (errnoName(errno) === 'ENOBUFS') stream.push({ kind: 'overrun' });
        else stream.close();
      };
      const wanted = family === 'route' && types ? [Uint32Array.from(types)] : [];
      const id = await native.openMonitor(
        handleOf(ns),
        index,
        Uint32Array.from(numbers),
        listener,
        ...wanted,
      );
      stream.closers.push(() => native.closeMonitor(id));
    }
  } catch (error) {
    stream.close();
    throw withCode(error, `listen to ${groups.join(', ')}`);
  }
  return stream;
}

class EventStream<E> implements Monitor<E> {
  readonly closers: (() => void)[] = [];
  readonly #decode: (family: Family, message: RawMessage) => E | undefined;
  #events: (E | Overrun)[] = [];
  #waiting: ((result: IteratorResult<E | Overrun>) => void)[] = [];
  #closed = false;

  constructor(decode: (family: Family, message: RawMessage) => E | undefined) {
    this.#decode = decode;
  }

  take(family: Family, bytes: Uint8Array): void {
    for (const message of split(bytes)) {
      const event = this.#decode(family, message);
      if (event !== undefined) this.push(event);
    }
  }

  push(event: E | Overrun): void {
    if (this.#closed) return;
    const next = this.#waiting.shift();
    if (next !== undefined) next({ done: false, value: event });
    else if (this.#events.length < MOST_WAITING) this.#events.push(event);
    else this.#events = [{ kind: 'overrun' }, event];
  }

  next(): Promise<IteratorResult<E | Overrun>> {
    const event = this.#events.shift();
    if (event !== undefined) return Promise.resolve({ done: false, value: event });
    if (this.#closed) return Promise.resolve({ done: true, value: undefined });
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  return(): Promise<IteratorResult<E | Overrun>> {
    this.close();
    this.#events = [];
    return Promise.resolve({ done: true, value: undefined });
  }

  close(): void {
    this.#closed = true;
    for (const close of this.closers.splice(0)) close();
    for (const next of this.#waiting.splice(0)) next({ done: true, value: undefined });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}
