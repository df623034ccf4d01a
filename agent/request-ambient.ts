/** The Ambient of one request: what the launcher handed over stands for this process's own environment and streams. */
import type { Ambient } from '../cni/ambient.ts';
import { realAmbient } from '../runtime/ambient.ts';
import type { Request } from './protocol.ts';
import type { Queues } from './queues.ts';

/** What of the caller is reached while its request is served. */
export interface Caller {
  /** The launcher. */
  readonly pid?: number;
  /** Whole lines for its stderr. */
  log(text: string): void;
  /** The host is going to be changed. */
  begins(): void;
}

/** What all requests of an agent share. */
export interface Shared {
  readonly locks: Queues;
  readonly kept: Map<string, unknown>;
}

/** The machine's identity, which does not change while it runs. */
const HOST_ID = 'host id';

/** Variables of the agent's own that the programs it starts must not see; a delegate's launcher asks the agent by itself. */
export function requestAmbient(
  { env, input }: Request,
  caller: Caller,
  { locks, kept }: Shared,
  afterAnswer: (work: () => Promise<unknown>) => void,
): Ambient {
  const { pid: _own, ...real } = realAmbient(env);
  return {
    ...real,
    ...(caller.pid === undefined ? {} : { pid: caller.pid }),
    input: async () => input,
    log: (line) => caller.log(`${line}\n`),
    begins: () => caller.begins(),
    afterAnswer,
    kept,
    hostId() {
      const known = env.WEFT_HOST_ID ? undefined : kept.get(HOST_ID);
      if (typeof known === 'string') return known;
      const id = real.hostId();
      if (!env.WEFT_HOST_ID) kept.set(HOST_ID, id);
      return id;
    },
    // Those of this process wait for each other here, and only the first of them on a thread for everybody else.
    lock: (path) =>
      new Promise((resolve, reject) => {
        void locks.run(path, async () => {
          try {
            const release = await real.lock(path);
            await new Promise<void>((released) => {
              resolve(() => {
                release();
                released();
              });
            });
          } catch (error) {
            reject(error);
          }
        });
      }),
    async run(file, args, { passStderr, ...options } = {}) {
      const result = await real.run(file, args, options);
      if (passStderr && result.stderr !== '') caller.log(result.stderr);
      return passStderr ? { ...result, stderr: '' } : result;
    },
  };
}
