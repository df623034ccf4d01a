/**
 * Listens to the kernel's notifications, and closes its ears for a moment when they come thick and fast: an agent that serves fifty ADDs a
 * second would wake up a thousand times for them. What happens meanwhile is seen by the look that follows.
 */
import type { Monitor, Overrun } from './monitor.ts';

/** Notifications within a pause: those of a few ADDs. */
const STORM = 120;
/** Milliseconds, after which the ears are opened again. Repair within a second has room for it. */
const PAUSE = 250;

export interface WatchHooks<E> {
  heard(event: E | Overrun): void;
  /** Notifications were not listened to: look at the state itself. */
  resumed(): void;
  /** Nobody listens; it is tried again. */
  failed(error: unknown): void;
}

/** Opens a monitor that calls `arrived` for every notification, also for those that it leaves out. */
export type Open<E> = (arrived: () => void) => Promise<Monitor<E>>;

export class Watch<E> {
  readonly #openMonitor: Open<E>;
  readonly #hooks: WatchHooks<E>;
  #monitor: Monitor<E> | undefined;
  #resuming: NodeJS.Timeout | undefined;
  #closed = false;
  #count = 0;
  /** When counting began, by performance.now(). */
  #since = 0;

  private constructor(open: Open<E>, hooks: WatchHooks<E>) {
    this.#openMonitor = open;
    this.#hooks = hooks;
  }

  /** Throws what `open` throws; later that goes to the hooks. */
  static async start<E>(open: Open<E>, hooks: WatchHooks<E>): Promise<Watch<E>> {
    const watch = new Watch(open, hooks);
    await watch.#open();
    return watch;
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#resuming);
    this.#monitor?.close();
  }

  async #open(): Promise<void> {
    const monitor = await this.#openMonitor(() => this.#counted());
    if (this.#closed) {
      monitor.close();
      return;
    }
    this.#monitor = monitor;
    void this.#listen(monitor);
  }

  async #listen(monitor: Monitor<E>): Promise<void> {
    for await (const event of monitor) this.#hooks.heard(event);
  }

  #counted(): void {
    this.#count += 1;
    if (this.#count < STORM) return;
    const now = performance.now();
    const isStorm = now - this.#since < PAUSE;
    this.#since = now;
    this.#count = 0;
    if (isStorm) this.#pause();
  }

  #pause(): void {
    // While one is being opened there is none to close: it would be forgotten, and listen for ever.
    if (this.#monitor === undefined) return;
    this.#monitor.close();
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
