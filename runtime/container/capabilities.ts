/** Capabilities (capabilities(7)) that a container's root keeps, and the masks that the kernel wants. */

/** linux/capability.h, in the order of the numbers. */
export const CAPABILITIES: readonly string[] =
  `CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE NET_BROADCAST
NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE
SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND
AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE`.split(/\s+/);

/**
 * What other runtimes leave to a container's root, but MKNOD: without a device controller, which v2 has only as a program of BPF, it would
 * open the disks of the host.
 */
export const DEFAULT_CAPABILITIES: readonly string[] =
  'CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID SETPCAP NET_BIND_SERVICE NET_RAW SYS_CHROOT AUDIT_WRITE SETFCAP'.split(
    ' ',
  );

/** `0x...`, one bit a capability; names that are not known are left out. */
export function capabilityMask(names: readonly string[]): string {
  const numbers = names.map((name) => CAPABILITIES.indexOf(name)).filter((number) => number >= 0);
  return `0x${numbers.reduce((bits, number) => bits | (1n << BigInt(number)), 0n).toString(16)}`;
}
