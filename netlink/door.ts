/**
 * The kernel's door: what the rest of weft sees of netlink. Families (netlink/link.ts, address.ts, route.ts, ...) make
 * `Op`s, a `Namespace` sends them. No other module knows about sockets, sequence numbers or native code.
 */

/** Which netlink socket an operation goes to: NETLINK_ROUTE or NETLINK_NETFILTER. */
export type Family = 'route' | 'netfilter';

/** One answer of the kernel, header taken off. */
export interface RawMessage {
  type: number;
  flags: number;
  payload: Uint8Array;
}

/** One request, ready to send (or, on NETLINK_NETFILTER, one begin..end batch of nf_tables), and how to read its answer. */
export interface Op<T = unknown> {
  readonly family: Family;
  /** Header included; sequence numbers and port ids are filled in by the native side. */
  readonly bytes: Uint8Array;
  /** For error messages and logs: `create veth vethab12 with peer eth0`. */
  readonly what: string;
  /** errno names that are an answer rather than a failure: the run goes on. */
  readonly tolerate?: readonly string[];
  /** The kernel takes its time, with the number of links for one: sent by a worker thread where others wait for this one. */
  readonly slow?: boolean;
  decode(messages: readonly RawMessage[]): T;
  /** The attribute at a byte offset into the op's n-th message, for error messages. */
  nameAt?(message: number, offset: number): string | undefined;
}

/** What came back for one Op: its decoded value, or the tolerated error. */
export type Reply<T> = { ok: true; value: T } | { ok: false; error: NetlinkError };

export type Replies<T extends readonly Op[]> = {
  -readonly [K in keyof T]: T[K] extends Op<infer V> ? Reply<V> : never;
};

/** The kernel said no. */
export class NetlinkError extends Error {
  override readonly name = 'NetlinkError';
  /** `EEXIST`. */
  readonly errno: string;
  /** The kernel's own words (extended acknowledgement), and the attribute at fault, where it gave them. */
  readonly kernelMessage: string | undefined;
  readonly attribute: string | undefined;
  readonly what: string;
  /** Which op of the run. */
  readonly index: number;

  constructor(fields: {
    errno: string;
    what: string;
    index: number;
    kernelMessage?: string;
    attribute?: string;
  }) {
    const words = [fields.kernelMessage, fields.attribute && `attribute ${fields.attribute}`].filter(Boolean);
    super(`cannot ${fields.what}: ${fields.errno}${words.length > 0 ? ` (${words.join(', ')})` : ''}`);
    this.errno = fields.errno;
    this.what = fields.what;
    this.index = fields.index;
    this.kernelMessage = fields.kernelMessage;
    this.attribute = fields.attribute;
  }
}

/**
 * A network namespace held open: its netlink sockets were opened inside it and are used from outside;
 * the event-loop thread never changes namespace.
 */
export interface Namespace {
  /** Undefined for the caller's own. */
  readonly path: string | undefined;
  /** `dev:inode`; equal for two paths of one namespace. */
  readonly identity: string;
  /** Open file descriptor of the namespace, for IFLA_NET_NS_FD. Valid until close(). */
  readonly fd: number;
  /**
   * Sends the operations in order, in one native call on a worker thread; stops at the first error that its op does not tolerate
   * and throws it as NetlinkError with the op's index. Interrupted dumps are repeated, a bounded number of times.
   */
  send<const T extends readonly Op[]>(...ops: T): Promise<Replies<T>>;
  /** Reads or writes one file as seen from inside (sysctl). Throws an Error with `code` (ENOENT, EACCES, ...). */
  readFile(path: string): Promise<string>;
  writeFile(path: string, data: string): Promise<void>;
  /** Idempotent. */
  close(): void;
}

export interface Door {
  /**
   * Opens a network namespace by path, or the caller's own. Never blocks on a FIFO and never follows into something that is no
   * namespace: throws an Error with code ENOENT, ENOTNS (not a network namespace) or another errno.
   */
  open(path?: string): Promise<Namespace>;
}
