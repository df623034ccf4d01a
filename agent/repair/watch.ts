/**
 * Listens to the kernel's notifications, and closes its ears for a moment when they come thick and fast: an agent that serves fifty ADDs a
 * second would wake up a thousand times for them. What happens meanwhile is seen by the look that follows.
 */
import type { Namespace } from '../../netlink/door.ts';
import type { Monitor } from '../../netlink/monitor.ts';
import { type Heard, signals } from './signals.ts';

/** Notifications within a pause: those of a few ADDs. */
const STORM = 120;
/** Milliseconds, after which the ears are opened again. Repair within a second has room for it. */
const PAUSE = 250;

export interface WatchHooks {
  heard(signal: Heard): void;
  /** Notifications were not listened to: look at the state itself. */
  resumed(): void;
  /** Nobody listens; it is tried again. */
  failed(error: unknown): void;
}

export class Watch {
  readonly #host: Namespace;
  readonly #hooks: WatchHooks;
  #monitor: Monitor<Heard> | undefined;
  #resuming: NodeJS.Timeout | undefined;
  #closed = false;
  #count = 0;
  /** When counting began, by performance.now(). */
  #since = 0;

  private constructor(host: Namespace, hooks: WatchHooks) {
    this.#host = host;
    this.#hooks = hooks;
  }

  /** `host` must be of openDoor(), and stay open. Throws an Error with `code`. */
  static async start(host: Namespace, hooks: WatchHooks): Promise<Watch> {
    const watch = new Watch(host, hooks);
    await watch.#open();
    return watch;
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#resuming);
    this.#monitor?.close();
  }

  async #open(): Promise<void> {
    const monitor = await signals(this.#host, () => this.#counted());
    if (this.#closed) {
      monitor.close();
      return;
    }
    this.#monitor = monitor;
    void this.#listen(monitor);
  }

  async #listen(monitor: Monitor<Heard>): Promise<void> {
    for await (const signal of monitor) this.#hooks.heard(signal);
  }

  #counted(): void {
    this.#count += 1;
    if (this.#count < STORM) return;
    const now = performance.now();
    const isStorm = now - this.#since < PAUSE;
    this.#since = now;
    this.#count = 0;
    if (isStorm && this.#resuming === undefined) this.#pause();
  }

  #pause(): void {
    this.#monitor?.close();
    this.#monitor = undefined;
    this.#resuming = setTimeout(() => void this.#resume(), PAUSE);
  }

  async #resume(): Promise<void> {
    this.#resuming = undefined;
    if (this.#closed) return;
    try {
      await this.#open();
    } catch (error) {
      this.#hooks.failed(error);
      if (!this.#closed) this.#resuming = setTimeout(() => void this.#resume(), PAUSE);
    }
    if (!this.#closed) this.#hooks.resumed();
  }
}
