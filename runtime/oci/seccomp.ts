/** linux.seccomp as rules for weft-seccomp (scripts/seccomp/compile.cc). Pure. */
import { OciError, type OciSeccomp } from './bundle.ts';

const ACTIONS: Readonly<Record<string, string>> = {
  SCMP_ACT_ALLOW: 'allow',
  SCMP_ACT_ERRNO: 'refuse',
  SCMP_ACT_TRACE: 'trace',
  SCMP_ACT_KILL: 'kill',
  SCMP_ACT_KILL_THREAD: 'kill',
  SCMP_ACT_KILL_PROCESS: 'kill-process',
  SCMP_ACT_TRAP: 'trap',
  SCMP_ACT_LOG: 'log',
};

export const SECCOMP_ACTIONS: readonly string[] = Object.keys(ACTIONS);

/** EPERM, where a rule does not say which. */
const REFUSED = 1;

function actionOf(action: string, errno = REFUSED): string {
  const word = ACTIONS[action];
  if (word === undefined) throw new OciError(`linux.seccomp: the action ${action} is not supported`);
  return word === 'refuse' || word === 'trace' ? `${word} ${errno}` : word;
}

/** Lines. Throws OciError for an action that cannot be kept. Of `flags` none is needed: what they ask for is less strict, or more talkative. */
export function seccompRules({
  defaultAction,
  defaultErrnoRet,
  architectures,
  syscalls,
}: OciSeccomp): string[] {
  const fallback = actionOf(defaultAction, defaultErrnoRet);
  return [
    `default ${fallback}`,
    ...(architectures ?? []).map((name) => `arch ${name.replace('SCMP_ARCH_', '').toLowerCase()}`),
    ...(syscalls ?? []).flatMap(({ names, action, errnoRet, args }) => {
      const word = actionOf(action, errnoRet);
      if (word === fallback) return [];
      const conditions = (args ?? []).map(
        ({ index, op, value, valueTwo = 0 }) =>
          `${index} ${op.replace('SCMP_CMP_', '')} ${value} ${valueTwo}`,
      );
      return names.flatMap((name) =>
        alternatives(args, conditions).map((all) => [word, name, ...all].join(' ')),
      );
    }),
  ];
}

/** Two conditions on one argument cannot both hold in libseccomp: then each is a rule of its own, as runc has it. */
function alternatives(
  args: readonly { index: number }[] | null | undefined,
  conditions: string[],
): string[][] {
  const indexes = (args ?? []).map(({ index }) => index);
  return new Set(indexes).size === indexes.length ? [conditions] : conditions.map((one) => [one]);
}
