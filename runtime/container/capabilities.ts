/** Capabilities (capabilities(7), linux/capability.h) that a container's root keeps, and the masks that the kernel wants. */

const NUMBERS = {
  CHOWN: 0,
  DAC_OVERRIDE: 1,
  FOWNER: 3,
  FSETID: 4,
  KILL: 5,
  SETGID: 6,
  SETUID: 7,
  SETPCAP: 8,
  NET_BIND_SERVICE: 10,
  NET_RAW: 13,
  SYS_CHROOT: 18,
  AUDIT_WRITE: 29,
  SETFCAP: 31,
} as const;

/**
 * What other runtimes leave to a container's root, but MKNOD: without a device controller, which v2 has only as a program of BPF, it would
 * open the disks of the host.
 */
export const DEFAULT_CAPABILITIES = Object.keys(NUMBERS) as readonly (keyof typeof NUMBERS)[];

/** `0x...`, one bit a capability. */
export function capabilityMask(names: readonly (keyof typeof NUMBERS)[]): string {
  const mask = names.reduce((bits, name) => bits | (1n << BigInt(NUMBERS[name])), 0n);
  return `0x${mask.toString(16)}`;
}
