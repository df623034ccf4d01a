/** Files of /proc that tell of the container's limits instead of the host, where lxcfs serves them. */
import { readdirSync, readFileSync } from 'node:fs';
import type { Taken } from './devices.ts';

const MOUNT = '/var/lib/lxcfs';

/** None where lxcfs does not run. */
export function limitedFiles(mountinfo = readFileSync('/proc/self/mountinfo', 'utf8')): Taken[] {
  const runs = mountinfo
    .split('\n')
    .some((line) => line.includes(` ${MOUNT} `) && line.includes(' fuse.lxcfs '));
  if (!runs) return [];
  return readdirSync(`${MOUNT}/proc`).map((name) => ({
    source: `${MOUNT}/proc/${name}`,
    destination: `/proc/${name}`,
    options: 'nosuid,nodev,noexec',
    folder: false,
  }));
}
