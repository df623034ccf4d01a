/** Which control groups this host has: one hierarchy a controller (v1), one for all (v2), or both at once (cgroups(7)). */

/** Controllers that limits or measurements need. */
export const CONTROLLERS = [
  'cpu',
  'cpuacct',
  'cpuset',
  'memory',
  'pids',
  'blkio',
  'io',
  'freezer',
  'devices',
] as const;
export type Controller = (typeof CONTROLLERS)[number];

export interface Hierarchy {
  version: 1 | 2;
  /** Where it is mounted. */
  mount: string;
  controllers: readonly Controller[];
}

const isController = (word: string): word is Controller => (CONTROLLERS as readonly string[]).includes(word);

/** mountinfo writes space, tab, newline and backslash as octal numbers (proc(5)). */
const plainPath = (path: string) =>
  path.replaceAll(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));

/**
 * The hierarchies with a controller that is known here.
 * @param mountinfo text of /proc/self/mountinfo
 * @param controllersAt the text of `cgroup.controllers` of a v2 hierarchy mounted there
 */
export function hierarchies(mountinfo: string, controllersAt: (mount: string) => string): Hierarchy[] {
  const found: Hierarchy[] = [];
  for (const line of mountinfo.split('\n')) {
    // Hosts with many containers have thousands of other mounts.
    if (!line.includes(' - cgroup')) continue;
    const [head = '', tail = ''] = line.split(' - ');
    const mount = plainPath(head.split(' ')[4] ?? '');
    const [type, , options = ''] = tail.split(' ');
    if (type === 'cgroup')
      found.push({ version: 1, mount, controllers: options.split(',').filter(isController) });
    if (type === 'cgroup2') {
      found.push({
        version: 2,
        mount,
        controllers: controllersAt(mount).trim().split(' ').filter(isController),
      });
    }
  }
  // The same hierarchy may be mounted in several places: the first counts.
  const seen = new Set<string>();
  return found.filter(({ version, controllers }) => {
    const key = `${version} ${controllers.join(',')}`;
    if (controllers.length === 0 || seen.has(key)) return false;
    seen.add(key);
    return true;
  });
}
