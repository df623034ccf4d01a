/** The client's side of RFC 2131: getting a lease, keeping it, giving it back. One link, one exchange at a time. */
import { BROADCAST, decodeDatagram, encodeDatagram } from './datagram.ts';
import {
  ANY,
  decodeReply,
  encodeRequest,
  type Message,
  type MessageType,
  OPTION,
  type Options,
  TYPE,
  typeOf,
  uint32,
  undotted,
} from './message.ts';
import { type Terms, termsOf, text } from './terms.ts';

/** A container's link, for IPv4 packets that come and go whether or not it has an address. */
export interface Wire {
  /** The link's own hardware address. */
  readonly mac: Uint8Array;
  /** `dev:inode` of the network namespace that it is in. */
  readonly sandbox: string;
  /** Throws an Error with `code` (ENETDOWN, ENXIO: the link is gone). */
  send(packet: Uint8Array, to: Uint8Array): void;
  /** The next packet to the client's port; undefined after so many milliseconds without. Throws an Error once it is closed. */
  receive(milliseconds: number): Promise<{ packet: Uint8Array; from: Uint8Array } | undefined>;
  /**
   * The MAC of somebody else on this network who has an address (dotted); undefined where nobody is heard for so many milliseconds. Throws an
   * Error with `code`.
   */
  ownerOf(address: string, milliseconds: number): Promise<string | undefined>;
  close(): void;
}

/** What a client says of itself with every message, and what it wants to be told. */
export interface Identity {
  /** By option number; the client identifier is among them. */
  provided: Options;
  requested: readonly number[];
}

export interface Grant {
  terms: Terms;
  /** The hardware address that the server's answers come from: its own, or that of the way to it. */
  serverMac: Uint8Array;
}

/** Nobody granted anything; for people. */
export class NoLease extends Error {
  override readonly name = 'NoLease';
  /** A server said no; otherwise there was silence, or nothing of use. */
  readonly refused: boolean;

  constructor(message: string, refused: boolean) {
    super(message);
    this.refused = refused;
  }
}

/** Milliseconds to wait for each answer to one more message (RFC 2131, section 4.1, doubles them too, from four seconds on). */
export const PATIENCE: readonly number[] = [1000, 2000, 4000, 8000];
/** A server that has offered an address may still refuse it: then once more from the beginning. */
const ROUNDS = 3;
const EVERYBODY = new Uint8Array(6).fill(0xff);
/** What we can take (RFC 2132, section 9.10): an Ethernet frame's worth. */
const MAXIMUM_SIZE = 1500;

interface Outgoing {
  type: MessageType;
  ciaddr?: string;
  options?: Options;
  /** Undefined: to everybody. */
  server?: { address: string; mac: Uint8Array } | undefined;
}

interface Reply {
  message: Message;
  mac: Uint8Array;
}

class Conversation {
  readonly #wire: Wire;
  readonly #identity: Identity;
  readonly #xid = Math.floor(Math.random() * 2 ** 32);
  readonly #began = performance.now();

  constructor(wire: Wire, identity: Identity) {
    this.#wire = wire;
    this.#identity = identity;
  }

  send({ type, ciaddr = ANY, options = new Map(), server }: Outgoing): void {
    const { provided, requested } = this.#identity;
    const asks = type === TYPE.discover || type === TYPE.request;
    // What the client says of itself is in its release as well, or the server would not know whose it is; the rest is not (table 5).
    const own = [...provided].filter(([code]) => asks || code === OPTION.clientId);
    const all = new Map([
      [OPTION.messageType, Uint8Array.of(type)] as const,
      ...own,
      ...options,
      ...(asks
        ? ([
            [OPTION.parameters, Uint8Array.from(requested)],
            [OPTION.maximumSize, uint32(MAXIMUM_SIZE).subarray(2)],
          ] as const)
        : []),
    ]);
    const message = encodeRequest({
      ...{ xid: this.#xid, secs: Math.floor((performance.now() - this.#began) / 1000) },
      ...{ ciaddr, chaddr: this.#wire.mac, options: all },
    });
    const packet = encodeDatagram(ciaddr, server?.address ?? BROADCAST, message);
    this.#wire.send(packet, server?.mac ?? EVERYBODY);
  }

  /** Sends again and again, until an answer is taken; undefined when `waits` have passed. */
  async ask<T>(
    outgoing: Outgoing,
    take: (reply: Reply) => T | undefined,
    waits: readonly number[],
  ): Promise<T | undefined> {
    for (const wait of waits) {
      try {
        this.send(outgoing);
      } catch (error) {
        // A link that has just come up may not send yet.
        if ((error as NodeJS.ErrnoException).code !== 'ENOBUFS') throw error;
      }
      const end = performance.now() + wait;
      for (let left = wait; left > 0; left = end - performance.now()) {
        const reply = await this.#receive(left);
        if (reply === undefined) break;
        const taken = reply.message === undefined ? undefined : take(reply as Reply);
        if (taken !== undefined) return taken;
      }
    }
    return undefined;
  }

  /** Undefined when time is up; without a message when something else came. */
  async #receive(milliseconds: number): Promise<{ message?: Message; mac: Uint8Array } | undefined> {
    const received = await this.#wire.receive(milliseconds);
    if (received === undefined) return undefined;
    const datagram = decodeDatagram(received.packet);
    const message = datagram && decodeReply(datagram.payload);
    const ours =
      message?.xid === this.#xid && Buffer.compare(message.chaddr.subarray(0, 6), this.#wire.mac) === 0;
    return { mac: received.from, ...(ours && { message }) };
  }
}

export interface Wish {
  /** This address and no other; dotted. */
  only?: string | undefined;
  /** Milliseconds for each attempt. */
  waits?: readonly number[];
  /** Milliseconds in which the network is asked whether somebody has the address already; absent: it is not asked. */
  probe?: number;
}

/**
 * A lease, from the beginning (RFC 2131, section 3.1): the first offer that can be used is taken. An address that somebody has is declined,
 * and another one asked for, without the pause of ten seconds that the RFC asks for: a runtime waits, and asks three times at most. Throws
 * NoLease; errors of the wire.
 */
export async function acquire(wire: Wire, identity: Identity, wish: Wish = {}): Promise<Grant> {
  const { waits = PATIENCE, probe } = wish;
  let refusal = '';
  for (let round = 0; round < ROUNDS; round++) {
    const conversation = new Conversation(wire, identity);
    const offer = await firstOffer(conversation, wish);
    const address = offer.terms.address.split('/', 1)[0] ?? ANY;
    const options = new Map([
      [OPTION.requestedAddress, undotted(address)],
      [OPTION.server, undotted(offer.terms.server)],
    ]);
    const answer = await conversation.ask({ type: TYPE.request, options }, verdict(address), waits);
    if (answer === undefined) {
      throw new NoLease(`server ${offer.terms.server} offered ${address}, and then answered no more`, false);
    }
    if (typeof answer === 'string') {
      refusal = `server ${offer.terms.server} offered ${address}, and then refused it${answer && `: ${answer}`}`;
      continue;
    }
    const owner = probe === undefined ? undefined : await wire.ownerOf(address, probe);
    if (owner === undefined) return answer;
    conversation.send({ type: TYPE.decline, options });
    refusal = `server ${offer.terms.server} granted ${address}, which ${owner} on this network has already`;
  }
  throw new NoLease(refusal, true);
}

async function firstOffer(conversation: Conversation, { only, waits = PATIENCE }: Wish): Promise<Grant> {
  let useless = '';
  const take = ({ message, mac }: Reply): Grant | undefined => {
    if (typeOf(message) !== TYPE.offer) return undefined;
    const terms = termsOf(message);
    if (typeof terms === 'string') useless = `an offer came, but ${terms}`;
    else if (only !== undefined && message.yiaddr !== only) {
      useless = `server ${terms.server} offers ${message.yiaddr}, not ${only}, which was asked for`;
    } else return { terms, serverMac: mac };
    return undefined;
  };
  const options = new Map(only === undefined ? [] : [[OPTION.requestedAddress, undotted(only)]]);
  for (const wait of waits) {
    const offer = await conversation.ask({ type: TYPE.discover, options }, take, [wait]);
    if (offer !== undefined) return offer;
    if (useless !== '') throw new NoLease(useless, true);
  }
  const seconds = waits.reduce((sum, wait) => sum + wait, 0) / 1000;
  throw new NoLease(`no DHCP server answered within ${seconds} s`, false);
}

/** A grant; or the words of a refusal, which may be none. */
const verdict =
  (address: string) =>
  ({ message, mac }: Reply): Grant | string | undefined => {
    if (typeOf(message) === TYPE.nak) return text(message.options.get(OPTION.message));
    if (typeOf(message) !== TYPE.ack) return undefined;
    const terms = termsOf(message);
    if (typeof terms === 'string') return `its acknowledgement is of no use: ${terms}`;
    if (message.yiaddr !== address) return `it acknowledged ${message.yiaddr}`;
    return { terms, serverMac: mac };
  };

export interface Held {
  /** Dotted. */
  address: string;
  server: string;
  serverMac: Uint8Array;
}

/**
 * How a lease is asked for once more (RFC 2131, table 4): `renew` its own server, `rebind` any, `reboot` any, by a client that does not
 * know whether the lease is still its own.
 */
export type Way = 'renew' | 'rebind' | 'reboot';

/** Undefined: nobody answered. A text: the server's refusal. Throws errors of the wire. */
export async function extend(
  wire: Wire,
  identity: Identity,
  held: Held,
  way: Way,
  waits: readonly number[],
): Promise<Grant | string | undefined> {
  const outgoing: Outgoing =
    way === 'reboot'
      ? { type: TYPE.request, options: new Map([[OPTION.requestedAddress, undotted(held.address)]]) }
      : {
          type: TYPE.request,
          ciaddr: held.address,
          ...(way === 'renew' && { server: { address: held.server, mac: held.serverMac } }),
        };
  return await new Conversation(wire, identity).ask(outgoing, verdict(held.address), waits);
}

/** Gives a lease back; nobody answers to that. Throws errors of the wire. */
export function release(wire: Wire, identity: Identity, { address, server, serverMac }: Held): void {
  new Conversation(wire, identity).send({
    type: TYPE.release,
    ciaddr: address,
    options: new Map([[OPTION.server, undotted(server)]]),
    server: { address: server, mac: serverMac },
  });
}
