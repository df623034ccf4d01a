/** A door that counts how long the kernel is waited for: for one request at a time. */
import type { Door, Namespace, Op, Replies } from '../netlink/door.ts';

/**
 * Time in native calls: opening namespaces, netlink, sysctl. It is measured around them, so it has the way to the worker
 * thread and back. What programs (nft, delegates) take is not in it.
 */
export class TimedDoor implements Door {
  readonly #door: Door;
  /** Milliseconds; calls that run side by side count once. */
  #spent = 0;
  #running = 0;
  #since = 0;

  constructor(door: Door) {
    this.#door = door;
  }

  /** Milliseconds since the last reset. */
  get spent(): number {
    return this.#spent;
  }

  /** Only while nothing is under way. */
  reset(): void {
    this.#spent = 0;
  }

  async open(path?: string): Promise<Namespace> {
    return new TimedNamespace(await this.timed(this.#door.open(path)), this);
  }

  /** Counts the time until `call` is settled. */
  async timed<T>(call: Promise<T>): Promise<T> {
    if (this.#running++ === 0) this.#since = performance.now();
    try {
      return await call;
    } finally {
      if (--this.#running === 0) this.#spent += performance.now() - this.#since;
    }
  }
}

class TimedNamespace implements Namespace {
  readonly #namespace: Namespace;
  readonly #clock: TimedDoor;

  constructor(namespace: Namespace, clock: TimedDoor) {
    this.#namespace = namespace;
    this.#clock = clock;
  }

  get path(): string | undefined {
    return this.#namespace.path;
  }

  get identity(): string {
    return this.#namespace.identity;
  }

  get fd(): number {
    return this.#namespace.fd;
  }

  send<const T extends readonly Op[]>(...ops: T): Promise<Replies<T>> {
    return this.#clock.timed(this.#namespace.send(...ops));
  }

  readFile(path: string): Promise<string> {
    return this.#clock.timed(this.#namespace.readFile(path));
  }

  writeFile(path: string, data: string): Promise<void> {
    return this.#clock.timed(this.#namespace.writeFile(path, data));
  }

  close(): void {
    this.#namespace.close();
  }
}
