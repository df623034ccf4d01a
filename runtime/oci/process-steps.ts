/** What a process of a bundle gives up before it becomes its command (config.md, "Process"). Pure. */
import { CAPABILITIES, capabilityMask } from '../container/capabilities.ts';
import type { Step } from '../container/steps.ts';
import { type CapabilitySets, OciError, type OciProcess } from './bundle.ts';

export const CAPABILITY_NAMES: readonly string[] = CAPABILITIES.map((name) => `CAP_${name}`);

/** asm-generic/resource.h */
const LIMITS =
  'CPU FSIZE DATA STACK CORE RSS NPROC NOFILE MEMLOCK AS LOCKS SIGPENDING MSGQUEUE NICE RTPRIO RTTIME'.split(
    ' ',
  );

/** `0x...`; names that are not known here are left out, as the specification asks of a runtime. */
export function maskOf(names: readonly string[] | null | undefined, without: readonly string[] = []): string {
  const kept = (names ?? []).filter((name) => !without.includes(name));
  return capabilityMask(kept.map((name) => name.replace(/^CAP_/, '')));
}

export interface ProcessGround {
  /** Instructions of the filter of system calls. */
  filter?: Uint8Array;
  /** HOME where the bundle does not say it. */
  home: string;
  /** Capabilities that are not given whatever the bundle says. */
  withheld: readonly string[];
}

/** Its environment; HOME and PATH are always there. */
export function environmentOf({ env }: OciProcess, home: string): string[] {
  const found = env ?? [];
  return found.some((variable) => variable.startsWith('HOME=')) ? [...found] : [...found, `HOME=${home}`];
}

/** Finds the command while somebody waits who can be told. */
export function lookSteps({ cwd = '/', args = [], env }: OciProcess): Step[] {
  const path = (env ?? []).find((variable) => variable.startsWith('PATH='))?.slice('PATH='.length);
  return [
    ['chdir', cwd],
    ['look', args[0] ?? '', ...(path === undefined ? [] : [path])],
  ];
}

/** Its own terminal. `console`: shown as /dev/console, too. */
export function terminalSteps({ terminal, consoleSize, user }: OciProcess, console: boolean): Step[] {
  const uid = user?.uid ?? 0;
  if (!terminal) return uid === 0 ? [] : [['streams', uid]];
  return [
    ['terminal', consoleSize?.height ?? 24, consoleSize?.width ?? 80, uid],
    ...(console
      ? ([
          ['file', '/dev/console'],
          // The first of the container's own devpts.
          ['mount', '/dev/pts/0', '/dev/console', '', 'bind', ''],
        ] satisfies Step[])
      : []),
  ];
}

/** From the last thing that root may do to the command. */
export function processSteps(process: OciProcess, { filter, home, withheld }: ProcessGround): Step[] {
  const {
    user = { uid: 0, gid: 0 },
    args = [],
    capabilities = {},
    noNewPrivileges,
    apparmorProfile,
  } = process;
  const env = environmentOf(process, home);
  const filtered: Step[] = filter ? [['filter', filter]] : [];
  return [
    ['umask', user.umask ?? 0o022],
    ...(apparmorProfile ? [['write', '/proc/self/attr/exec', `exec ${apparmorProfile}`] satisfies Step] : []),
    // Without no_new_privs only who has power may filter himself.
    ...(noNewPrivileges ? [] : filtered),
    ['bound', maskOf(capabilities.bounding, withheld)],
    ['user', user.uid, user.gid, (user.additionalGids ?? []).join(',')],
    holdStep(capabilities, withheld),
    ...(noNewPrivileges ? [['no-new-privileges'] satisfies Step, ...filtered] : []),
    ['exec', args.length, ...args, ...env],
  ];
}

function holdStep(sets: CapabilitySets, withheld: readonly string[]): Step {
  const { effective, permitted, inheritable, ambient } = sets;
  const words = [effective, permitted, inheritable, ambient].map((names) => maskOf(names, withheld));
  return ['hold', ...words];
}

/** While it is root, and somebody waits who can be told. Throws OciError for a limit that the kernel does not have. */
export function limitSteps({ rlimits }: OciProcess): Step[] {
  return (rlimits ?? []).map(({ type, soft, hard }): Step => {
    const number = LIMITS.indexOf(type.replace(/^RLIMIT_/, ''));
    if (number < 0) throw new OciError(`process.rlimits has an unknown type ${JSON.stringify(type)}`);
    return ['limit', number, amount(soft), amount(hard)];
  });
}

/** RLIM_INFINITY is 2^64-1, which JSON's numbers in JavaScript only come near. */
const amount = (value: number): string =>
  value >= 2 ** 63 || value < 0 ? '18446744073709551615' : String(value);
