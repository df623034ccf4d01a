/** The addresses of a network that containers here hold: names of lease files (host-local's format). Takes no lock. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { isCanonical } from '../../cni/prefix.ts';

/** None where the folder cannot be read. */
export function leasedAddresses(dataDir: string, network: string): string[] {
  try {
    return readdirSync(join(dataDir, network)).filter(isCanonical);
  } catch {
    return [];
  }
}
