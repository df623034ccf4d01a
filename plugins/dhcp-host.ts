/** What dhcp needs of this host (ipam/dhcp/dhcp.ts): packets on a container's link, clock and locks. */
import { uptime } from 'node:os';
import { CniError, ErrorCode } from '../cni/errors.ts';
import { arpOwner, arpProbe } from '../ipam/dhcp/arp.ts';
import type { Wire } from '../ipam/dhcp/client.ts';
import { CLIENT_PORT } from '../ipam/dhcp/datagram.ts';
import type { DhcpHost } from '../ipam/dhcp/dhcp.ts';
import { renewedLock } from '../ipam/dhcp/store.ts';
import type { Namespace } from '../netlink/door.ts';
import { getLink, setLink } from '../netlink/link.ts';
import { tryLock } from '../netlink/lock.ts';
import { openDoor } from '../netlink/namespace.ts';
import {
  AF_PACKET,
  InsideSocket,
  inetAddress,
  packetAddress,
  type Received,
  readPacketAddress,
  SOCK_DGRAM,
} from '../netlink/socket.ts';
import { LITTLE_ENDIAN } from '../netlink/writer.ts';
import { bootId } from './record.ts';

const ETH_P_IP = 0x0800;
const ETH_P_ARP = 0x0806;
const AF_INET = 2;
const [SOL_SOCKET, SO_REUSEADDR, SO_BINDTODEVICE] = [1, 2, 25];
/** Packets that nobody took yet; the rest is dropped. */
const MOST_WAITING = 64;
/** A DHCP message, and IPv4 and UDP around it. */
const ROOM = 2048;

/** This host, for IPAM in a plugin's process and for the agent that renews. */
export function dhcpHost(): DhcpHost {
  return {
    open: openWire,
    isRenewed(folder) {
      const release = tryLock(renewedLock(folder));
      release?.();
      return release === undefined;
    },
    // Of the whole boot, sleep included (proc(5), /proc/uptime).
    now: uptime,
    boot: bootId,
  };
}

async function openWire(netns: string, ifname: string): Promise<Wire> {
  const ns = await openDoor().open(netns);
  try {
    const [found] = await ns.send(getLink(ifname));
    if (!found.ok) throw found.error;
    const { index, mac, up } = found.value;
    if (mac === undefined) throw new CniError(ErrorCode.kernel, `${ifname} has no hardware address`);
    if (!up) await ns.send(setLink(index, { up: true }));
    return await LinkWire.open(ns, index, Buffer.from(mac.replaceAll(':', ''), 'hex'), ifname);
  } finally {
    ns.close();
  }
}

class LinkWire implements Wire {
  readonly mac: Uint8Array;
  readonly sandbox: string;
  readonly #netns: string | undefined;
  readonly #link: number;
  readonly #sockets: InsideSocket[] = [];
  #arrived: { packet: Uint8Array; from: Uint8Array }[] = [];
  #wake: (() => void) | undefined;

  private constructor(ns: Namespace, link: number, mac: Uint8Array) {
    this.mac = mac;
    this.sandbox = ns.identity;
    this.#netns = ns.path;
    this.#link = link;
  }

  static async open(ns: Namespace, link: number, mac: Uint8Array, ifname: string): Promise<LinkWire> {
    const wire = new LinkWire(ns, link, mac);
    try {
      // Without a protocol nothing arrives before filter and link are set (packet(7)).
      const kind = { domain: AF_PACKET, type: SOCK_DGRAM, protocol: 0, room: ROOM };
      const packets = await InsideSocket.open(ns, kind, {
        received: (message) => wire.#take(message),
        failed: () => {},
      });
      wire.#sockets.push(packets);
      packets.filter(toPort(CLIENT_PORT));
      packets.bind(packetAddress(ETH_P_IP, link));
      await wire.#keepQuiet(ns, ifname);
      return wire;
    } catch (error) {
      wire.close();
      throw error;
    }
  }

  send(packet: Uint8Array, to: Uint8Array): void {
    this.#sockets[0]?.send(packet, addressed(packetAddress(ETH_P_IP, this.#link), to));
  }

  async receive(milliseconds: number): Promise<{ packet: Uint8Array; from: Uint8Array } | undefined> {
    if (this.#arrived.length === 0 && this.#sockets.length > 0) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, milliseconds);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
      this.#wake = undefined;
    }
    if (this.#sockets.length === 0) throw new Error('broken off');
    return this.#arrived.shift();
  }

  /** Asks twice: a frame may be lost. */
  async ownerOf(address: string, milliseconds: number): Promise<string | undefined> {
    let found: (mac: string | undefined) => void = () => {};
    const owner = new Promise<string | undefined>((resolve) => {
      found = resolve;
    });
    const socket = await this.#openForArp((bytes) => {
      const mac = arpOwner(bytes, this.mac, address);
      if (mac !== undefined) found(mac);
    });
    const ask = () => {
      try {
        socket.send(arpProbe(this.mac, address), this.#toAll(ETH_P_ARP));
      } catch {
        // Whether the link is gone shows where its address is set.
      }
    };
    // What has come by then is read first, however long this process had no turn.
    const silent = () => void setImmediate(() => found(undefined));
    const timers = [setTimeout(ask, milliseconds / 2), setTimeout(silent, milliseconds)];
    try {
      ask();
      return await owner;
    } finally {
      for (const timer of timers) clearTimeout(timer);
      socket.close();
    }
  }

  async #openForArp(received: (bytes: Uint8Array) => void): Promise<InsideSocket> {
    const ns = await openDoor().open(this.#netns);
    try {
      const kind = { domain: AF_PACKET, type: SOCK_DGRAM, protocol: 0, room: 64 };
      const socket = await InsideSocket.open(ns, kind, {
        received: ({ bytes }) => received(bytes),
        failed: () => {},
      });
      this.#sockets.push(socket);
      socket.bind(packetAddress(ETH_P_ARP, this.#link));
      return socket;
    } finally {
      ns.close();
    }
  }

  #toAll(protocol: number): Uint8Array {
    return addressed(packetAddress(protocol, this.#link), new Uint8Array(6).fill(0xff));
  }

  close(): void {
    for (const socket of this.#sockets.splice(0)) socket.close();
    this.#wake?.();
  }

  /** Who answers to a port that nobody listens to is told so, once the link has its address; a server may take that for a failure. */
  async #keepQuiet(ns: Namespace, ifname: string): Promise<void> {
    const deaf = await InsideSocket.open(
      ns,
      { domain: AF_INET, type: SOCK_DGRAM, protocol: 0, room: 1 },
      { received: () => {}, failed: () => {} },
    );
    this.#sockets.push(deaf);
    try {
      deaf.setOption(SOL_SOCKET, SO_REUSEADDR, 1);
      deaf.setOption(SOL_SOCKET, SO_BINDTODEVICE, new TextEncoder().encode(`${ifname}\0`));
      deaf.bind(inetAddress('0.0.0.0', CLIENT_PORT));
    } catch {
      // Somebody in the container listens there.
    }
  }

  #take({ bytes, address }: Received): void {
    if (this.#arrived.length >= MOST_WAITING) return;
    const { hardware, type } = readPacketAddress(address);
    const OUTGOING = 4;
    if (hardware !== 1 || type === OUTGOING) return;
    this.#arrived.push({ packet: bytes, from: address.slice(12, 12 + (address[11] ?? 0)) });
    this.#wake?.();
  }
}

/** struct sockaddr_ll with a hardware address. */
function addressed(address: Uint8Array, mac: Uint8Array): Uint8Array {
  address[11] = mac.length;
  address.set(mac, 12);
  return address;
}

/** A BPF program: whole UDP datagrams over IPv4 to one port; offsets are from the IP header's start. */
function toPort(port: number): Uint8Array {
  const UDP = 17;
  // biome-ignore format: code, where to go on if so and if not, value: struct sock_filter
  const program: [code: number, yes: number, no: number, value: number][] = [
    [0x30, 0, 0, 9],          // A = protocol
    [0x15, 0, 6, UDP],
    [0x28, 0, 0, 6],          // A = flags and fragment's offset
    [0x45, 4, 0, 0x3fff],
    [0xb1, 0, 0, 0],          // X = length of the header
    [0x48, 0, 0, 2],          // A = destination port
    [0x15, 0, 1, port],
    [0x06, 0, 0, 0xffffffff],
    [0x06, 0, 0, 0],
  ];
  return Buffer.concat(
    program.map(([code, yes, no, value]) => {
      const words = new Uint8Array(8);
      const view = new DataView(words.buffer);
      view.setUint16(0, code, LITTLE_ENDIAN);
      words.set([yes, no], 2);
      view.setUint32(4, value, LITTLE_ENDIAN);
      return words;
    }),
  );
}
