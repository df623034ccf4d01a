/** Follows one file. File systems exist that tell of nothing: it is looked at now and then as well. */
import fs from 'node:fs';
import { basename, dirname } from 'node:path';
import type { NetworkState, Watch, WatchHooks } from '../registry.ts';

/** Milliseconds: what comes within is one change; between looks nobody asked for. */
const SETTLE = 20;
const LOOK = 2000;

/** What there was before this look: no file ever, a file, or one with hosts in it. */
export type Before = 'missing' | 'there' | 'full';

interface Hooks extends WatchHooks {
  read(before: Before): Promise<NetworkState>;
}

/**
 * `read` gives the state or throws; a file that has become unreadable is `lost` once for each
 * reason, and the last good state stays until it is `found`
 * again. A file that never was is an empty registry, one that vanished is not: editors and people make such gaps.
 */
export function watchFile(file: string, hooks: Hooks): Watch {
  const follower = new Follower(file, hooks);
  follower.start();
  return { close: () => follower.close() };
}

class Follower {
  readonly #file: string;
  readonly #hooks: Hooks;
  #closed = false;
  #watcher: fs.FSWatcher | undefined;
  #soon: NodeJS.Timeout | undefined;
  #routine: NodeJS.Timeout | undefined;
  #reading = false;
  #again = false;
  /** What the file was when it was last read: inode, size, times. */
  #mark: string | undefined;
  #told: string | undefined;
  /** Why it cannot be read, when it was last told. */
  #lost: string | undefined;
  #wasThere = false;
  #isFull = false;

  constructor(file: string, hooks: Hooks) {
    this.#file = file;
    this.#hooks = hooks;
  }

  start(): void {
    this.#watch();
    this.#routine = setInterval(() => {
      this.#watch();
      if (this.#markOf() !== this.#mark) void this.#look();
    }, LOOK);
    void this.#look();
  }

  close(): void {
    this.#closed = true;
    this.#watcher?.close();
    clearInterval(this.#routine);
    clearTimeout(this.#soon);
  }

  /** The folder, not the file: a file that is replaced by another takes its watch along. */
  #watch(): void {
    if (this.#watcher !== undefined || this.#closed) return;
    try {
      const name = basename(this.#file);
      this.#watcher = fs.watch(dirname(this.#file), (_event, changed) => {
        if (changed === null || changed === name) this.#settle();
      });
      this.#watcher.on('error', () => this.#unwatch());
    } catch {
      // No such folder yet, or no inotify watch left: the routine looks.
    }
  }

  #unwatch(): void {
    this.#watcher?.close();
    this.#watcher = undefined;
  }

  #settle(): void {
    this.#soon ??= setTimeout(() => {
      this.#soon = undefined;
      void this.#look();
    }, SETTLE);
  }

  #markOf(): string {
    const stat = fs.statSync(this.#file, { throwIfNoEntry: false, bigint: true });
    return stat === undefined ? '' : `${stat.ino} ${stat.size} ${stat.mtimeNs} ${stat.ctimeNs}`;
  }

  async #look(): Promise<void> {
    if (this.#reading) {
      this.#again = true;
      return;
    }
    this.#reading = true;
    do {
      this.#again = false;
      await this.#once();
    } while (this.#again && !this.#closed);
    this.#reading = false;
  }

  async #once(): Promise<void> {
    try {
      const mark = this.#markOf();
      if (mark !== '') this.#wasThere = true;
      this.#mark = mark;
      const state = await this.#hooks.read(this.#isFull ? 'full' : this.#wasThere ? 'there' : 'missing');
      if (!this.#closed) this.#tell(state);
    } catch (error) {
      const { message } = error as Error;
      if (this.#closed || this.#lost === message) return;
      this.#lost = message;
      this.#hooks.lost(error as Error);
    }
  }

  #tell(state: NetworkState): void {
    if (this.#lost !== undefined) {
      this.#lost = undefined;
      this.#hooks.found();
    }
    const text = JSON.stringify(state);
    if (text === this.#told) return;
    this.#told = text;
    this.#isFull = state.members.length > 0;
    this.#hooks.changed(state);
  }
}
