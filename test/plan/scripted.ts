/** A network namespace in memory, whose answers a test writes: for kernels that are not this one. */
import { type Namespace, NetlinkError, type Op, type Replies } from '../../netlink/door.ts';
import type { Link } from '../../netlink/link.ts';
import type { Surroundings } from '../../plan/surroundings.ts';

/** One answer after the other; the last stays. */
export class Turns {
  readonly #answers: unknown[];
  constructor(...answers: unknown[]) {
    this.#answers = answers;
  }
  next(): unknown {
    return this.#answers.length > 1 ? this.#answers.shift() : this.#answers[0];
  }
}

/** By the operation's words; an errno name is an error, what is not listed succeeds without an answer. */
export type Script = Readonly<Record<string, unknown>>;

export const ERRNO = /^E[A-Z]+$/;

/** `asked` has the words of all operations, in order. */
export function scripted(script: Script, asked: string[], fd = 9): Namespace {
  return {
    path: undefined,
    identity: `${fd}:0`,
    fd,
    async send<const T extends readonly Op[]>(...ops: T): Promise<Replies<T>> {
      const replies = ops.map((op, index) => {
        asked.push(op.what);
        const listed = script[op.what];
        const answer = listed instanceof Turns ? listed.next() : listed;
        if (typeof answer !== 'string' || !ERRNO.test(answer)) return { ok: true, value: answer };
        const error = new NetlinkError({ errno: answer, what: op.what, index });
        if (!op.tolerate?.includes(answer)) throw error;
        return { ok: false, error };
      });
      return replies as unknown as Replies<T>;
    },
    readFile: async () => '',
    async writeFile() {},
    close() {},
  };
}

/** A plan's surroundings that have nothing but namespaces. */
export function around(host: Namespace, container: Namespace): Surroundings {
  const none = async (): Promise<never> => {
    throw new Error('the plan wants more than namespaces');
  };
  return {
    host,
    container,
    firewall: none,
    macFilter: none,
    ports: none,
    forward: none,
    sleep: none,
  } as Surroundings;
}

export const aLink = (link: Partial<Link>) => ({ mtu: 1500, mac: '02:00:00:00:00:01', ...link }) as Link;
