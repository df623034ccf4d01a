/** A door that keeps the host's own namespace open, with its sockets, from one request to the next. */
import type { Door, Namespace, Op, Replies } from '../netlink/door.ts';

/** More than that many stay open only while they are used. */
const MOST_KEPT = 8;

/**
 * Every open() of the own namespace gets sockets that nobody else uses at that time: a request that waits for the kernel holds
 * nobody up. Sockets need no check before they are used again: they stay in the namespace they were made in, this process never
 * leaves its own, and the native core opens another one where an exchange broke off. Containers' namespaces are not kept.
 */
export class KeptDoor implements Door {
  readonly #door: Door;
  readonly #free: Namespace[] = [];
  #closed = false;

  constructor(door: Door) {
    this.#door = door;
  }

  async open(path?: string): Promise<Namespace> {
    if (path !== undefined) return this.#door.open(path);
    const kept = this.#free.pop() ?? (await this.#door.open());
    return new Borrowed(kept, () => this.#takeBack(kept));
  }

  #takeBack(namespace: Namespace): void {
    if (this.#closed || this.#free.length >= MOST_KEPT) namespace.close();
    else this.#free.push(namespace);
  }

  /** What is in use is closed by its user. */
  close(): void {
    this.#closed = true;
    for (const namespace of this.#free.splice(0)) namespace.close();
  }
}

class Borrowed implements Namespace {
  readonly #namespace: Namespace;
  #giveBack: (() => void) | undefined;

  constructor(namespace: Namespace, giveBack: () => void) {
    this.#namespace = namespace;
    this.#giveBack = giveBack;
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
    return this.#namespace.send(...ops);
  }

  readFile(path: string): Promise<string> {
    return this.#namespace.readFile(path);
  }

  writeFile(path: string, data: string): Promise<void> {
    return this.#namespace.writeFile(path, data);
  }

  close(): void {
    this.#giveBack?.();
    this.#giveBack = undefined;
  }
}
