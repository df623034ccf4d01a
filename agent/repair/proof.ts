/** What proves that nobody lives behind a record any more. Where it does not, what was left behind stays. */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { parseLease } from '../../ipam/leases.ts';
import { type AttachmentRecord, readRecord } from '../../plugins/record.ts';
import { type Entry, isCurrent } from './records.ts';

/** What the proof stands on besides files. */
export interface Present {
  /** The kernel's boot id. */
  boot: string;
  /** `dev:inode` of the host's network namespace. */
  host: string;
  /** Names of the host's links. */
  links: ReadonlySet<string>;
}

export type Standing =
  | { is: 'alive' }
  | { is: 'dead'; proof: string }
  /** Something speaks for its end, and something else against it. */
  | { is: 'unclear'; reason: string };

/** Reads files below /proc, the namespace's path and the network's leases. */
export function standingOf(entry: Entry, present: Present): Standing {
  const { record } = entry;
  if (record.boot !== present.boot) return unlessHeld(entry, 'it is from before the last start of this host');
  // Another host's (a simulated one, which has our folders).
  if (record.host !== present.host) return { is: 'alive' };
  const now = identityOf(record.netns);
  if (now === record.sandbox) return { is: 'alive' };
  const found = now === undefined ? `${record.netns} is gone` : `${record.netns} is another namespace`;
  const own = record.steps.flatMap((step) =>
    step.kind === 'veth' ? [step.host.name] : step.kind === 'shape' ? [step.dev] : [],
  );
  // Its path may be gone while the namespace lives on, held by a process.
  const standing = own.find((name) => present.links.has(name));
  if (standing !== undefined) return { is: 'unclear', reason: `${found}, but its link ${standing} stands` };
  if (own.length === 0)
    return { is: 'unclear', reason: `${found}, but no link of its own would show its end` };
  return unlessHeld(entry, `${found}, and its link has gone with it`);
}

/** A lease that was written after the record is of an attachment that somebody else made since. */
function unlessHeld(entry: Entry, proof: string): Standing {
  if (!isCurrent(entry)) return { is: 'alive' };
  const newer = newerLease(entry);
  return newer === undefined
    ? { is: 'dead', proof }
    : { is: 'unclear', reason: `${proof}, but its container holds ${newer} since then` };
}

/** `dev:inode` of a network namespace's path, as Namespace.identity has it; undefined where nothing is. */
function identityOf(path: string): string | undefined {
  const found = statSync(path, { bigint: true, throwIfNoEntry: false });
  return found && `${found.dev}:${found.ino}`;
}

function newerLease({ file, record, written }: Entry): string | undefined {
  const folder = leaseFolder(readRecord(file) ?? record);
  return leaseFiles(folder).find((name) => {
    const lease = join(folder, name);
    const holder = parseLease(readFileSync(lease, 'utf8'));
    return holder?.containerId === record.containerId && statSync(lease).mtimeMs > written;
  });
}

function leaseFiles(folder: string): string[] {
  try {
    return readdirSync(folder, { withFileTypes: true })
      .filter((entry) => entry.isFile() && /^[0-9a-f]*[.:][0-9a-f.:]+$/.test(entry.name))
      .map(({ name }) => name);
  } catch {
    return [];
  }
}

function leaseFolder({ network, env, input }: AttachmentRecord): string {
  const dataDir = /"dataDir"\s*:\s*"([^"]+)"/i.exec(input)?.[1];
  return join(dataDir ?? env.WEFT_DATA_DIR ?? '/var/lib/cni/networks', network);
}
