/** Tap links: links whose other end is a program that opens /dev/net/tun (Documentation/networking/tuntap.rst). */
import type { Namespace } from './door.ts';
import { loadNative, withCode } from './native.ts';

/** linux/if_tun.h, as IFLA_TUN_TYPE has it. */
export const IFF_TAP = 2;

export interface NewTap {
  name: string;
  /** Several programs, or threads, may open it at once, each its own queue. */
  multiQueue?: boolean | undefined;
  /** Numbers of the user and the group that may open it besides root; absent: whoever may open /dev/net/tun and has CAP_NET_ADMIN. */
  owner?: number | undefined;
  group?: number | undefined;
}

/**
 * Makes a tap link, down, which stays until it is deleted. Throws an Error with `code`: EBUSY when the name is taken, ENOENT, ENODEV or
 * ENXIO where the kernel has no such links.
 */
export async function createTap(
  { fd }: Namespace,
  { name, multiQueue, owner, group }: NewTap,
): Promise<void> {
  try {
    await loadNative().createTap(fd, name, multiQueue ?? false, owner, group);
  } catch (error) {
    throw withCode(error, `create tap ${name}`);
  }
}
