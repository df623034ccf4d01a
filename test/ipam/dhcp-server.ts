/** A DHCP server in memory, and the wire to it: for tests of the client without a kernel. */
import type { Wire } from '../../ipam/dhcp/client.ts';
import { BROADCAST, encodeDatagram } from '../../ipam/dhcp/datagram.ts';
import type { DhcpHost } from '../../ipam/dhcp/dhcp.ts';
import {
  dotted,
  encodeRequest,
  type MessageType,
  OPTION,
  TYPE,
  uint32,
  undotted,
} from '../../ipam/dhcp/message.ts';

export const MAC = Uint8Array.of(0x0a, 0x58, 10, 7, 0, 2);
export const SERVER_MAC = Uint8Array.of(0x0a, 0x58, 10, 7, 0, 1);
export const SERVER = '10.7.0.1';

/** What a client sent, read without its own code. */
export interface Asked {
  type: number;
  ciaddr: string;
  from: string;
  to: string;
  toMac: string;
  options: Map<number, Uint8Array>;
  /** The address that option 50 has. */
  requested: string | undefined;
  xid: number;
}

export interface Answer {
  type: MessageType;
  yiaddr?: string;
  options?: [number, Uint8Array][];
  /** In place of the client's. */
  xid?: number;
  chaddr?: Uint8Array;
}

/** Undefined: no answer. */
export type Behaviour = (asked: Asked) => Answer | undefined;

export const grantOf = (seconds = 120, more: [number, Uint8Array][] = []): [number, Uint8Array][] => [
  [OPTION.subnetMask, undotted('255.255.255.0')],
  [OPTION.leaseTime, uint32(seconds)],
  [OPTION.routers, undotted(SERVER)],
  ...more,
];

/** Gives everybody the same address, or the one that is asked for. */
export const generous =
  (address = '10.7.0.50', seconds = 120): Behaviour =>
  ({ type, requested, ciaddr }) => {
    const own = requested ?? (ciaddr === '0.0.0.0' ? address : ciaddr);
    if (type === TYPE.discover) return { type: TYPE.offer, yiaddr: own, options: grantOf(seconds) };
    if (type === TYPE.request) return { type: TYPE.ack, yiaddr: own, options: grantOf(seconds) };
    return undefined;
  };

export function reply(
  asked: Pick<Asked, 'xid'>,
  { type, yiaddr = '0.0.0.0', ...answer }: Answer,
): Uint8Array {
  const options = new Map([
    [OPTION.messageType, Uint8Array.of(type)],
    [OPTION.server, undotted(SERVER)],
    ...(answer.options ?? []),
  ]);
  const { xid = asked.xid, chaddr = MAC } = answer;
  const bytes = encodeRequest({ xid, secs: 0, ciaddr: '0.0.0.0', chaddr, options });
  bytes[0] = 2;
  bytes.set(undotted(yiaddr), 16);
  return bytes;
}

/** As it comes from the network, to the client's port. */
export function toClient(payload: Uint8Array): Uint8Array {
  const packet = encodeDatagram(SERVER, BROADCAST, payload);
  packet.set([0, 67, 0, 68], 20);
  return packet;
}

export function read(packet: Uint8Array, toMac: Uint8Array): Asked {
  const message = packet.subarray(28);
  const options = new Map<number, Uint8Array>();
  for (let at = 240; message[at] !== 255; ) {
    const [code = 0, length = 0] = message.subarray(at, at + 2);
    options.set(code, message.slice(at + 2, at + 2 + length));
    at += 2 + length;
  }
  const requested = options.get(OPTION.requestedAddress);
  return {
    type: options.get(OPTION.messageType)?.[0] ?? 0,
    ciaddr: dotted(message, 12),
    from: dotted(packet, 12),
    to: dotted(packet, 16),
    toMac: Buffer.from(toMac).toString('hex'),
    options,
    requested: requested && dotted(requested),
    xid: new DataView(message.buffer, message.byteOffset).getUint32(4),
  };
}

/** A network with one server, whose behaviour can be changed; all that was asked is kept. */
export class FakeNetwork {
  behaviour: Behaviour;
  readonly asked: Asked[] = [];
  sandbox = '4:1';
  /** Seconds since boot. */
  time = 1000;
  renewed = true;
  /** MACs of others, by their addresses. */
  readonly others = new Map<string, string>();
  /** Fails to open with this. */
  broken: Error | undefined;

  constructor(behaviour: Behaviour = generous()) {
    this.behaviour = behaviour;
  }

  get host(): DhcpHost {
    return {
      open: async () => this.wire(),
      isRenewed: () => this.renewed,
      now: () => this.time,
      boot: () => 'boot-1',
      waits: [5, 5],
    };
  }

  /** What was asked, as `type ciaddr requested to`. */
  get said(): string[] {
    const words = Object.entries(TYPE);
    return this.asked.map(({ type, ciaddr, requested = '-', to }) => {
      const [word] = words.find(([, number]) => number === type) ?? [];
      return `${word} ${ciaddr} ${requested} ${to}`;
    });
  }

  wire(): Wire {
    if (this.broken) throw this.broken;
    const arrived: Uint8Array[] = [];
    return {
      mac: MAC,
      sandbox: this.sandbox,
      send: (packet, to) => {
        const asked = read(packet, to);
        this.asked.push(asked);
        const answer = this.behaviour(asked);
        if (answer) arrived.push(toClient(reply(asked, answer)));
      },
      receive: async () => {
        const packet = arrived.shift();
        return packet && { packet, from: SERVER_MAC };
      },
      ownerOf: async (address) => this.others.get(address),
      close: () => {},
    };
  }
}
