/** Names of settings as people write them, and which of them this host's administrator allows. */
import fs from 'node:fs';
import { dirname, join } from 'node:path';
import type { Ambient } from '../../cni/ambient.ts';
import { CniError, ErrorCode } from '../../cni/errors.ts';

/** Only these are a network namespace's own. */
const OWN = 'net/';
/** The last path of a setting is no folder, and none leads upwards. */
const PLACE = /^[^/]+(\/[^/]+)+$/;

/**
 * A setting's path below /proc/sys: `net.ipv4.conf.IFNAME.arp_filter` and `net/ipv4/conf/eth0.100/arp_filter`; where the first
 * separator is a slash, dots are part of a name (sysctl(8)). IFNAME stands for the container's interface.
 * Throws CniError(invalidConfig).
 */
export function sysctlPath(key: string, ifname: string): string {
  const separator = /[./]/.exec(key)?.[0];
  const path = (separator === '.' ? key.replaceAll('.', '/') : key).replace('IFNAME', ifname);
  const parts = path.split('/');
  if (PLACE.test(path) && path.startsWith(OWN) && !parts.includes('..') && !parts.includes('.')) return path;
  throw new CniError(
    ErrorCode.invalidConfig,
    `sysctl: ${JSON.stringify(key)}: wanted a setting of the network such as net.core.somaxconn: others are not the container's own`,
  );
}

/** `/etc/cni/tuning/allowlist.conf`, beside the folder of the configurations. */
export const allowListFile = ({ paths }: Ambient) => join(dirname(paths.confDir), 'tuning', 'allowlist.conf');

/**
 * Where there is an allow list, each key has to match one of its lines, which are regular expressions, anywhere in it.
 * Throws CniError(invalidConfig), (io).
 */
export function requireAllowed(keys: readonly string[], ambient: Ambient): void {
  if (keys.length === 0) return;
  const file = allowListFile(ambient);
  const patterns = readAllowList(file);
  const refused = patterns && keys.find((key) => !patterns.some((pattern) => pattern.test(key)));
  if (refused === undefined) return;
  throw new CniError(
    ErrorCode.invalidConfig,
    `sysctl: ${refused} is not allowed on this host: no line of ${file} matches it`,
  );
}

function readAllowList(file: string): RegExp[] | undefined {
  let text: string;
  try {
    text = fs.readFileSync(file, 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    throw new CniError(ErrorCode.io, `cannot read ${file}, which says what may be set: ${code}`);
  }
  return text.split('\n').flatMap((line, i) => {
    const words = line.trim();
    if (words === '') return [];
    try {
      return [new RegExp(words)];
    } catch {
      throw new CniError(
        ErrorCode.invalidConfig,
        `${file}, line ${i + 1}: ${words} is no regular expression`,
      );
    }
  });
}
