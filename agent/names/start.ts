/** The agent's answers to names (plugins/dnsname): at every address that a file of the names' folder asks for. */
import { statSync } from 'node:fs';
import type { Logger } from 'pino';
import type { Ambient } from '../../cni/ambient.ts';
import type { NamesStep } from '../../plan/step.ts';
import { readNames } from '../../plan/steps/names.ts';
import { answeredLock, filesOf } from '../../plugins/dnsname/dnsname.ts';
import { namesFolder } from '../../plugins/dnsname/plan.ts';
import { watchFolder } from '../cluster/watch-folder.ts';
import type { NameServer } from './server.ts';
import type { Upstream } from './upstream.ts';
import type { Zone } from './zone.ts';

/** Milliseconds: a container may ask as soon as it runs; an IPv6 address is of use only after its duplicate address detection. */
const SETTLE = 5;
const AGAIN = 500;
const RESOLVERS = '/etc/resolv.conf';

/** Begins at once. Returns the function that ends it. */
export async function startNames(ambient: Ambient, log: Logger): Promise<() => Promise<void>> {
  const folder = namesFolder(ambient.paths.runDir);
  const release = await ambient.lock(answeredLock(folder));
  const servers = new Servers(folder, log);
  await servers.look();
  const stopWatching = watchFolder(folder, () => void servers.look(), SETTLE);
  return async () => {
    stopWatching();
    await servers.close();
    release();
  };
}

/** Undefined where it has just gone. */
function versionOf(file: string): string | undefined {
  const found = statSync(file, { bigint: true, throwIfNoEntry: false });
  return found && `${found.ino} ${found.mtimeNs}`;
}

class Servers {
  readonly #folder: string;
  readonly #log: Logger;
  /** By file. */
  readonly #known = new Map<string, { version: string; step: NamesStep }>();
  /** By address. */
  readonly #zones = new Map<string, Zone>();
  readonly #servers = new Map<string, NameServer>();
  /** What was said of an address that cannot be served. */
  readonly #said = new Map<string, string>();
  #upstream: Upstream | undefined;
  #last: Promise<void> = Promise.resolve();
  #closed = false;

  constructor(folder: string, log: Logger) {
    this.#folder = folder;
    this.#log = log;
  }

  /** One after the other. Never throws. */
  look(): Promise<void> {
    this.#last = this.#last
      .then(() => this.#look())
      .catch((error: unknown) => {
        this.#log.warn({ error: String(error) }, 'the names of containers could not be looked at');
      });
    return this.#last;
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#last;
    for (const server of this.#servers.values()) server.close();
  }

  async #look(): Promise<void> {
    if (this.#closed) return;
    const files = new Set(filesOf(this.#folder));
    for (const [file, { step }] of this.#known) if (!files.has(file)) this.#forget(file, step);
    const changed = [...files].filter((file) => this.#known.get(file)?.version !== versionOf(file));
    if (changed.length > 0) await this.#read(changed);
    for (const [address, zone] of this.#zones) {
      if (zone.size > 0) await this.#open(address, zone);
      else this.#close(address);
    }
  }

  /** With the codec, which an agent without names does not load. */
  async #read(files: readonly string[]): Promise<void> {
    const { Zone } = await import('./zone.ts');
    for (const file of files) {
      const [before, version, step] = [this.#known.get(file), versionOf(file), readNames(file)];
      if (before) this.#forget(file, before.step);
      if (step === undefined || version === undefined) continue;
      this.#known.set(file, { version, step });
      for (const address of step.servers) {
        this.#zones.set(address, (this.#zones.get(address) ?? new Zone()).add(step));
      }
    }
  }

  #forget(file: string, step: NamesStep): void {
    this.#known.delete(file);
    for (const address of step.servers) this.#zones.get(address)?.remove(step);
  }

  #close(address: string): void {
    this.#zones.delete(address);
    this.#servers.get(address)?.close();
    this.#servers.delete(address);
  }

  async #open(address: string, zone: Zone): Promise<void> {
    if (this.#servers.has(address)) return;
    const [{ NameServer }, { Upstream }] = await Promise.all([
      import('./server.ts'),
      import('./upstream.ts'),
    ]);
    this.#upstream ??= new Upstream(RESOLVERS);
    const own = () => new Set(this.#servers.keys());
    try {
      this.#servers.set(address, await NameServer.open({ address, zone, upstream: this.#upstream, own }));
      this.#said.delete(address);
      this.#log.info({ address }, 'names are answered');
    } catch (error) {
      this.#sayOnce(address, String(error));
    }
  }

  /** It is tried again soon. */
  #sayOnce(address: string, reason: string): void {
    setTimeout(() => void this.look(), AGAIN).unref();
    if (this.#said.get(address) === reason) return;
    this.#said.set(address, reason);
    this.#log.error({ address, reason }, 'names cannot be answered: containers that ask there get no answer');
  }
}
