/** A further command in a container that runs: by a monitor of its own, which lives as long as that command. */
import { randomBytes } from 'node:crypto';
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { CniError, ErrorCode } from '../../cni/errors.ts';
import { cgroupsOf } from '../cgroup/cgroups.ts';
import { type Execution, executionSteps } from './container-steps.ts';
import type { Maker, Window } from './lifecycle.ts';
import { type Created, createContainer } from './start.ts';
import type { Step } from './steps.ts';
import { cgroupParent, type StoredContainer, stateOf } from './store.ts';

export interface Executing {
  created: Created;
  steps: readonly Step[];
  /** Takes its folder away; repeatable. */
  forget(): void;
}

/** What is asked for; the rest is as the container has it. */
export type Asked = Omit<Execution, 'pid' | 'namespaces' | 'capabilities'>;

/** The process id of a container's first process. Throws CniError(unknownContainer) when it does not run. */
export function runningPid(container: StoredContainer): number {
  const { phase, pid } = stateOf(container);
  if (phase === 'running' && pid !== undefined) return pid;
  throw new CniError(
    ErrorCode.unknownContainer,
    `container ${container.spec.name} does not run: it is ${phase}`,
  );
}

/** The command waits for its start. Throws StartError or CniError. */
export async function execute(
  maker: Maker,
  container: StoredContainer,
  asked: Asked,
  window?: Window,
): Promise<Executing> {
  const { spec, folder } = container;
  const { namespaces, capabilities } = spec;
  const pid = runningPid(container);
  const own = join(folder, 'exec', randomBytes(6).toString('hex'));
  mkdirSync(own, { recursive: true, mode: 0o700 });
  const cgroups = cgroupsOf(spec.id, cgroupParent(maker.ambient));
  const steps = executionSteps(
    { ...asked, pid, namespaces, ...(capabilities && { capabilities }) },
    { cgroups, filter: maker.filter, unprivileged: spec.unprivileged, ...window },
  );
  const forget = () => rmSync(own, { recursive: true, force: true });
  try {
    const created = await createContainer(maker.monitor, own, steps, maker.ambient.env);
    return { created, steps, forget };
  } catch (error) {
    forget();
    throw error;
  }
}
