/**
 * What the agent knew last of a network between hosts: `<cacheDir>/weft/networks/<network>.known`, beside the membership file that plugins read.
 * With it an agent that starts while the registry cannot be reached, even after a reboot, has the network as it was.
 */
import { readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import type { ClusterNetwork } from '../../cluster/network.ts';
import type { NetworkState } from '../../cluster/registry.ts';
import { makeFolder } from '../../cni/folder.ts';
import { membershipFile } from '../../ipam/cluster/membership.ts';

const FORMAT = 'weft network 1';
const ENDING = '.known';

export interface Saved {
  format: typeof FORMAT;
  /** What is in the kernel, which a changed conflist may not be. */
  network: ClusterNetwork;
  host: string;
  addresses: readonly string[];
  /** The registry, as messages name it. */
  registry: string;
  state: NetworkState;
  /** Milliseconds since the epoch. */
  written: number;
}

const savedFile = (cacheDir: string, network: string) =>
  membershipFile(cacheDir, network).replace(/\.json$/, ENDING);

/** Undefined when there is none, or it is damaged: the registry knows all of it but for the kernel's part, which is derived. */
export function readSaved(cacheDir: string, network: string): Saved | undefined {
  try {
    const value = JSON.parse(readFileSync(savedFile(cacheDir, network), 'utf8')) as Partial<Saved> | null;
    return value?.format === FORMAT && value.network && value.state ? (value as Saved) : undefined;
  } catch {
    return undefined;
  }
}

/** Networks that have one. */
export function savedNetworks(cacheDir: string): string[] {
  try {
    return readdirSync(dirname(savedFile(cacheDir, 'any'))).flatMap((name) =>
      name.endsWith(ENDING) ? [name.slice(0, -ENDING.length)] : [],
    );
  } catch {
    return [];
  }
}

/** Atomic. Throws an Error with `code`. */
export function writeSaved(cacheDir: string, saved: Omit<Saved, 'format'>): void {
  const file = savedFile(cacheDir, saved.network.name);
  makeFolder(dirname(file), 0o700);
  writeFileSync(`${file}.new`, JSON.stringify({ format: FORMAT, ...saved }), { mode: 0o600 });
  renameSync(`${file}.new`, file);
}

/** With the membership file: this host is no member any more. */
export function forget(cacheDir: string, network: string): void {
  rmSync(membershipFile(cacheDir, network), { force: true });
  rmSync(savedFile(cacheDir, network), { force: true });
}
