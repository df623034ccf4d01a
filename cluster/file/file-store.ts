/** A registry in a YAML file: the embedded default, for hosts that share it or people who write it. What is there stays until it is given back. */
import fs from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { makeFolder } from '../../cni/folder.ts';
import { lock } from '../../netlink/lock.ts';
import { subnetsOfOthers } from '../registry/allocate.ts';
import { overlapsAny } from '../registry/blocks.ts';
import type { Change, Look, Store } from '../registry/store.ts';
import { RegistryError, type Watch, type WatchHooks } from '../registry.ts';
import { type RegistryDocument, readDocument } from './document.ts';
import { watchFile } from './watch-file.ts';

/** Bytes: more is no registry, and would be held in memory several times over. */
const LARGEST = 16 * 1024 * 1024;

export class FileStore implements Store {
  readonly where: string;
  readonly #file: string;

  /** `file`: an absolute path. It and its folder may be missing. */
  constructor(file: string) {
    this.#file = file;
    this.where = `file ${file}`;
  }

  async look(network: string, _fresh: boolean): Promise<Look> {
    const { text, document } = await this.#read();
    return { state: document.state(network), swap: (change) => this.#swap(network, text, change) };
  }

  /** Anybody's change between the look and now is one too many: the next look is cheap. */
  async #swap(network: string, seen: string, change: Change): Promise<boolean> {
    const { text, document } = await this.#read();
    if (text !== seen) return false;
    // People may have forbidden writing: what changes nothing does not need it.
    if (document.changed(network, change) === undefined) return true;
    const release = await this.#lock();
    try {
      const now = await this.#read();
      if (now.text !== seen) return false;
      if (clashes(now.document, network, change)) return false;
      this.#write(now.document.changed(network, change) ?? now.text);
      return true;
    } finally {
      release();
    }
  }

  watch(network: string, hooks: WatchHooks): Watch {
    return watchFile(this.#file, {
      read: async () => (await this.#read(true)).document.state(network),
      ...hooks,
    });
  }

  async close(): Promise<void> {}

  async #read(mustExist = false): Promise<{ text: string; document: RegistryDocument }> {
    const yaml = await import('yaml');
    const text = this.#text(mustExist);
    return { text, document: readDocument(yaml, this.#file, text) };
  }

  #text(mustExist: boolean): string {
    try {
      const { size } = fs.statSync(this.#file);
      if (size > LARGEST) {
        throw new RegistryError(
          'invalid',
          `registry file ${this.#file}: has ${size} bytes, wanted at most ${LARGEST}`,
        );
      }
      return fs.readFileSync(this.#file, 'utf8');
    } catch (error) {
      if (error instanceof RegistryError) throw error;
      if ((error as NodeJS.ErrnoException).code === 'ENOENT' && !mustExist) return '';
      throw failure(`registry file ${this.#file} cannot be read`, error);
    }
  }

  async #lock(): Promise<() => void> {
    try {
      makeFolder(dirname(this.#file), 0o755);
      return await lock(join(dirname(this.#file), `.${basename(this.#file)}.lock`));
    } catch (error) {
      throw failure(`registry file ${this.#file} cannot be locked for writing`, error);
    }
  }

  /** Atomic, and on the disk before it has its name. A link stays one: what it points at is replaced. */
  #write(text: string): void {
    try {
      const old = fs.statSync(this.#file, { throwIfNoEntry: false });
      const target = old === undefined ? this.#file : fs.realpathSync(this.#file);
      const temporary = join(dirname(target), `.${basename(target)}.new`);
      fs.writeFileSync(temporary, text, { mode: 0o600, flush: true });
      fs.chmodSync(temporary, old === undefined ? 0o600 : old.mode & 0o777);
      if (old !== undefined) fs.chownSync(temporary, old.uid, old.gid);
      fs.renameSync(temporary, target);
    } catch (error) {
      throw failure(`registry file ${this.#file} cannot be written`, error);
    }
  }
}

/** The rules decide on a look; that nobody holds what another holds does not rest on them alone. */
function clashes(document: RegistryDocument, network: string, { host, member }: Change): boolean {
  if (!member) return false;
  const state = document.state(network);
  const before = state.members.find((one) => one.host === host)?.subnets ?? [];
  const others = subnetsOfOthers(state, host);
  return member.subnets.some((subnet) => !before.includes(subnet) && overlapsAny(subnet, others));
}

function failure(what: string, error: unknown): RegistryError {
  const { code, message } = error as NodeJS.ErrnoException;
  return new RegistryError('unreachable', `${what}: ${code ?? message}`, { cause: error });
}
