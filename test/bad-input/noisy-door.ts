/** A kernel in memory that answers what it likes: every error it knows, in any order, and now and then success. */
import { type Door, type Namespace, NetlinkError, type Op, type Replies } from '../../netlink/door.ts';

/** What happens at each question, in turn; begins again at its end. Empty: everything succeeds that can without an answer. */
export type Moods = readonly string[];

export const ERRNOS = [
  ...[
    'EPERM',
    'EACCES',
    'ENOENT',
    'ENODEV',
    'EEXIST',
    'EBUSY',
    'EINVAL',
    'EOPNOTSUPP',
    'EAFNOSUPPORT',
    'ENOMEM',
  ],
  ...[
    'ENOBUFS',
    'ENETUNREACH',
    'EADDRNOTAVAIL',
    'ENETDOWN',
    'ERANGE',
    'EPROTONOSUPPORT',
    'EMFILE',
    'EIO',
    'ESRCH',
  ],
] as const;
const GOOD = 'good';
export const MOODS = [GOOD, GOOD, GOOD, ...ERRNOS] as const;

const systemError = (what: string, code: string) =>
  Object.assign(new Error(`cannot ${what}: ${code}`), { code });

/** No namespace of the machine is behind its paths, so a program that is run in one fails. */
export function noisyDoor(moods: Moods): Door {
  let asked = 0;
  const next = () => moods[asked++ % Math.max(1, moods.length)] ?? GOOD;
  const fileMood = (what: string) => {
    const mood = next();
    if (mood !== GOOD) throw systemError(what, mood);
  };
  const namespace = (path: string): Namespace => ({
    path,
    identity: path,
    fd: 0,
    async send<const T extends readonly Op[]>(...ops: T): Promise<Replies<T>> {
      const replies = ops.map((op, index) => answer(op, index, next()));
      return replies as unknown as Replies<T>;
    },
    async readFile(file) {
      fileMood(`read ${file}`);
      return '0\n';
    },
    async writeFile(file) {
      fileMood(`write ${file}`);
    },
    close() {},
  });
  return {
    async open(path = '/none/host') {
      fileMood(`open network namespace ${path}`);
      return namespace(`/none${path}`);
    },
  };
}

function answer(op: Op, index: number, mood: string): unknown {
  const error = (errno: string) => {
    const failure = new NetlinkError({ errno, what: op.what, index });
    if (op.tolerate?.includes(errno)) return { ok: false, error: failure };
    throw failure;
  };
  if (mood !== GOOD) return error(mood);
  try {
    return { ok: true, value: op.decode([]) };
  } catch {
    // What is asked for in vain is not there.
    return error(op.tolerate?.includes('ENOENT') ? 'ENOENT' : 'ENODEV');
  }
}
