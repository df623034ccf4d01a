/**
 * Puts back what others remove of ours: looks when the kernel tells that something went, and compares the attachments' records with the
 * host (docs/repair.md, docs/decisions/0004-repair-from-records.md).
 */

import type { Ambient } from '../../cni/ambient.ts';
import { lackInSets } from '../../firewall/forward-iptables.ts';
import type { Namespace } from '../../netlink/door.ts';
import { openDoor } from '../../netlink/namespace.ts';
import { Watch } from '../../netlink/watch.ts';
import { Budget } from '../../plan/budget.ts';
import type { ForwardStep, MasqueradeStep } from '../../plan/step.ts';
import { admissionOf } from '../../plan/steps/forward.ts';
import type { Surroundings } from '../../plan/surroundings.ts';
import { bootId } from '../../plugins/record.ts';
import { surroundingsOf } from '../../plugins/surroundings.ts';
import { type Finding, type Wanted, wanted } from './finding.ts';
import { HostLook } from './host-look.ts';
import { living, missingOnHost, missingRules } from './missing.ts';
import { missingInIptables } from './missing-masquerade.ts';
import { OwnThreads } from './own-threads.ts';
import { putBack } from './put-back.ts';
import type { Entry, Records } from './records.ts';
import { type Heard, type Signal, signals } from './signals.ts';

/** Milliseconds from a notification to the look at what it means: rules that are gone, and what is often followed by more. */
const SOON = 25;
const LATER = 250;
/** Between two questions after the sets of iptables, which nobody tells of. */
const POLL = 300;
/** Between two looks that nothing gave rise to: for what the kernel did not tell. */
const ROUTINE = 30_000;
/** How often the same thing is put back within a minute. */
const MOST_PER_MINUTE = 6;

export interface Correction {
  /** For metrics. */
  kind: 'rules' | 'link';
  what: readonly string[];
  network: string;
  containerId: string;
  ifname: string;
  /** Who changed the ruleset before, where the kernel said. */
  cause: string | undefined;
}

export interface RepairHooks {
  corrected(correction: Correction): void;
  /** Something ours is missing, and stays missing. */
  gaveUp(correction: Correction, reason: string): void;
  failed(error: unknown): void;
}

export interface RepairOptions {
  ambient: Ambient;
  records: Records;
  hooks: RepairHooks;
  /** Runs work when no request for the container is served. */
  inTurn<T>(plugin: string, containerId: string, work: () => Promise<T>): Promise<T>;
}

/** What is asked for every POLL milliseconds, of these entries. */
interface Asked {
  entries: readonly Entry[];
  members: Wanted<MasqueradeStep>[];
  forwarded: Wanted<ForwardStep>[];
}

export class Repair {
  readonly #options: RepairOptions;
  readonly #host: Namespace;
  readonly #surroundings: Surroundings;
  #watch: Watch<Signal> | undefined;
  readonly #records: Records;
  readonly #boot = bootId();
  readonly #budget = new Budget(MOST_PER_MINUTE);
  readonly #timers: NodeJS.Timeout[] = [];
  /** What could not be put back, and why, as it was told last. */
  readonly #told = new Map<string, string>();
  readonly #own = new OwnThreads();
  /** What the last look that was taken for it left as it is. */
  #leftInSets: string | undefined;
  #suspects = new Set<string>();
  /** Of the change of the ruleset that is being told. */
  #removed = { rules: false, elements: false, policy: false };
  /** Links that lost something, which says nothing if they go themselves. */
  readonly #shaken = new Set<number>();
  #settling: NodeJS.Timeout | undefined;
  #polled: Asked = { entries: [], members: [], forwarded: [] };
  /** When the next look is due, by performance.now(). */
  #due = Number.POSITIVE_INFINITY;
  #wake: NodeJS.Timeout | undefined;
  #looking: Promise<void> | undefined;
  #closed = false;

  private constructor(options: RepairOptions, host: Namespace) {
    this.#options = options;
    this.#host = host;
    this.#surroundings = surroundingsOf(options.ambient, host, undefined);
    this.#records = options.records;
  }

  /** Watches from now on, and looks at once at what happened before. Throws an Error with `code`. */
  static async start(options: RepairOptions): Promise<Repair> {
    const host = await openDoor().open();
    const repair = new Repair(options, host);
    repair.#watch = await Watch.start((arrived) => signals(host, arrived), {
      heard: (signal) => repair.#heard(signal),
      resumed: () => repair.#lookWithin(0),
      failed: options.hooks.failed,
    });
    repair.#timers.push(
      setInterval(() => repair.#lookWithin(0), ROUTINE),
      setInterval(() => void repair.#poll(), POLL),
    );
    repair.#lookWithin(0);
    return repair;
  }

  /** Resolves when what was begun is done. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const timer of this.#timers) clearInterval(timer);
    clearTimeout(this.#wake);
    clearTimeout(this.#settling);
    this.#watch?.close();
    await this.#looking;
    this.#host.close();
  }

  /** What this process's own ADDs and DELs cause leads to no look: it would cost more than they do. */
  #heard(signal: Heard): void {
    switch (signal.kind) {
      case 'rules':
      case 'elements':
      case 'policy':
        this.#removed[signal.kind] = true;
        if (signal.kind === 'rules') this.#lookWithin(SOON);
        break;
      case 'author':
        this.#changed(signal);
        break;
      case 'state':
        if (signal.link > 0) this.#shake(signal.link);
        else this.#lookWithin(LATER);
        break;
      case 'gone':
        this.#shaken.delete(signal.link);
        if (!signal.isContainers) this.#lookWithin(LATER);
        break;
      default:
        this.#lookWithin(0);
    }
  }

  /** The ruleset was changed, and this is by whom. */
  #changed({ name, thread }: Signal & { kind: 'author' }): void {
    const { rules, elements, policy } = this.#removed;
    if (!rules && !elements && !policy) return;
    this.#removed = { rules: false, elements: false, policy: false };
    const isOwn = this.#own.has(name, thread);
    const author = thread === undefined ? name : `${name} (process ${thread})`;
    if ((rules || elements) && !isOwn && !this.#own.hasName(name)) this.#suspects.add(author);
    // Rules are looked after whoever removed them.
    if ((elements || policy) && !isOwn) this.#lookWithin(LATER);
  }

  #shake(link: number): void {
    this.#shaken.add(link);
    this.#settling ??= setTimeout(() => {
      this.#settling = undefined;
      const isSomethingLost = this.#shaken.size > 0;
      this.#shaken.clear();
      if (isSomethingLost) this.#lookWithin(0);
    }, LATER);
  }

  #lookWithin(delay: number): void {
    const due = performance.now() + delay;
    if (this.#closed || due >= this.#due) return;
    this.#due = due;
    clearTimeout(this.#wake);
    this.#wake = setTimeout(() => this.#begin(() => this.#look()), delay);
  }

  /** One look at a time; a signal that comes meanwhile leads to another. */
  #begin(work: () => Promise<void>): void {
    if (this.#looking !== undefined) {
      this.#due = Number.POSITIVE_INFINITY;
      void this.#looking.then(() => this.#lookWithin(0));
      return;
    }
    this.#looking = work()
      .catch((error: unknown) => this.#options.hooks.failed(error))
      .finally(() => {
        this.#looking = undefined;
      });
  }

  #isHere({ record }: Entry): boolean {
    return record.boot === this.#boot && record.host === this.#host.identity;
  }

  async #look(): Promise<void> {
    this.#due = Number.POSITIVE_INFINITY;
    const known = this.#records.all().filter((entry) => this.#isHere(entry));
    if (known.length === 0) {
      this.#suspects.clear();
      return;
    }
    const look = await HostLook.take(this.#surroundings);
    const entries = living(known, look);
    this.#budget.sweep(performance.now());
    await this.#correct(await missingOnHost(entries, look), 'link', undefined);
    const rules = await missingRules(entries, this.#surroundings);
    // Who removed them just now may not have been heard yet.
    await new Promise((resolve) => setImmediate(resolve));
    await this.#correct(rules, 'rules', this.#takeCause());
  }

  async #poll(): Promise<void> {
    if (this.#looking !== undefined) return;
    const { members, forwarded } = this.#asked();
    if (members.length + forwarded.length === 0) return;
    this.#begin(async () => {
      const findings = await missingInIptables(members, this.#surroundings, false);
      const forwards = forwarded.map(({ step }) => admissionOf(step));
      const lack = await lackInSets(this.#host, forwards);
      if (findings.length === 0 && (lack === undefined || lack === this.#leftInSets)) return;
      // The look decides who is alive.
      await this.#look();
      this.#leftInSets = lack === undefined ? undefined : await lackInSets(this.#host, forwards);
    });
  }

  /** What nobody tells of: asked for so often that it is found out once for each set of records. */
  #asked(): Asked {
    const entries = this.#records.all('new');
    if (entries !== this.#polled.entries) {
      const here = entries.filter((entry) => this.#isHere(entry));
      const members = wanted(here, 'masquerade').filter(({ step }) => step.backend === 'iptables');
      this.#polled = { entries, members, forwarded: wanted(here, 'forward') };
    }
    return this.#polled;
  }

  /** Who removed rules or elements since the last look. */
  #takeCause(): string | undefined {
    const others = [...this.#suspects];
    this.#suspects = new Set();
    return others.length > 0 ? others.join(', ') : undefined;
  }

  async #correct(
    findings: readonly Finding[],
    kind: Correction['kind'],
    cause: string | undefined,
  ): Promise<void> {
    for (const finding of findings) {
      if (this.#closed) return;
      await this.#correctOne(finding, kind, cause);
    }
  }

  async #correctOne(finding: Finding, kind: Correction['kind'], cause: string | undefined): Promise<void> {
    const { network, containerId, ifname, plugin } = finding.entry.record;
    const { hooks, inTurn } = this.#options;
    const correction: Correction = { kind, what: finding.what, network, containerId, ifname, cause };
    const thing = thingOf(finding);
    const verdict = this.#budget.ask(thing, performance.now());
    if (verdict === 'rest') {
      hooks.gaveUp(
        correction,
        `that was done ${MOST_PER_MINUTE} times within a minute: somebody removes it again and again`,
      );
    }
    if (verdict !== 'go') return;
    try {
      const done = await inTurn(plugin, containerId, () => putBack(finding, this.#surroundings));
      this.#told.delete(thing);
      if (done) hooks.corrected(correction);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      if (this.#told.get(thing) === reason) return;
      this.#told.set(thing, reason);
      hooks.gaveUp(correction, reason);
    }
  }
}

/** A bridge's address is the same thing whoever needs it; an element is one container's. */
function thingOf({ step }: Finding): string {
  return JSON.stringify(step);
}
