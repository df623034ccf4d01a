/** The attachments of this host, as their files say (plugins/record.ts). A file is read again only when it was replaced. */
import { type BigIntStats, statSync } from 'node:fs';
import { join } from 'node:path';
import { type AttachmentRecord, readRecord, recordNames } from '../../plugins/record.ts';

export interface Entry {
  file: string;
  /** What the file was when it was read: another ADD replaces it. */
  version: string;
  /** Milliseconds since the epoch. */
  written: number;
  record: AttachmentRecord;
}

const versionOf = ({ ino, mtimeNs }: BigIntStats) => `${ino} ${mtimeNs}`;

function look(file: string): BigIntStats | undefined {
  return statSync(file, { bigint: true, throwIfNoEntry: false });
}

/** Whether the attachment is still the one that was read: neither gone, nor made once more. */
export function isCurrent({ file, version }: Entry): boolean {
  const found = look(file);
  return found !== undefined && versionOf(found) === version;
}

/** A folder's time tells of every file that came, went or was replaced, but not twice within a tick of the kernel's clock; ms. */
const TICKS = 50;

export class Records {
  readonly #folder: string;
  #entries = new Map<string, Entry>();
  #list: readonly Entry[] = [];
  /** The folder's time when it was listed, by what was read then; undefined when it may change again without being seen. */
  #listed: { all: bigint | undefined; new: bigint | undefined } = { all: undefined, new: undefined };

  constructor(folder: string) {
    this.#folder = folder;
  }

  /**
   * Without the configurations (`input`), which would fill the memory of a process that stays; the same array where nothing has changed.
   * `new`: names that are known are not looked at again, which takes a tenth of the time; what was replaced since is then as it was.
   */
  all(which: 'all' | 'new' = 'all'): readonly Entry[] {
    const folder = look(this.#folder);
    if (folder === undefined) return [];
    if (folder.mtimeNs === this.#listed[which]) return this.#list;
    const now = new Map<string, Entry>();
    for (const name of recordNames(this.#folder)) {
      const entry = (which === 'new' ? this.#entries.get(name) : undefined) ?? this.#read(name);
      if (entry !== undefined) now.set(name, entry);
    }
    this.#entries = now;
    this.#list = [...now.values()];
    const time = Date.now() - Number(folder.mtimeMs) > TICKS ? folder.mtimeNs : undefined;
    this.#listed = { all: which === 'all' ? time : undefined, new: time };
    return this.#list;
  }

  #read(name: string): Entry | undefined {
    const file = join(this.#folder, name);
    const found = look(file);
    if (found === undefined) return undefined;
    const version = versionOf(found);
    const known = this.#entries.get(name);
    if (known?.version === version) return known;
    const record = readRecord(file);
    return record && { file, version, written: Number(found.mtimeMs), record: { ...record, input: '' } };
  }
}
