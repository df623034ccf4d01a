import { type Door, type Namespace, NetlinkError, type Op, type Replies } from '../../netlink/door.ts';

/** How the n-th thing that a plugin asks of the kernel fails. */
export type Failure =
  /** Nothing of it happens. */
  | 'refused'
  /** All of it happens, then the kernel says no: an operation of several messages that fails at its last. */
  | 'half done';

export interface FailingDoor extends Door {
  /** What was asked so far, in words. */
  readonly asked: string[];
}

/** A door through which the n-th thing (counted from 1) fails; all others pass. Undoing works again. */
export function failingDoor(
  door: Door,
  n: number,
  failure: Failure = 'refused',
  errno = 'ENOMEM',
): FailingDoor {
  const asked: string[] = [];
  const due = (what: string) => asked.push(what) === n;

  const wrap = (namespace: Namespace): Namespace => ({
    path: namespace.path,
    identity: namespace.identity,
    fd: namespace.fd,
    async send<const T extends readonly Op[]>(...ops: T): Promise<Replies<T>> {
      const at = ops.findIndex((op) => due(op.what));
      if (at < 0) return await namespace.send(...ops);
      await namespace.send(...ops.slice(0, failure === 'refused' ? at : at + 1));
      throw new NetlinkError({ errno, what: ops[at]?.what ?? '', index: at });
    },
    readFile: async (path) => {
      if (due(`read ${path}`)) throw Object.assign(new Error('injected'), { code: 'EIO' });
      return await namespace.readFile(path);
    },
    writeFile: async (path, data) => {
      if (due(`write ${path}`)) throw Object.assign(new Error('injected'), { code: 'EIO' });
      await namespace.writeFile(path, data);
    },
    close: () => namespace.close(),
  });
  return { asked, open: async (path) => wrap(await door.open(path)) };
}
