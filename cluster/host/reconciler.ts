/**
 * Keeps what a network between hosts needs in this host's kernel: tunnel device, routes, neighbours, FDB entries.
 *
 *   const reconciler = new NetworkReconciler({ door: openDoor(), network, self, hooks });
 *   const { mtu, problems } = await reconciler.update(state);   // at each change in the registry; never rejects
 *   await reconciler.look();          // compares with the kernel now; done by itself at intervals and at notifications
 *   await reconciler.close();         // stops, leaves everything as it is: packets go on while the agent restarts
 *   await reconciler.remove();        // stops, and takes away everything of this network
 *
 * What the agent needs beside it: cluster/host/underlay.ts (underlayAddresses, overlaps), cluster/host/desired.ts (desiredState,
 * containerMtu), cluster/host/render.ts (render), plan/names.ts (tunnelMac).
 */
import type { Door, Namespace } from '../../netlink/door.ts';
import type { Link } from '../../netlink/link.ts';
import { monitor } from '../../netlink/monitor.ts';
import { Watch } from '../../netlink/watch.ts';
import { Budget } from '../../plan/budget.ts';
import type { ClusterNetwork } from '../network.ts';
import type { Member, NetworkState } from '../registry.ts';
import { type HostLook, lookAtHost } from './actual.ts';
import { applyChanges, type LinkIndexes } from './apply.ts';
import { correctionsIn, wordsOfChange } from './corrections.ts';
import { containerMtu, desiredState } from './desired.ts';
import { type Change, changed, difference } from './difference.ts';
import { explainFailure } from './failure.ts';
import { ROUTED_TYPES, TUNNEL_TYPES, Watched } from './signals.ts';
import type { HostState } from './state.ts';

/** Milliseconds from a notification to the look at what it means: they come in crowds. */
const SOON = 50;
/** Between two looks that nothing gave rise to, while all is well and while something is missing. */
const ROUTINE = 30_000;
const RETRY = 5_000;
/** How often the same thing is put back within a minute. */
const MOST_PER_MINUTE = 6;

export interface Correction {
  network: string;
  /** `route to 10.244.3.0/24 via 10.244.3.0 dev weft0`, ...: what somebody else had removed or changed, and was put right. */
  what: readonly string[];
}

export interface Failure {
  network: string;
  /** One sentence with the thing's name and what to do; told once, and again only after it had gone. */
  reason: string;
}

export interface Applied {
  network: string;
  /** Netlink requests that changed something; 0 when a look found all in order. */
  changes: number;
  /** Milliseconds from the call to the kernel's last answer. */
  milliseconds: number;
  /** Bytes that fit between containers: what the membership file says. */
  mtu: number;
  /** What is not as it must be now, one sentence each; empty when all is in order. */
  problems: readonly string[];
}

export interface ReconcilerHooks {
  /** Put back. */
  corrected(correction: Correction): void;
  /** Something is not as it must be, and stays so until something changes; everything else is done nevertheless. */
  failed(failure: Failure): void;
  /** After each comparison, by update() and by itself. */
  applied?(report: Applied): void;
}

export interface ReconcilerOptions {
  /** openDoor(), or one that opens another namespace by it (tests); not a KeptDoor: a monitor must listen in the namespace. */
  door: Door;
  network: ClusterNetwork;
  /** Until the registry's state has an entry of that name, which counts more. */
  self: Member;
  hooks: ReconcilerHooks;
}

/** What is in the kernel, as far as we know. */
interface Known {
  look: HostLook;
  state: HostState;
  links: LinkIndexes;
}

interface Outcome {
  /** Requests. */
  changes: number;
  problems: readonly string[];
  /** Nothing was refused by the kernel. */
  certain: boolean;
}

export class NetworkReconciler {
  readonly #options: ReconcilerOptions;
  readonly #budget = new Budget(MOST_PER_MINUTE);
  #host: Namespace | undefined;
  #watch: Watch<true> | undefined;
  #state: NetworkState | undefined;
  #known: Known | undefined;
  /** As it was left: what differs from it is the work of others. */
  #left: HostState | undefined;
  #watched: Watched | undefined;
  /** This host as it was at the last look. */
  #own = '';
  #problems: readonly string[] = [];
  #last: Promise<unknown> = Promise.resolve();
  #waiting: { look: boolean; done: Promise<Applied> } | undefined;
  #timer: NodeJS.Timeout | undefined;
  /** When the timer ends, by performance.now(). */
  #due = Number.POSITIVE_INFINITY;
  #closed = false;

  constructor(options: ReconcilerOptions) {
    this.#options = options;
  }

  /** The device between the hosts, where the backend has one. */
  get device(): string | undefined {
    return this.#options.network.vxlan?.device;
  }

  /**
   * Resolves when the kernel has the state, or the hooks have heard why not. What lies between two calls may be left out: the last
   * state counts. Costs what has changed since the last one: the kernel is not asked.
   */
  update(state: NetworkState): Promise<Applied> {
    this.#state = state;
    return this.#enqueue(false);
  }

  /** Compares with the kernel now, and puts right what is not as it was left. Nothing happens before the first update(). */
  look(): Promise<Applied> {
    return this.#enqueue(true);
  }

  /** Resolves when what was begun is done. Idempotent. */
  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#watch?.close();
    await this.#last;
    this.#host?.close();
    this.#host = undefined;
  }

  /** Throws NetlinkError, and what door.open() throws. */
  async remove(): Promise<void> {
    await this.close();
    const { door, network } = this.#options;
    const host = await door.open();
    try {
      const { state, links } = await lookAtHost(host, network, this.#self());
      const changes = difference({ entries: new Map() }, state);
      const { failed } = await applyChanges(host, changes, indexesOf(links));
      const [first] = failed;
      if (first !== undefined) throw first.error;
    } finally {
      host.close();
    }
  }

  /** One at a time; whoever comes while another waits shares its turn. */
  #enqueue(look: boolean): Promise<Applied> {
    if (this.#waiting !== undefined) {
      this.#waiting.look ||= look;
      return this.#waiting.done;
    }
    const asked = { look };
    const done = this.#last.then(() => this.#turn(asked));
    this.#waiting = Object.assign(asked, { done });
    this.#last = done;
    return done;
  }

  async #turn(asked: { look: boolean }): Promise<Applied> {
    this.#waiting = undefined;
    const start = performance.now();
    const { network, hooks } = this.#options;
    let { changes, problems, certain } = await this.#attempt(asked.look);
    if (!certain) {
      // What failed may have been going away at that moment, with what was on it.
      await new Promise((resolve) => setTimeout(resolve, SOON));
      const again = await this.#attempt(true);
      changes += again.changes;
      problems = again.problems;
    }
    const told = this.#problems;
    this.#problems = problems;
    for (const reason of problems) {
      if (!told.includes(reason)) hooks.failed({ network: network.name, reason });
    }
    if (this.#state !== undefined) this.#lookWithin(problems.length > 0 ? RETRY : ROUTINE);
    const mtu = containerMtu(network, this.#self(), this.#known?.look.uplinks ?? []);
    const milliseconds = performance.now() - start;
    const report = { network: network.name, changes, milliseconds, mtu, problems };
    hooks.applied?.(report);
    return report;
  }

  async #attempt(look: boolean): Promise<Outcome> {
    if (this.#closed || this.#state === undefined) {
      return { changes: 0, problems: this.#problems, certain: true };
    }
    try {
      return await this.#reconcile(this.#state, look);
    } catch (error) {
      // What came of it, only the kernel can tell.
      this.#known = undefined;
      const reason = error instanceof Error ? error.message : String(error);
      return { changes: 0, problems: [reason], certain: false };
    }
  }

  async #reconcile(state: NetworkState, look: boolean): Promise<Outcome> {
    const { network, hooks } = this.#options;
    const self = this.#self();
    const host = await this.#open();
    // Where its own addresses and subnets are, the kernel is asked.
    const moved = JSON.stringify(self) !== this.#own;
    this.#own = JSON.stringify(self);
    const known = this.#known === undefined || look || moved ? await this.#lookAt(host, self) : this.#known;
    const { conflict, uplinks } = known.look;
    if (conflict !== undefined) {
      this.#know(known, known.state, true);
      return { changes: 0, problems: [conflict], certain: true };
    }
    const wanted = desiredState(network, self, state, uplinks);
    const all = difference(wanted, known.state);
    const corrections = correctionsIn(all, wanted, this.#left);
    const { changes, refused } = this.#afford(all, corrections);
    const problems = [...wanted.problems, ...refused];
    // What we do ourselves is known before the kernel tells of it.
    this.#know(known, changed(known.state, changes), problems.length > 0);
    const { requests, failed } = await applyChanges(host, changes, known.links);
    const hasFailed = (change: Change) => failed.some((one) => one.change === change);
    this.#left = changed(
      known.state,
      all.filter((change) => !hasFailed(change)),
    );
    for (const { change, error } of failed) problems.push(await explainFailure(host, change, error));
    const put = corrections.filter((change) => changes.includes(change) && !hasFailed(change));
    if (put.length > 0) hooks.corrected({ network: network.name, what: put.map(wordsOfChange) });
    // A new link has more to it than was asked for.
    if (failed.length > 0 || changes.some((change) => !('entry' in change))) {
      const after = await this.#lookAt(host, self);
      this.#know(after, after.state, problems.length > 0);
    }
    return { changes: requests, problems, certain: failed.length === 0 };
  }

  async #lookAt(host: Namespace, self: Member): Promise<Known> {
    const look = await lookAtHost(host, this.#options.network, self);
    return { look, state: look.state, links: indexesOf(look.links) };
  }

  #know(known: Known, state: HostState, restless: boolean): void {
    this.#known = { ...known, state };
    const { vxlan } = this.#options.network;
    const names = new Set([vxlan?.device, vxlan?.bridge, ...known.look.uplinks.map(({ dev }) => dev)]);
    const links = [...known.look.links.values()].filter(({ name }) => names.has(name));
    this.#watched = new Watched(state, links, restless);
  }

  /** Leaves out what was put back too often: whoever removes it again and again may mean it. */
  #afford(all: readonly Change[], corrections: readonly Change[]): { changes: Change[]; refused: string[] } {
    const now = performance.now();
    this.#budget.sweep(now);
    const resting = corrections.filter((change) => this.#budget.ask(wordsOfChange(change), now) !== 'go');
    const devices = resting.flatMap((change) => (change.kind === 'make-device' ? [change.device.name] : []));
    const changes = all.filter(
      (change) =>
        !resting.includes(change) && !('entry' in change && devices.includes(change.entry.dev ?? '')),
    );
    const times = `${MOST_PER_MINUTE} times within a minute`;
    const refused = resting.map(
      (change) => `${wordsOfChange(change)} was put right ${times}: somebody changes it again and again`,
    );
    return { changes, refused };
  }

  #self(): Member {
    const { self } = this.#options;
    return this.#state?.members.find(({ host }) => host === self.host) ?? self;
  }

  async #open(): Promise<Namespace> {
    if (this.#host !== undefined) return this.#host;
    const host = await this.#options.door.open();
    const types = this.#options.network.vxlan ? TUNNEL_TYPES : ROUTED_TYPES;
    const open = (arrived: () => void) =>
      monitor<true>(
        host,
        ['link', 'address', 'route', 'neighbour'],
        (family, message) => {
          arrived();
          return this.#watched?.isAffected(family, message) ? true : undefined;
        },
        types,
      );
    try {
      this.#watch = await Watch.start(open, {
        heard: () => this.#lookWithin(SOON),
        resumed: () => this.#lookWithin(0),
        failed: () => this.#lookWithin(RETRY),
      });
    } catch (error) {
      host.close();
      throw error;
    }
    this.#host = host;
    return host;
  }

  #lookWithin(delay: number): void {
    const due = performance.now() + delay;
    if (this.#closed || due >= this.#due) return;
    clearTimeout(this.#timer);
    this.#due = due;
    this.#timer = setTimeout(() => {
      this.#due = Number.POSITIVE_INFINITY;
      void this.#enqueue(true);
    }, delay);
  }
}

function indexesOf(links: ReadonlyMap<string, Link>): LinkIndexes {
  return new Map([...links].map(([name, { index }]) => [name, index]));
}
