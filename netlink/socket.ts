/** Sockets inside a namespace, of kinds that Node does not offer: packet(7), raw(7), and tcp(7) and udp(7) from where a container is. */
import { AF_INET, AF_INET6, formatIp, parseIp } from './codec.ts';
import type { Namespace } from './door.ts';
import { errnoName } from './errno.ts';
import { handleOf } from './namespace.ts';
import { loadNative, withCode } from './native.ts';
import { LITTLE_ENDIAN } from './writer.ts';

/** socket(2); the numbers of Linux on all machines that Node runs on. */
export const AF_PACKET = 17;
export const SOCK_STREAM = 1;
export const SOCK_DGRAM = 2;
export const SOCK_RAW = 3;

/** What came in. */
export interface Received {
  bytes: Uint8Array;
  /** The sender, as the kind of socket has it. */
  address: Uint8Array;
  /** Of the whole datagram, which may be longer than what was kept. */
  length: number;
  controls: Control[];
}

/** A control message (cmsg(3)). */
export interface Control {
  level: number;
  type: number;
  data: Uint8Array;
}

export interface SocketHooks {
  received(message: Received): void;
  /** The network said no, or the connection is over: `ECONNREFUSED`. */
  failed(errno: string): void;
}

export interface SocketKind {
  domain: number;
  type: number;
  protocol: number;
  /** Bytes that are kept of a datagram; 65535 where not given. */
  room?: number;
}

/** An open socket; it keeps the process alive until closed. All methods throw an Error with `code`. */
export class InsideSocket {
  readonly #id: number;

  private constructor(id: number) {
    this.#id = id;
  }

  static async open(ns: Namespace, kind: SocketKind, hooks: SocketHooks): Promise<InsideSocket> {
    const { domain, type, protocol, room = 65_535 } = kind;
    try {
      const id = await loadNative().openSocket(
        ...([handleOf(ns), domain, type, protocol, room] as const),
        (bytes, address, control, length, errno) => {
          if (bytes === undefined || address === undefined || control === undefined)
            hooks.failed(errnoName(errno));
          else hooks.received({ bytes, address, length, controls: readControls(control) });
        },
      );
      return new InsideSocket(id);
    } catch (error) {
      throw withCode(error, `open a socket in ${ns.path ?? 'this network namespace'}`);
    }
  }

  bind(address: Uint8Array): void {
    call('bind a socket', () => loadNative().bindSocket(this.#id, address));
  }

  /** Datagrams then come only from there. A connection is begun; how it goes is seen on the wire and by `failed`. */
  connect(address: Uint8Array): void {
    call('connect', () => loadNative().connectSocket(this.#id, address));
  }

  send(bytes: Uint8Array, to?: Uint8Array): void {
    call('send', () => loadNative().sendSocket(this.#id, bytes, to));
  }

  /** Its own address, as bind() takes it. */
  name(): Uint8Array {
    return call('ask a socket for its address', () => loadNative().socketName(this.#id));
  }

  setOption(level: number, name: number, value: number | Uint8Array): void {
    const bytes = typeof value === 'number' ? new Uint8Array(Int32Array.of(value).buffer) : value;
    call('set an option of a socket', () => loadNative().setSocketOption(this.#id, level, name, bytes));
  }

  option(level: number, name: number, size: number): Uint8Array {
    return call('read an option of a socket', () =>
      loadNative().getSocketOption(this.#id, level, name, size),
    );
  }

  /** Classic BPF: struct sock_filter, one after the other. */
  filter(program: Uint8Array): void {
    call('filter a socket', () => loadNative().filterSocket(this.#id, program));
  }

  /** Idempotent. */
  close(): void {
    loadNative().closeSocket(this.#id);
  }
}

function call<T>(what: string, act: () => T): T {
  try {
    return act();
  } catch (error) {
    throw withCode(error, what);
  }
}

/** struct cmsghdr: a size_t, level and type, then data; each at a multiple of the machine's word (64 bits wherever Node 20 runs). */
function readControls(bytes: Uint8Array): Control[] {
  const HEADER = 16;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const found: Control[] = [];
  for (let at = 0; at + HEADER <= bytes.length; ) {
    const length = view.getUint32(LITTLE_ENDIAN ? at : at + 4, LITTLE_ENDIAN);
    if (length < HEADER || at + length > bytes.length) break;
    const level = view.getInt32(at + 8, LITTLE_ENDIAN);
    const type = view.getInt32(at + 12, LITTLE_ENDIAN);
    found.push({ level, type, data: bytes.subarray(at + HEADER, at + length) });
    at += (length + 7) & ~7;
  }
  return found;
}

/** struct sockaddr_in or sockaddr_in6; port and scope (index of a link) 0 where not given. Throws RangeError for what is no address. */
export function inetAddress(address: string, port = 0, scope = 0): Uint8Array {
  const ip = parseIp(address);
  const bytes = new Uint8Array(ip.length === 4 ? 16 : 28);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, ip.length === 4 ? AF_INET : AF_INET6, LITTLE_ENDIAN);
  view.setUint16(2, port);
  bytes.set(ip, ip.length === 4 ? 4 : 8);
  if (ip.length === 16) view.setUint32(24, scope, LITTLE_ENDIAN);
  return bytes;
}

/** Reads what inetAddress() writes. */
export function readInetAddress(bytes: Uint8Array): { address: string; port: number } {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const isV4 = view.getUint16(0, LITTLE_ENDIAN) === AF_INET;
  const ip = isV4 ? bytes.subarray(4, 8) : bytes.subarray(8, 24);
  return { address: formatIp(ip), port: view.getUint16(2) };
}

/** struct sockaddr_ll: all packets of a protocol (ETH_P_*) on a link, by index; 0 for all links. */
export function packetAddress(protocol: number, link = 0): Uint8Array {
  const bytes = new Uint8Array(20);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, AF_PACKET, LITTLE_ENDIAN);
  view.setUint16(2, protocol);
  view.setInt32(4, link, LITTLE_ENDIAN);
  return bytes;
}

/** Where a packet was seen: packet(7). */
export interface PacketSender {
  protocol: number;
  /** Index of the link. */
  link: number;
  /** ARPHRD_*. */
  hardware: number;
  /** 0 to us, 1 broadcast, 2 multicast, 3 to another host, 4 outgoing. */
  type: number;
}

export function readPacketAddress(bytes: Uint8Array): PacketSender {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  return {
    protocol: view.getUint16(2),
    link: view.getInt32(4, LITTLE_ENDIAN),
    hardware: view.getUint16(8, LITTLE_ENDIAN),
    type: view.getUint8(10),
  };
}

/**
 * Whether a program of that namespace holds a port: one that listens, or (UDP) any socket. Asks by binding a socket for the moment, which
 * costs the same however many sockets there are; what cannot be asked (no such family) counts as free. Throws an Error with `code`.
 * @param address what inetAddress() makes; of IPv6 the any address means no IPv4
 */
export function isPortHeld(
  { fd }: Namespace,
  type: typeof SOCK_STREAM | typeof SOCK_DGRAM,
  address: Uint8Array,
): boolean {
  const number = call('try a port', () => loadNative().tryPort(fd, type, address));
  return number !== 0 && errnoName(number) === 'EADDRINUSE';
}

/** The machine's clocks in nanoseconds, read one after the other. */
export function clocks(): { realtime: bigint; monotonic: bigint } {
  return loadNative().clocks();
}

/** A descriptor of a tracefs that is mounted nowhere; its files are below `/proc/self/fd/<it>`. Throws an Error with `code`. */
export function openTracefs(): number {
  return call('open the files of kernel tracing', () => loadNative().openTracefs());
}
