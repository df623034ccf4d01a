/** A registry in a YAML file: the embedded default, for hosts that share it or people who write it. What is there stays until it is given back. */
import fs from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { makeFolder } from '../../cni/folder.ts';
import { lock } from '../../netlink/lock.ts';
import { applies } from '../registry/guard.ts';
import type { Change, Look, Store } from '../registry/store.ts';
import { type NetworkState, RegistryError, type Watch, type WatchHooks } from '../registry.ts';
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
    const state = (await this.#read()).document.state(network);
    return { state, swap: (change) => this.#swap(network, state, change) };
  }

  async #swap(network: string, seen: NetworkState, change: Change): Promise<boolean> {
    // People may have forbidden writing: what changes nothing does not need it.
    if ((await this.#changed(network, seen, change)) === '') return true;
    const release = await this.#lock();
    try {
      const text = await this.#changed(network, seen, change);
      if (text !== undefined && text !== '') this.#write(text);
      return text !== undefined;
    } finally {
      release();
    }
  }

  /** The file's new text; empty when nothing is to be changed, undefined when the change does not apply any more. */
  async #changed(network: string, seen: NetworkState, change: Change): Promise<string | undefined> {
    const { document } = await this.#read();
    return applies(seen, document.state(network), change)
      ? (document.changed(network, change) ?? '')
      : undefined;
  }

  watch(network: string, hooks: WatchHooks): Watch {
    return watchFile(this.#file, {
      read: async (before) => {
        const { text, document } = await this.#read(before !== 'missing');
        // Who writes a file in place empties it first.
        if (before === 'full' && text.trim() === '')
          throw new RegistryError('invalid', `${this.where} is empty`);
        return document.state(network);
      },
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

function failure(what: string, error: unknown): RegistryError {
  const { code, message } = error as NodeJS.ErrnoException;
  return new RegistryError('unreachable', `${what}: ${code ?? message}`, { cause: error });
}
