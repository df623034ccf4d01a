/** The native core (netlink/native, C++): its functions as they are, and how it is found. */
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { errnoName } from './errno.ts';

/**
 * All functions throw TypeError or RangeError for arguments that do not fit; system errors are rejections, or thrown where no promise
 * is returned. `here`: all of it on the calling thread, at once, instead of on a worker thread; then there is no promise.
 */
export interface Native {
  openNamespace(path?: string): Promise<OpenedNamespace>;
  openNamespace(path: string | undefined, here: boolean): Promise<OpenedNamespace> | OpenedNamespace;
  closeNamespace(handle: number): void;
  createNamespace(pin: string): Promise<void>;
  removeNamespace(pin: string): Promise<void>;
  readFile(handle: number, path: string): Promise<string>;
  readFile(handle: number, path: string, here: boolean): Promise<string> | string;
  writeFile(handle: number, path: string, data: string): Promise<void>;
  writeFile(handle: number, path: string, data: string, here: boolean): Promise<void> | void;
  /**
   * `ops` has four words for each request: family (0 route, 1 netfilter), offset and length in `bytes`, and how many words of
   * `tolerated` (errno numbers) are its own.
   */
  send(handle: number, bytes: Uint8Array, ops: Uint32Array, tolerated: Uint32Array): Promise<Answers>;
  send(
    handle: number,
    bytes: Uint8Array,
    ops: Uint32Array,
    tolerated: Uint32Array,
    here: boolean,
  ): Promise<Answers> | Answers;
  /** A descriptor whose close releases the lock, or -1 when somebody else holds it. */
  tryLock(path: string): number;
  waitLock(path: string): Promise<number>;
  /** Small files: netlink/files.ts says what each of these does. */
  lookAtFolder(path: string): FolderLook | undefined;
  dateFolder(path: string, accessed: number, modified: number): FolderLook;
  overwriteFile(path: string, text: string, mode: number): void;
  claimName(spare: string, folder: string, names: readonly string[], text: string): number;
  retireFile(path: string, spare: string): void;
  replaceFile(path: string, temporary: string, spare: string, text: string): void;
  openMonitor(
    handle: number,
    family: number,
    groups: Uint32Array,
    listener: (bytes: Uint8Array | undefined, errno: number) => void,
    /** NETLINK_ROUTE only: numbers of messages; others do not even wake the listener. Absent: all. */
    types?: Uint32Array,
  ): Promise<number>;
  closeMonitor(id: number): void;
  /**
   * A Unix socket that takes a request from each connection, as agent/protocol.ts has it. `limits`: callers at once, bytes of all requests,
   * bytes of one, milliseconds of patience. `why` is 0 for a request, else an index of ODDITIES (netlink/listener.ts), with a reason.
   */
  openListener(
    path: string,
    identity: string,
    limits: Uint32Array,
    listener: (why: number, caller: number, wordsOrReason: string, input: string, pid: number) => void,
  ): number;
  /** Callers that are served still get their answers. */
  closeListener(id: number): void;
  /** A frame; `kind` and `status` are bytes, 256 is no status. With `last` the connection is closed when all is sent. */
  writeCaller(id: number, caller: number, kind: number, status: number, text: string, last: boolean): void;
  dropCaller(id: number, caller: number): void;
  callerIsGone(id: number, caller: number): boolean;
  /** `dev:inode ` of what a path is; empty where nothing can be seen. */
  placeOf(path: string): string;
  /** One datagram to a Unix socket; a path that begins with '@' is an abstract name. */
  sendDatagram(path: string, text: string): void;
  /** ETHTOOL_STXCSUM with a value, else ETHTOOL_GTXCSUM. */
  checksumOffload(handle: number, link: string, value?: boolean): Promise<boolean>;
  /**
   * A socket of any kind (socket(2)), never blocking; `room` is how many bytes of a datagram are kept. The listener gets what
   * recvmsg(2) gives: bytes, sender's address, control messages, the whole length; or an errno.
   */
  openSocket(
    handle: number,
    domain: number,
    type: number,
    protocol: number,
    room: number,
    listener: (
      bytes: Uint8Array | undefined,
      address: Uint8Array | undefined,
      control: Uint8Array | undefined,
      length: number,
      errno: number,
    ) => void,
  ): Promise<number>;
  closeSocket(id: number): void;
  bindSocket(id: number, address: Uint8Array): void;
  /** A connection is then under way. */
  connectSocket(id: number, address: Uint8Array): void;
  sendSocket(id: number, bytes: Uint8Array, address?: Uint8Array): void;
  socketName(id: number): Uint8Array;
  setSocketOption(id: number, level: number, name: number, value: Uint8Array): void;
  getSocketOption(id: number, level: number, name: number, size: number): Uint8Array;
  /** A classic BPF program: struct sock_filter, one after the other. */
  filterSocket(id: number, program: Uint8Array): void;
  /** What bind(2) says of an address of `type` (SOCK_STREAM, SOCK_DGRAM): 0 or an errno. Nothing stays bound. `netns`: descriptor. */
  tryPort(netns: number, type: number, address: Uint8Array): number;
  /** A descriptor of a tracefs that is mounted nowhere. */
  openTracefs(): number;
  /** Nanoseconds. */
  clocks(): { realtime: bigint; monotonic: bigint };
  /** `netns`: descriptor of the namespace; `owner` and `group` are numbers. */
  createTap(netns: number, link: string, multiQueue: boolean, owner?: number, group?: number): Promise<void>;
  /** Gives freed memory back to the system (malloc_trim(3)). */
  trimMemory(): void;
  /** Ends the process here and now (_exit(2)): no handler runs, no thread is waited for. */
  endProcess(status: number): never;
}

/** What tells whether a folder is still the same one, and unchanged. */
export interface FolderLook {
  /** Device and inode. */
  identity: string;
  /** Times of its last change: whoever makes, renames or removes a file in it changes them. */
  stamp: string;
}

export interface OpenedNamespace {
  handle: number;
  fd: number;
  identity: string;
}

export interface Answers {
  /** Whole messages, each at a multiple of four bytes. */
  data: Uint8Array;
  /** Four words for each message: op, message within the op, offset, length. */
  index: Uint32Array;
  /** For each op that was run, 0 or an errno. */
  status: Int32Array;
}

/**
 * Loads the addon: `weft-core.node` beside the running file (as installed), else what `node-gyp rebuild` made.
 * A second call costs nothing. Throws an Error with code ENOPKG (there is none) or ELIBBAD (it does not fit this system).
 */
export const loadNative = once(load);

/** Looking for the file again would cost more than most of what is then called. */
function once<T>(make: () => T): () => T {
  let made: { value: T } | undefined;
  return () => {
    made ??= { value: make() };
    return made.value;
  };
}

function load(): Native {
  const candidates = ['weft-core.node', '../build/Release/weft.node'].map((name) =>
    fileURLToPath(new URL(name, import.meta.url)),
  );
  const found = candidates.find((path) => existsSync(path));
  if (found === undefined) {
    const message = `the native core is missing: neither ${candidates.join(' nor ')} exists; install the whole folder`;
    throw Object.assign(new Error(message), { code: 'ENOPKG' });
  }
  try {
    return createRequire(import.meta.url)(found) as Native;
  } catch (cause) {
    const [words = ''] = (cause as Error).message.split('\n');
    const message = `the native core cannot be loaded: ${words}; install that of this system`;
    throw Object.assign(new Error(message, { cause }), { code: 'ELIBBAD' });
  }
}

/** A native system error as Node's own look: `code` with the errno's name, `what` in front of the message. */
export function withCode(error: unknown, what: string): unknown {
  if (!(error instanceof Error) || !('errno' in error)) return error;
  const { errno, code = errnoName(Number(errno)) } = error as Error & { errno: number; code?: string };
  return Object.assign(new Error(`cannot ${what}: ${code} (${error.message})`, { cause: error }), {
    code,
    errno,
  });
}
