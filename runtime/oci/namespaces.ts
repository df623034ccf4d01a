/** linux.namespaces: which are new, and which are somebody's (config-linux.md, "Namespaces"). Pure. */
import type { NamespaceKind } from '../container/spec.ts';
import { type OciConfig, OciError } from './bundle.ts';

const KINDS: Readonly<Record<string, NamespaceKind>> = {
  pid: 'pid',
  network: 'net',
  mount: 'mnt',
  ipc: 'ipc',
  uts: 'uts',
  user: 'user',
  cgroup: 'cgroup',
  time: 'time',
};

export interface Namespaces {
  made: readonly NamespaceKind[];
  joined: readonly { kind: NamespaceKind; path: string }[];
  /** Both: in these the container is apart from the host. */
  all: readonly NamespaceKind[];
}

/** Throws OciError for those that cannot be made or joined here. */
export function namespacesOf({ linux = {} }: OciConfig): Namespaces {
  const made: NamespaceKind[] = [];
  const joined: { kind: NamespaceKind; path: string }[] = [];
  for (const { type, path } of linux.namespaces ?? []) {
    const kind = KINDS[type];
    if (kind === undefined)
      throw new OciError(`linux.namespaces has an unknown type ${JSON.stringify(type)}`);
    if (made.includes(kind) || joined.some((one) => one.kind === kind))
      throw new OciError(`linux.namespaces has the type ${type} twice`);
    if (!path) made.push(kind);
    else if (kind === 'mnt')
      throw new OciError(
        `linux.namespaces: a ${type} namespace can be made here, not joined (${path}): its files would be those of another container`,
      );
    else joined.push({ kind, path });
  }
  if (!made.includes('mnt')) throw new OciError('linux.namespaces wants a mount namespace: none is there');
  // Who has joined a user namespace has no power over those of the host any more.
  joined.sort((a, b) => Number(a.kind === 'user') - Number(b.kind === 'user'));
  return { made, joined, all: [...made, ...joined.map(({ kind }) => kind)] };
}

const OF_IPC = /^(kernel\.(msgmax|msgmnb|msgmni|sem|shmall|shmmax|shmmni|shm_rmid_forced)|fs\.mqueue\..+)$/;
const OF_UTS = /^kernel\.(domainname|hostname)$/;

/** Kernel parameters that belong to a namespace of the container; others would change the host. Throws OciError for those. */
export function sysctlsOf({ linux = {} }: OciConfig, { all }: Namespaces): [path: string, value: string][] {
  return Object.entries(linux.sysctl ?? {}).map(([name, value]) => {
    // Either separator may stand in a name: the first one says which it is (sysctl(8)).
    const path = /^[^./]*\//.test(name)
      ? name
      : name.replaceAll(/[./]/g, (separator) => (separator === '.' ? '/' : '.'));
    const dotted = path.replaceAll('/', '.');
    const kind = dotted.startsWith('net.')
      ? 'net'
      : OF_IPC.test(dotted)
        ? 'ipc'
        : OF_UTS.test(dotted)
          ? 'uts'
          : undefined;
    if (path.split('/').some((part) => part === '..' || part === ''))
      throw new OciError(`linux.sysctl: ${JSON.stringify(name)} is no name of a kernel parameter`);
    if (kind === undefined || !all.includes(kind))
      throw new OciError(
        `linux.sysctl: ${name} would change the host: ${kind === undefined ? 'it belongs to no namespace' : `the container has no ${kind} namespace of its own`}`,
      );
    return [`/proc/sys/${path}`, value];
  });
}
