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

export class Records {
  readonly #folder: string;
  #entries = new Map<string, Entry>();

  constructor(folder: string) {
    this.#folder = folder;
  }

  all(): Entry[] {
    const now = new Map<string, Entry>();
    for (const name of recordNames(this.#folder)) {
      const file = join(this.#folder, name);
      const found = look(file);
      if (found === undefined) continue;
      const version = versionOf(found);
      const known = this.#entries.get(name);
      const record = known?.version === version ? known.record : readRecord(file);
      if (record !== undefined) now.set(name, { file, version, written: Number(found.mtimeMs), record });
    }
    this.#entries = now;
    return [...now.values()];
  }
}
