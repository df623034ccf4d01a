/** CNI_NETNS that is no network namespace, or not one to touch. IPAM is not asked: it never looks there. */
import t from 'tap';
import { GOOD } from './configurations.ts';
import { makePlace, type Place } from './place.ts';
import { type Row, refuseAll } from './table.ts';

interface Odd {
  name: string;
  /** The path; `root` is the host's temporary folder. */
  path: (place: Place) => string;
  make?: (path: string) => string;
  remove?: (path: string) => string;
  says: RegExp;
  del?: number;
}

const FOREIGN = /is no namespace: wanted the path of a network namespace/;
const GONE = /cannot be found: wanted the path of a network namespace/;
const OWN = /is the plugin's own: wanted the container's, or CNI_NETNS_OVERRIDE=1/;
const file = ({ host }: Place) => `${host.root}/odd`;
const rm = (path: string) => `rm -r '${path}'`;

const ODD: readonly Odd[] = [
  { name: 'gone', path: () => '/run/netns/no-such', says: GONE },
  { name: 'below a file', path: () => '/etc/passwd/ns', says: GONE },
  { name: 'a regular file', path: file, make: (path) => `: >'${path}'`, remove: rm, says: FOREIGN },
  { name: 'a folder', path: file, make: (path) => `mkdir '${path}'`, remove: rm, says: FOREIGN },
  { name: 'a FIFO', path: file, make: (path) => `mkfifo '${path}'`, remove: rm, says: FOREIGN },
  { name: 'a dangling link', path: file, make: (path) => `ln -s nowhere '${path}'`, remove: rm, says: GONE },
  { name: 'a link to itself', path: file, make: (path) => `ln -s odd '${path}'`, remove: rm, says: GONE },
  { name: 'an endless device', path: () => '/dev/zero', says: FOREIGN },
  { name: 'a terminal', path: () => '/dev/tty', says: FOREIGN },
  {
    name: 'an unbound name of ip netns',
    path: () => '/run/netns/left',
    make: (path) => `: >'${path}'`,
    remove: rm,
    says: FOREIGN,
  },
  ...['pid', 'mnt', 'uts', 'ipc', 'user', 'cgroup', 'time'].map(
    (kind): Odd => ({
      name: `a namespace of another kind (${kind})`,
      path: () => `/proc/self/ns/${kind}`,
      says: /no network namespace|something else|is no namespace/,
    }),
  ),
  { name: "the plugin's own", path: () => '/proc/self/ns/net', says: OWN, del: 8 },
  { name: "the plugin's own, by the host's name", path: ({ host }) => host.netns, says: OWN, del: 8 },
  { name: 'too long', path: () => `/${'a/'.repeat(3000)}`, says: GONE },
  { name: 'a text', path: () => 'container 5', says: GONE },
  { name: 'lines', path: () => '/run/netns/a\nb', says: GONE },
];

for (const plugin of ['bridge', 'ptp', 'loopback']) {
  t.test(plugin, async (t) => {
    const place = await makePlace(t);
    const rows = ODD.map(({ name, path, make, remove, says, del }): Row => {
      const at = path(place);
      return {
        name,
        plugin,
        input: GOOD[plugin] ?? {},
        env: { CNI_NETNS: at },
        code: 8,
        says: [says, new RegExp(at.split('\n', 1)[0]?.slice(0, 40) ?? '')],
        ...(make && { before: () => make(at) }),
        ...(remove && { after: () => remove(at) }),
        ...(del !== undefined && { del }),
      };
    });
    await refuseAll(t, rows, place);
  });
}
