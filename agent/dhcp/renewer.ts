/** Keeps the DHCP leases of this host's containers (ipam/dhcp) for as long as they run: RFC 2131, section 4.4.5. */
import { statSync } from 'node:fs';
import { addressOf } from '../../cni/prefix.ts';
import { acquire, extend, type Grant, NoLease, type Wire } from '../../ipam/dhcp/client.ts';
import type { DhcpHost } from '../../ipam/dhcp/dhcp.ts';
import {
  againAt,
  dueOf,
  expiryOf,
  granted,
  heldOf,
  identityOf,
  type Lease,
  type Need,
  needOf,
} from '../../ipam/dhcp/lease.ts';
import { dropLease, leaseFiles, readLease, replaceLease } from '../../ipam/dhcp/store.ts';

/** What became of one attempt. */
export type Outcome =
  /** For another term. */
  | 'renewed'
  /** Nobody answered; it is asked again. */
  | 'unanswered'
  /** Nobody answered, and its time is over. */
  | 'expired'
  /** The server took the address back, and does not give it again. */
  | 'lost'
  /** The container's namespace or link is gone. */
  | 'gone'
  /** The attempt failed in this host. */
  | 'failed';

export interface Attempt {
  /** As it was before. */
  lease: Lease;
  outcome: Outcome;
  words: string;
  /** The one before ended in the same way. */
  repeated: boolean;
}

export interface RenewerHooks {
  attempted(attempt: Attempt): void;
  /** The folder could not be read. */
  failed(error: unknown): void;
}

export interface RenewerOptions {
  /** ipam/dhcp/store.ts: leaseFolder(). */
  folder: string;
  host: DhcpHost;
  lock(path: string): Promise<() => void>;
  hooks: RenewerHooks;
}

/** Leases at once: a server that comes back is not asked for all of them in one moment. */
const MOST_AT_ONCE = 8;
/** Milliseconds: timers stand still while the machine sleeps, leases do not. */
const LONGEST_SLEEP = 60_000;
/** Milliseconds for each message of one attempt. */
const WAITS = [1000, 2000, 4000];

interface Entry {
  version: string;
  lease: Lease;
  /** Seconds since boot. */
  due: number;
  busy: boolean;
  /** Of the last attempt. */
  outcome: Outcome | undefined;
}

export class Renewer {
  readonly #options: RenewerOptions;
  readonly #entries = new Map<string, Entry>();
  readonly #running = new Set<Promise<void>>();
  readonly #wires = new Set<Wire>();
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(options: RenewerOptions) {
    this.#options = options;
  }

  /** Every lease that is kept, as its file said last. */
  leases(): Lease[] {
    return [...this.#entries.values()].map(({ lease }) => lease);
  }

  /** Looks at the folder, and begins what is due. To be called whenever something may have changed there. */
  look(): void {
    if (this.#closed) return;
    try {
      this.#read();
    } catch (error) {
      this.#options.hooks.failed(error);
    }
    this.#begin();
  }

  /** Breaks off what is under way: whoever comes next asks again. */
  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    for (const wire of this.#wires) wire.close();
    await Promise.all(this.#running);
  }

  #read(): void {
    const { folder, host } = this.#options;
    const files = new Set(leaseFiles(folder));
    for (const known of this.#entries.keys()) if (!files.has(known)) this.#entries.delete(known);
    for (const file of files) {
      const known = this.#entries.get(file);
      const version = versionOf(file);
      if (version === undefined || known?.version === version) continue;
      const lease = readLease(file, host.boot());
      if (!lease) this.#entries.delete(file);
      // What an attempt is under way for gets its time from that.
      else if (known?.busy) Object.assign(known, { version, lease });
      else this.#entries.set(file, { version, lease, due: dueOf(lease), busy: false, outcome: undefined });
    }
  }

  #begin(): void {
    clearTimeout(this.#timer);
    const now = this.#options.host.now();
    const waiting = [...this.#entries].filter(([, { busy }]) => !busy).sort(([, a], [, b]) => a.due - b.due);
    for (const [file, entry] of waiting) {
      if (entry.due > now || this.#running.size >= MOST_AT_ONCE) break;
      entry.busy = true;
      const work = this.#attempt(file, entry).finally(() => {
        this.#running.delete(work);
        this.look();
      });
      this.#running.add(work);
    }
    const next = waiting.find(([, { busy }]) => !busy)?.[1];
    // Whatever ends next looks again.
    if (next === undefined || this.#closed || this.#running.size >= MOST_AT_ONCE) return;
    const pause = Math.min(LONGEST_SLEEP, Math.max(10, (next.due - now) * 1000));
    this.#timer = setTimeout(() => this.look(), pause);
    this.#timer.unref();
  }

  /** Never throws. */
  async #attempt(file: string, entry: Entry): Promise<void> {
    const { host, hooks } = this.#options;
    const { lease } = entry;
    const next = needOf(lease, host.now());
    if (next === undefined) {
      Object.assign(entry, { due: dueOf(lease), busy: false });
      return;
    }
    let outcome: Outcome = 'failed';
    let words = '';
    try {
      ({ outcome, words } = await this.#ask(lease, next.need));
      // What nobody can use any more, and whose time is over, is forgotten: the DEL of its container may never come.
      if (outcome === 'gone' && host.now() > expiryOf(lease)) {
        await dropLease(this.#options.folder, this.#options.lock, file, host.boot());
      }
    } catch (error) {
      words = String(error);
    }
    if (this.#closed) return;
    this.look();
    const late = entry.lease.lost === undefined ? next.late : Infinity;
    const due = outcome === 'renewed' ? dueOf(entry.lease) : againAt(lease, late, host.now());
    const repeated = outcome === entry.outcome;
    Object.assign(entry, { due, outcome, busy: false });
    hooks.attempted({ lease, outcome, words, repeated });
  }

  async #ask(lease: Lease, need: Need): Promise<{ outcome: Outcome; words: string }> {
    const { host } = this.#options;
    let wire: Wire;
    try {
      wire = await host.open(lease.netns, lease.ifname);
    } catch (error) {
      return { outcome: 'gone', words: String(error) };
    }
    this.#wires.add(wire);
    try {
      if (wire.sandbox !== lease.sandbox) return { outcome: 'gone', words: `${lease.netns} is another now` };
      if (need === 'anew') return await this.#anew(lease, wire, lease.lost);
      const asked = host.now();
      const answer = await extend(wire, identityOf(lease), heldOf(lease), need, this.#waits(lease, need));
      if (typeof answer === 'string') return await this.#anew(lease, wire, answer || 'no reason given');
      if (answer) return await this.#renewed(lease, answer, asked);
      // A server that has forgotten the lease has nothing to say to a client that was rebooted (RFC 2131, section 4.3.2).
      return need === 'reboot' ? await this.#anew(lease, wire) : { outcome: 'unanswered', words: need };
    } finally {
      this.#wires.delete(wire);
      wire.close();
    }
  }

  #waits({ seconds }: Lease, need: Need): readonly number[] {
    if (this.#options.host.waits) return this.#options.host.waits;
    // A lease of seconds has no time for patience with the one server while others may answer.
    const most = need === 'renew' || need === 'rebind' ? (seconds ?? Infinity) * 125 : Infinity;
    return WAITS.map((wait) => Math.min(wait, most));
  }

  /**
   * The same lease from the beginning: a server that forgot it may give it again. Another address is of no use to a container that runs.
   * @param refusal of a server, before
   */
  async #anew(lease: Lease, wire: Wire, refusal?: string): Promise<{ outcome: Outcome; words: string }> {
    const { host, folder, lock } = this.#options;
    const asked = host.now();
    try {
      const only = addressOf(lease.address);
      const grant = await acquire(wire, identityOf(lease), { only, waits: this.#waits(lease, 'anew') });
      return await this.#renewed(lease, grant, asked);
    } catch (error) {
      if (!(error instanceof NoLease)) throw error;
      // Silence alone takes nothing away; after a refusal it does.
      if (refusal === undefined && !error.refused) return { outcome: 'expired', words: error.message };
      const words = [refusal, error.message].filter((part) => part !== undefined).join('; ');
      if (lease.lost === undefined) await replaceLease(folder, lock, lease, { ...lease, lost: words });
      return { outcome: 'lost', words: lease.lost ?? words };
    }
  }

  async #renewed(lease: Lease, grant: Grant, asked: number): Promise<{ outcome: Outcome; words: string }> {
    const { folder, lock } = this.#options;
    const { lost: _, gateway: _old, ...rest } = lease;
    const now: Lease = { ...rest, ...granted(grant, asked) };
    // Given back, or got anew, meanwhile: that is the container's own doing.
    const kept = await replaceLease(folder, lock, lease, now);
    return { outcome: kept ? 'renewed' : 'gone', words: changesOf(lease, now) };
  }
}

/** Undefined where the file has just gone. */
function versionOf(file: string): string | undefined {
  const found = statSync(file, { bigint: true, throwIfNoEntry: false });
  return found && `${found.ino} ${found.mtimeNs}`;
}

/** What the server says otherwise than it did at ADD; the container keeps what ADD gave it. */
function changesOf(old: Lease, now: Lease): string {
  const parts = (['address', 'gateway', 'routes', 'dns'] as const).filter(
    (part) => JSON.stringify(old[part]) !== JSON.stringify(now[part]),
  );
  return parts
    .map((part) => `${part}: ${JSON.stringify(old[part])} is ${JSON.stringify(now[part])} now`)
    .join('; ');
}
