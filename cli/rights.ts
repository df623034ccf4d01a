/** What a command may do. */
import { readFileSync } from 'node:fs';
import { CniError, ErrorCode } from '../cni/errors.ts';

/** Bits of linux/capability.h: to change links, and to enter a container's namespace. */
const NEEDED = (1n << 12n) | (1n << 21n);

/** Better told at once than by the first file that cannot be written. Throws CniError(io). */
export function assertRoot(command: string, why: string): void {
  const effective = /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1];
  if (effective === undefined || (BigInt(`0x${effective}`) & NEEDED) === NEEDED) return;
  throw new CniError(ErrorCode.io, `weft ${command} needs root (CAP_NET_ADMIN and CAP_SYS_ADMIN), ${why}`);
}
