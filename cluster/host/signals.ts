/**
 * What of the kernel's notifications says that something is not as it was left. What we did ourselves says nothing: it is compared with what
 * is known to be there. Of most notifications only a few bytes are read.
 */

import { canonical } from '../../cni/prefix.ts';
import { AF_BRIDGE } from '../../netlink/codec.ts';
import type { Family, RawMessage } from '../../netlink/door.ts';
import { decodeLink, type Link } from '../../netlink/link.ts';
import { decodeFdb, decodeNeighbour } from '../../netlink/neighbour.ts';
import { decodeRoute, RT_TABLE_MAIN } from '../../netlink/route.ts';
import { LITTLE_ENDIAN } from '../../netlink/writer.ts';
import { type Entries, type HostState, RTPROT_WEFT, sameEntry } from './state.ts';

/** RTM_* (linux/rtnetlink.h). */
const NEWLINK = 16;
const DELLINK = 17;
const NEWADDR = 20;
const DELADDR = 21;
const DELROUTE = 25;
const NEWNEIGH = 28;
const DELNEIGH = 29;
/** What is read at all. A route that is replaced is seen at the next look: each ADD makes some, and few are replaced. */
export const TUNNEL_TYPES = [NEWLINK, DELLINK, NEWADDR, DELADDR, DELROUTE, NEWNEIGH, DELNEIGH] as const;
export const ROUTED_TYPES = [NEWLINK, DELLINK, NEWADDR, DELADDR, DELROUTE] as const;

/** Where the index of the link is in ifinfomsg, ifaddrmsg and ndmsg, and the protocol in rtmsg. */
const INDEX = 4;
const PROTOCOL = 5;
const NUD_PERMANENT = 0x80;

/** What is known to be there. */
export class Watched {
  readonly #entries: Entries;
  readonly #links: ReadonlyMap<number, Link>;
  readonly #device: string | undefined;
  /** Something is missing: whatever changes may be what was waited for. */
  readonly #restless: boolean;

  /** @param links the device, its bridge and the uplinks, as they were at the last look */
  constructor(state: HostState, links: readonly Link[], restless: boolean) {
    this.#entries = state.entries;
    this.#links = new Map(links.map((link) => [link.index, link]));
    this.#device = state.device?.name;
    this.#restless = restless;
  }

  /** Whether a look at the host is due. */
  isAffected(family: Family, message: RawMessage): boolean {
    const { type, payload } = message;
    if (family !== 'route' || payload.length < 12) return false;
    switch (type) {
      case NEWLINK:
      case DELLINK:
        return this.#link(message);
      case NEWADDR:
      case DELADDR:
        return this.#restless || this.#links.has(indexOf(payload));
      case DELROUTE:
        return this.#route(message);
      case NEWNEIGH:
      case DELNEIGH:
        if (!this.#links.has(indexOf(payload))) return false;
        return payload[0] === AF_BRIDGE ? this.#fdb(message) : this.#neighbour(message);
      default:
        return false;
    }
  }

  #link({ type, payload, flags }: RawMessage): boolean {
    const known = this.#links.get(indexOf(payload));
    if (known === undefined) return this.#restless;
    // A port's own notification (AF_BRIDGE) does not say what of it has changed.
    if (type === DELLINK || payload[0] === AF_BRIDGE) return true;
    const now = decodeLink({ type, flags, payload });
    return (['name', 'up', 'running', 'mtu', 'mac', 'master', 'alias'] as const).some(
      (key) => now[key] !== known[key],
    );
  }

  /** One of somebody else's may have stood in the way. */
  #route(message: RawMessage): boolean {
    if (message.payload[PROTOCOL] !== RTPROT_WEFT && !this.#restless) return false;
    const { dst, table, priority } = decodeRoute(message);
    if (table !== RT_TABLE_MAIN) return false;
    return this.#restless || this.#entries.has(`route ${canonical(dst)} ${priority ?? 0}`);
  }

  #neighbour(message: RawMessage): boolean {
    const { link, address, mac, state } = decodeNeighbour(message);
    const dev = this.#name(link);
    if (address === '' || dev === undefined) return false;
    const known = this.#entries.get(`neighbour ${canonical(address)} ${dev}`);
    if (known?.kind !== 'neighbour') return false;
    return message.type === DELNEIGH || known.mac !== mac || (state & NUD_PERMANENT) === 0;
  }

  #fdb(message: RawMessage): boolean {
    const { link, mac, dst, self } = decodeFdb(message);
    if (this.#device === undefined || this.#name(link) !== this.#device) return false;
    const known = this.#entries.get(`fdb ${mac} ${this.#device}`);
    if (message.type === DELNEIGH) return known !== undefined;
    // A MAC on our device that we know nothing of.
    if (known?.kind !== 'fdb') return self && dst !== undefined;
    return self && dst !== undefined && !sameEntry(known, { ...known, dst: canonical(dst) });
  }

  #name(index: number): string | undefined {
    return this.#links.get(index)?.name;
  }
}

function indexOf(payload: Uint8Array): number {
  return new DataView(payload.buffer, payload.byteOffset, payload.length).getInt32(INDEX, LITTLE_ENDIAN);
}
