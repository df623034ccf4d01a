/** Takes away what attachments left behind whose DEL never came, by their own DEL; only where their end is proved (proof.ts). */
import { runPlugin } from '../../cni/skel.ts';
import type { Door } from '../../netlink/door.ts';
import { listLinks } from '../../netlink/link.ts';
import { type AttachmentRecord, bootId, readRecord } from '../../plugins/record.ts';
import { isPluginName, loadPlugin } from '../../plugins/registry.ts';
import { realAmbient } from '../../runtime/ambient.ts';
import { type Present, standingOf } from './proof.ts';
import type { Entry, Records } from './records.ts';

export interface Collected {
  network: string;
  containerId: string;
  ifname: string;
  /** Why it was taken away, or left. */
  reason: string;
}

export interface CollectorHooks {
  collected(what: Collected): void;
  left(what: Collected): void;
  failed(error: unknown): void;
}

export interface CollectorOptions {
  records: Records;
  door: Door;
  hooks: CollectorHooks;
  /** Milliseconds from when it was first seen to be left behind. */
  grace: number;
  inTurn<T>(plugin: string, containerId: string, work: () => Promise<T>): Promise<T>;
}

/** Milliseconds between two looks: so often that the grace period means something, and no oftener than needed. */
const pause = (grace: number) => Math.min(60_000, Math.max(250, grace / 2));

export class Collector {
  readonly #options: CollectorOptions;
  readonly #records: Records;
  readonly #boot = bootId();
  readonly #timer: NodeJS.Timeout;
  /** When what is dead was first seen so, by performance.now(); and what was said of what is unclear. */
  #dead = new Map<string, number>();
  readonly #said = new Set<string>();
  #looking: Promise<void> | undefined;

  constructor(options: CollectorOptions) {
    this.#options = options;
    this.#records = options.records;
    const begin = () => {
      this.#looking ??= this.#look()
        .catch((error: unknown) => options.hooks.failed(error))
        .finally(() => {
          this.#looking = undefined;
        });
    };
    this.#timer = setInterval(begin, pause(options.grace));
    begin();
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#looking;
  }

  async #look(): Promise<void> {
    const entries = this.#records.all();
    if (entries.length === 0) return;
    const present = await this.#present();
    const now = performance.now();
    const dead = new Map<string, number>();
    for (const entry of entries) {
      const key = `${entry.file} ${entry.version}`;
      const standing = standingOf(entry, present);
      if (standing.is === 'unclear') this.#sayOnce(key, entry, standing.reason);
      if (standing.is !== 'dead') continue;
      const since = this.#dead.get(key) ?? now;
      dead.set(key, since);
      if (now - since >= this.#options.grace) await this.#collect(entry);
    }
    this.#dead = dead;
  }

  async #present(): Promise<Present> {
    const host = await this.#options.door.open();
    try {
      const [links] = await host.send(listLinks());
      const names = links.ok ? links.value.map(({ name }) => name) : [];
      return { boot: this.#boot, host: host.identity, links: new Set(names) };
    } finally {
      host.close();
    }
  }

  async #collect(entry: Entry): Promise<void> {
    const { plugin, containerId } = entry.record;
    const { hooks, inTurn } = this.#options;
    await inTurn(plugin, containerId, async () => {
      // Once more: an ADD of the same container may have been served since.
      const standing = standingOf(entry, await this.#present());
      if (standing.is !== 'dead') return;
      const record = readRecord(entry.file);
      if (record === undefined) return;
      const problem = await detach(record, this.#options.door);
      const { network, ifname } = record;
      const what = { network, containerId, ifname, reason: standing.proof };
      if (problem === undefined) hooks.collected(what);
      else this.#sayOnce(`${entry.file} ${problem}`, entry, `its DEL failed: ${problem}`);
    });
  }

  #sayOnce(key: string, { record }: Entry, reason: string): void {
    if (this.#said.has(key)) return;
    this.#said.add(key);
    const { network, containerId, ifname } = record;
    this.#options.hooks.left({ network, containerId, ifname, reason });
  }
}

/** Runs an attachment's own DEL, without its namespace. Returns what went wrong. */
export async function detach(
  { plugin: name, containerId, ifname, env, input }: AttachmentRecord,
  door: Door,
): Promise<string | undefined> {
  if (!isPluginName(name)) return `there is no plugin ${name}`;
  const variables = {
    ...env,
    ...{ CNI_COMMAND: 'DEL', CNI_CONTAINERID: containerId, CNI_IFNAME: ifname, CNI_NETNS: '' },
  };
  const ambient = { ...realAmbient(variables), input: async () => input };
  const plugin = await loadPlugin(name, { door });
  const { status, stdout } = await runPlugin(plugin, ambient);
  return status === 0 ? undefined : stdout.replaceAll(/\s+/g, ' ').trim();
}
