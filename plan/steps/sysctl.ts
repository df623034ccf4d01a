import { CniError, ErrorCode } from '../../cni/errors.ts';
import { codeOf } from '../failure.ts';
import type { StepKind } from '../kind.ts';
import { command, quote } from '../render.ts';
import type { SysctlStep } from '../step.ts';
import { namespaceOf, place, type Surroundings } from '../surroundings.ts';

const file = (key: string) => `/proc/sys/${key}`;

/** The kernel prints several numbers with tabs between them; people write blanks. */
const isSame = (one: string, other: string) =>
  one.trim().split(/\s+/).join(' ') === other.trim().split(/\s+/).join(' ');

async function read(step: SysctlStep, surroundings: Surroundings): Promise<string | undefined> {
  try {
    return (await namespaceOf(surroundings, step.in).readFile(file(step.key))).trim();
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') throw error;
    if (step.required === false) return undefined;
    throw new CniError(
      ErrorCode.noKernelSupport,
      `the kernel has no ${step.key} ${place(step.in)}, ${step.value} was to be written to it`,
      undefined,
      { cause: error },
    );
  }
}

async function write(step: SysctlStep, surroundings: Surroundings): Promise<void> {
  // Reading first: the file may be right already and not writable (a read-only /proc).
  const found = await read(step, surroundings);
  if (found === undefined || isSame(found, step.value)) return;
  try {
    await namespaceOf(surroundings, step.in).writeFile(file(step.key), step.value);
  } catch (error) {
    throw new CniError(
      ErrorCode.io,
      `cannot set ${step.key} to ${step.value} ${place(step.in)} (it is ${found}): ${codeOf(error) ?? error}`,
      undefined,
      { cause: error },
    );
  }
}

/** Host settings are shared by all containers, so neither a failed ADD nor DEL takes them back. */
export const sysctl: StepKind<SysctlStep> = {
  async apply(step, run) {
    // Last, because it is not taken back: an ADD that fails elsewhere leaves the host's settings alone.
    run.atEnd(() => write(step, run.surroundings));
  },

  async verify(step, look) {
    const found = await read(step, look.surroundings);
    if (found === undefined || isSame(found, step.value)) return [];
    return [{ what: `sysctl ${step.key} ${place(step.in)}`, wanted: step.value, found }];
  },

  render: (step, names) => [command(step.in, names.netns, `sysctl -w ${quote(`${step.key}=${step.value}`)}`)],
};
