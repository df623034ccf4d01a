/**
 * The rules of the default filter of system calls, out of the profile that Podman and others keep (containers-common,
 * /usr/share/containers/seccomp.json), for a container with weft's default capabilities.
 */

interface Condition {
  caps?: readonly string[];
  arches?: readonly string[];
}

interface Entry {
  names: readonly string[];
  action: string;
  errnoRet?: number;
  args?: readonly { index: number; op: string; value: number; valueTwo: number }[] | null;
  includes?: Condition;
  excludes?: Condition;
}

export interface Profile {
  defaultErrnoRet?: number;
  syscalls: readonly Entry[];
}

/** How the profile calls what Node calls `process.arch`. */
const ARCHITECTURES: Readonly<Record<string, readonly string[]>> = {
  x64: ['amd64', 'x86', 'x32'],
  arm64: ['arm64', 'arm'],
};

/** Lines for compile.cc. Throws Error for an action that is neither allowing nor refusing. */
export function rulesOf(profile: Profile, capabilities: readonly string[], arch: string): string[] {
  const held = new Set(capabilities.map((name) => `CAP_${name}`));
  const known = ARCHITECTURES[arch] ?? [arch];
  const holds = ({ caps = [], arches = [] }: Condition, every: boolean) => {
    const all = [
      ...caps.map((one) => held.has(one)),
      ...(arches.length > 0 ? [arches.some((one) => known.includes(one))] : []),
    ];
    return every ? all.every(Boolean) : all.some(Boolean);
  };
  const applies = ({ includes = {}, excludes = {} }: Entry) =>
    holds(includes, true) && !holds(excludes, false);
  return [
    `default refuse ${profile.defaultErrnoRet ?? 1}`,
    ...known.map((name) => `arch ${name}`),
    ...profile.syscalls.filter(applies).flatMap((entry) => {
      const action = actionOf(entry);
      const args = (entry.args ?? []).map(
        ({ index, op, value, valueTwo }) => `${index} ${op.replace('SCMP_CMP_', '')} ${value} ${valueTwo}`,
      );
      return entry.names.map((name) => [...action, name, ...args].join(' '));
    }),
  ];
}

function actionOf({ action, errnoRet = 1, names }: Entry): string[] {
  if (action === 'SCMP_ACT_ALLOW') return ['allow'];
  if (action === 'SCMP_ACT_ERRNO') return ['refuse', String(errnoRet)];
  throw new Error(
    `the profile wants ${action} for ${names.join(', ')}: only allowing and refusing is known here`,
  );
}
