/** The door, implemented over the native core. */
import type { Door, Family, Namespace, NetlinkError, Op, RawMessage, Replies, Reply } from './door.ts';
import { errnoName, errnoNumber } from './errno.ts';
import { type Refusal, refusal } from './extended-ack.ts';
import { concat, NLMSG_HEADER } from './message.ts';
import { type Answers, loadNative, type Native, type OpenedNamespace, withCode } from './native.ts';
import { LITTLE_ENDIAN } from './writer.ts';

const NLMSG_DONE = 3;
const FAMILIES: Readonly<Record<Family, number>> = { route: 0, netfilter: 1 };

/**
 * The machine's door: every namespace it opens is a real one. Loads the native core at the first open().
 * @param here whether a call may be made on this thread now, which then waits for the kernel: it answers at once, and the way to a
 * worker thread and back takes longer (docs/decisions/0005-calls-on-the-event-loop.md). Slow operations (Op.slow) never are.
 */
export function openDoor(here: () => boolean = () => false): Door {
  return {
    async open(path) {
      const native = loadNative();
      try {
        return new OpenNamespace(native, path, await native.openNamespace(path, here()), here);
      } catch (error) {
        throw withCode(error, `open network namespace ${path ?? 'of this process'}`);
      }
    },
  };
}

class OpenNamespace implements Namespace {
  readonly path: string | undefined;
  readonly identity: string;
  readonly fd: number;
  readonly #native: Native;
  readonly #handle: number;
  readonly #here: () => boolean;
  /** Calls wait here rather than on pool threads. */
  #last: Promise<unknown> = Promise.resolve();
  #underWay = 0;

  constructor(native: Native, path: string | undefined, opened: OpenedNamespace, here: () => boolean) {
    this.#native = native;
    this.#here = here;
    this.#handle = opened.handle;
    this.path = path;
    this.fd = opened.fd;
    this.identity = opened.identity;
  }

  /** The native handle, for handleOf(). */
  static handle(ns: OpenNamespace): number {
    return ns.#handle;
  }

  async send<const T extends readonly Op[]>(...ops: T): Promise<Replies<T>> {
    if (ops.length === 0) return [] as Replies<T>;
    const { bytes, table, tolerated } = pack(ops);
    const answers = await this.#turn(
      'talk netlink',
      (here) => this.#native.send(this.#handle, bytes, table, tolerated, here),
      !ops.some(({ slow }) => slow),
    );
    return unpack(ops, answers) as Replies<T>;
  }

  async readFile(path: string): Promise<string> {
    return await this.#turn(`read ${path}`, (here) => this.#native.readFile(this.#handle, path, here));
  }

  async writeFile(path: string, data: string): Promise<void> {
    await this.#turn(`write '${data.trimEnd()}' to ${path}`, (here) =>
      this.#native.writeFile(this.#handle, path, data, here),
    );
  }

  close(): void {
    this.#native.closeNamespace(this.#handle);
  }

  /** Here and now where that may be and nothing is under way; else after all that is. */
  #turn<T>(what: string, act: (here: boolean) => Promise<T> | T, short = true): Promise<T> | T {
    if (short && this.#underWay === 0 && this.#here()) {
      try {
        return act(true);
      } catch (error) {
        throw withCode(error, what);
      }
    }
    this.#underWay += 1;
    const mine = this.#last.then(async () => {
      try {
        return await act(false);
      } catch (error) {
        throw withCode(error, what);
      } finally {
        this.#underWay -= 1;
      }
    });
    this.#last = mine.catch(() => {});
    return mine;
  }
}

/** The native handle of a namespace that openDoor() opened (for netlink/monitor.ts). Throws TypeError for any other. */
export function handleOf(ns: Namespace): number {
  if (!(ns instanceof OpenNamespace)) throw new TypeError('want a namespace opened by openDoor()');
  return OpenNamespace.handle(ns);
}

/** The arrays of Native.send. */
function pack(ops: readonly Op[]): { bytes: Uint8Array; table: Uint32Array; tolerated: Uint32Array } {
  const table = new Uint32Array(ops.length * 4);
  const tolerated: number[] = [];
  let offset = 0;
  ops.forEach((op, i) => {
    const own = (op.tolerate ?? []).map(errnoNumber);
    table[i * 4] = FAMILIES[op.family];
    table[i * 4 + 1] = offset;
    table[i * 4 + 2] = op.bytes.length;
    table[i * 4 + 3] = own.length;
    tolerated.push(...own);
    offset += op.bytes.length;
  });
  return { bytes: concat(ops.map((op) => op.bytes)), table, tolerated: Uint32Array.from(tolerated) };
}

/** Replies in the order of the ops. Throws the NetlinkError of the last op run where it is not tolerated. */
function unpack(ops: readonly Op[], { data, index, status }: Answers): Reply<unknown>[] {
  const view = new DataView(data.buffer, data.byteOffset, data.length);
  const messages: RawMessage[][] = ops.map(() => []);
  const refusals = new Map<number, Refusal>();
  for (let i = 0; i < index.length; i += 4) {
    const op = index[i] as number;
    const message = index[i + 1] as number;
    const offset = index[i + 2] as number;
    const length = index[i + 3] as number;
    const type = view.getUint16(offset + 4, LITTLE_ENDIAN);
    const flags = view.getUint16(offset + 6, LITTLE_ENDIAN);
    const payload = data.subarray(offset + NLMSG_HEADER, offset + length);
    if (type <= NLMSG_DONE) refusals.set(op, { message, type, flags, payload });
    else messages[op]?.push({ type, flags, payload });
  }
  return ops.flatMap((op, at): Reply<unknown>[] => {
    const number = status[at];
    if (number === undefined) return [];
    if (number === 0) return [{ ok: true, value: op.decode(messages[at] ?? []) }];
    const errno = errnoName(number);
    if (!op.tolerate?.includes(errno)) throw refusal(op, at, errno, refusals.get(at));
    return [new Tolerated(op, at, errno, refusals.get(at))];
  });
}

/** An error that is an answer: made only where somebody reads it, which is rare and an error's making slow. */
class Tolerated {
  readonly ok = false;
  readonly #make: () => NetlinkError;
  #made: NetlinkError | undefined;

  constructor(op: Op, at: number, errno: string, answer: Refusal | undefined) {
    this.#make = () => refusal(op, at, errno, answer);
  }

  get error(): NetlinkError {
    this.#made ??= this.#make();
    return this.#made;
  }
}

/** Makes a network namespace and binds it to `pin`, a file that must not exist. Throws an Error with `code`. */
export async function createNamespace(pin: string): Promise<void> {
  try {
    await loadNative().createNamespace(pin);
  } catch (error) {
    throw withCode(error, `make network namespace ${pin}`);
  }
}

/** Unbinds and removes a pin; nothing happens where there is none. Throws an Error with `code`. */
export async function removeNamespace(pin: string): Promise<void> {
  try {
    await loadNative().removeNamespace(pin);
  } catch (error) {
    throw withCode(error, `remove network namespace ${pin}`);
  }
}
