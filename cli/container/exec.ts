/** `weft exec` */
import { execute, runningPid } from '../../runtime/container/execute.ts';
import type { User } from '../../runtime/container/spec.ts';
import { startContainer } from '../../runtime/container/start.ts';
import { findContainer, type StoredContainer } from '../../runtime/container/store.ts';
import { UsageError, type WeftContext } from '../context.ts';
import { makerFrom } from './maker.ts';
import { relay, sayUnwritten, windowSize } from './relay.ts';
import { tellingStartFailure } from './start-failure.ts';
import { givenVariables, laterWin } from './variables.ts';

export interface ExecFlags {
  interactive?: boolean;
  tty?: boolean;
  env?: readonly string[];
  user?: string;
  workdir?: string;
}

export async function exec(this: WeftContext, flags: ExecFlags, ...words: string[]): Promise<void> {
  const [name = '', command, ...rest] = words;
  if (command === undefined)
    throw new UsageError('which command? give one after the container, such as "sh"');
  const container = findContainer(this.ambient, name);
  const { spec } = container;
  const terminal = flags.tty ?? false;
  const input = flags.interactive ?? false;
  const { user, env } = await userFor(container, flags.user);
  const asked = {
    command: [command, ...rest] as const,
    env: laterWin([
      ...spec.env,
      ...env,
      ...(terminal ? ['TERM=xterm'] : []),
      ...givenVariables(flags.env, this.ambient.env),
    ]),
    cwd: flags.workdir ?? spec.cwd,
    ...{ user, terminal, interactive: input },
  };
  await tellingStartFailure(this, async () => {
    const executing = await execute(makerFrom(this), container, asked, terminal ? windowSize() : undefined);
    const { created, steps } = executing;
    try {
      created.client.attach();
      await startContainer(created, steps);
      const { status, unwritten } = await relay(created.client, created.told, { input, terminal });
      sayUnwritten(this, unwritten);
      this.endWith(status ?? 125);
    } finally {
      created.client.close();
      executing.forget();
    }
  });
}

/** As the files inside say, as they are now. */
async function userFor(
  container: StoredContainer,
  asked: string | undefined,
): Promise<{ user: User; env: readonly string[] }> {
  const { spec } = container;
  if (asked === undefined) return { user: spec.user, env: [] };
  const { accountOf } = await import('../../runtime/image/users.ts');
  const { uid, gid, groups, home } = accountOf(asked, [`/proc/${runningPid(container)}/root`]);
  if (spec.unprivileged && (uid !== 0 || gid !== 0))
    throw new UsageError(
      `${asked} is not there: without root only one user can be mapped, which is root inside`,
    );
  return { user: { uid, gid, groups }, env: [`HOME=${home}`] };
}
