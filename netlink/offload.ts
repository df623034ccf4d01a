/** Offloads of links (net/ethtool/ioctl.c). */
import type { Namespace } from './door.ts';
import { handleOf } from './namespace.ts';
import { loadNative, withCode } from './native.ts';

/** Whether a link leaves the checksums of what it sends to whoever sends it on. Throws an Error with `code` (ENODEV). */
export async function checksumOffload(ns: Namespace, link: string): Promise<boolean> {
  try {
    return await loadNative().checksumOffload(handleOf(ns), link);
  } catch (error) {
    throw withCode(error, `ask ${link} for its checksum offload`);
  }
}

/** Switches it on or off. Throws an Error with `code` (ENODEV; EOPNOTSUPP, EINVAL where the link cannot). */
export async function setChecksumOffload(ns: Namespace, link: string, on: boolean): Promise<void> {
  try {
    await loadNative().checksumOffload(handleOf(ns), link, on);
  } catch (error) {
    throw withCode(error, `switch checksum offload of ${link} ${on ? 'on' : 'off'}`);
  }
}
