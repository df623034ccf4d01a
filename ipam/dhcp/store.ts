/**
 * Leases on the disk: `<runDir>/dhcp/<hash>.json`, one for each attachment. They end with the boot, as containers do. Whoever renews them holds
 * a lock on `renewed`; whoever writes one holds `lock`.
 */
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import { join } from 'node:path';
import type { Ambient } from '../../cni/ambient.ts';
import { makeFolder } from '../../cni/folder.ts';
import type { AttachmentId } from '../../cni/types.ts';
import { FORMAT, type Lease } from './lease.ts';

export const leaseFolder = (runDir: string) => join(runDir, 'dhcp');

/** Locked by who renews all leases of a folder. */
export const renewedLock = (folder: string) => join(folder, 'renewed');

const ENDING = '.json';

/** Names of any length and spelling, as one of a fixed length. */
function fileOf(folder: string, network: string, { containerId, ifname }: AttachmentId): string {
  const hash = createHash('sha256')
    .update(JSON.stringify([network, containerId, ifname]))
    .digest('hex');
  return join(folder, `${hash.slice(0, 32)}${ENDING}`);
}

export const fileOfLease = (folder: string, lease: Lease) => fileOf(folder, lease.network, lease);

/** Undefined when there is none, or it is damaged, or of another boot: then it means nothing. */
export function readLease(file: string, boot: string): Lease | undefined {
  try {
    const value = JSON.parse(fs.readFileSync(file, 'utf8')) as Partial<Lease> | null;
    return value?.format === FORMAT && value.boot === boot ? (value as Lease) : undefined;
  } catch {
    return undefined;
  }
}

export function leaseOf(folder: string, network: string, id: AttachmentId, boot: string): Lease | undefined {
  return readLease(fileOf(folder, network, id), boot);
}

/** Names of the files, whole paths. */
export function leaseFiles(folder: string): string[] {
  try {
    return fs
      .readdirSync(folder)
      .filter((name) => name.endsWith(ENDING))
      .map((name) => join(folder, name));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}

type Lock = Ambient['lock'];

/** One at a time, over all processes. Makes the folder. Throws an Error with `code`. */
export async function locked<T>(folder: string, lock: Lock, work: () => T): Promise<T> {
  makeFolder(folder, 0o700);
  const release = await lock(join(folder, 'lock'));
  try {
    return work();
  } finally {
    release();
  }
}

function write(folder: string, lease: Lease): void {
  const file = fileOfLease(folder, lease);
  fs.writeFileSync(`${file}.new`, JSON.stringify(lease), { mode: 0o600 });
  fs.renameSync(`${file}.new`, file);
}

/** Atomic. Throws an Error with `code`. */
export function keepLease(folder: string, lock: Lock, lease: Lease): Promise<void> {
  return locked(folder, lock, () => write(folder, lease));
}

/** As keepLease, where the lease is still the one that was read: not given back, nor got anew. False where it is not. */
export function replaceLease(folder: string, lock: Lock, old: Lease, lease: Lease): Promise<boolean> {
  return locked(folder, lock, () => {
    const current = readLease(fileOfLease(folder, old), old.boot);
    if (current?.obtained !== old.obtained || current.sandbox !== old.sandbox) return false;
    write(folder, lease);
    return true;
  });
}

/** Returns it as it was last. */
export function dropLease(
  folder: string,
  lock: Lock,
  file: string,
  boot: string,
): Promise<Lease | undefined> {
  return locked(folder, lock, () => {
    const lease = readLease(file, boot);
    fs.rmSync(file, { force: true });
    return lease;
  });
}

export function dropLeaseOf(
  folder: string,
  lock: Lock,
  network: string,
  id: AttachmentId,
  boot: string,
): Promise<Lease | undefined> {
  return dropLease(folder, lock, fileOf(folder, network, id), boot);
}
