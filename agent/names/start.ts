/** The agent's answers to names (plugins/dnsname): at every address that a file of the names' folder asks for. */
import type { Logger } from 'pino';
import type { Ambient } from '../../cni/ambient.ts';
import type { NamesStep } from '../../plan/step.ts';
import { readNames } from '../../plan/steps/names.ts';
import { answeredLock, filesOf } from '../../plugins/dnsname/dnsname.ts';
import { namesFolder } from '../../plugins/dnsname/plan.ts';
import { watchFolder } from '../cluster/watch-folder.ts';
import type { NameServer } from './server.ts';
import type { Upstream } from './upstream.ts';

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

class Servers {
  readonly #folder: string;
  readonly #log: Logger;
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
    const byAddress = new Map<string, NamesStep[]>();
    for (const step of filesOf(this.#folder).map(readNames)) {
      for (const address of step?.servers ?? []) {
        byAddress.set(address, [...(byAddress.get(address) ?? []), step as NamesStep]);
      }
    }
    for (const [address, server] of this.#servers) {
      if (byAddress.has(address)) continue;
      server.close();
      this.#servers.delete(address);
    }
    if (byAddress.size === 0) return;
    // With the codec; an agent without names does not load it.
    const [{ Zone }, { NameServer }, { Upstream }] = await Promise.all([
      import('./zone.ts'),
      import('./server.ts'),
      import('./upstream.ts'),
    ]);
    this.#upstream ??= new Upstream(RESOLVERS);
    for (const [address, known] of byAddress) {
      const zone = new Zone(known);
      const running = this.#servers.get(address);
      if (running) running.zone = zone;
      else {
        const own = () => new Set(this.#servers.keys());
        const options = { address, zone, upstream: this.#upstream, own };
        await NameServer.open(options).then(
          (server) => {
            this.#servers.set(address, server);
            this.#said.delete(address);
            this.#log.info({ address }, 'names are answered');
          },
          (error: unknown) => this.#sayOnce(address, String(error)),
        );
      }
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
