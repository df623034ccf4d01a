import { CniError, ErrorCode } from '../cni/errors.ts';
import type { Namespace } from '../netlink/door.ts';

/** Bits of linux/capability.h: to change links, and to enter a container's namespace. */
const NEEDED = { CAP_NET_ADMIN: 12n, CAP_SYS_ADMIN: 21n } as const;

/** Asks nothing of the kernel but what this process may do. Throws CniError(notAvailable), naming what is missing. */
export async function requireRights(host: Namespace): Promise<void> {
  const status = await host.readFile('/proc/thread-self/status');
  const effective = /^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1];
  if (effective === undefined) return;
  const missing = Object.entries(NEEDED).filter(([, bit]) => ((BigInt(`0x${effective}`) >> bit) & 1n) === 0n);
  if (missing.length === 0) return;
  const names = missing.map(([name]) => name).join(' and ');
  throw new CniError(ErrorCode.notAvailable, `no ADD can succeed: run as root (${names} needed)`);
}
