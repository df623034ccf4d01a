/** Limits as the files that the kernel reads them from. Pure. */
import type { Limits } from '../container/spec.ts';
import type { Controller, Hierarchy } from './hierarchy.ts';

/** One file of a cgroup's folder, and what is written there. */
export interface Setting {
  controller: Controller;
  /** The kernel may have been built without it: then it is left out. */
  optional?: boolean;
  file: string;
  value: string;
}

/** Microseconds; the kernel's own default (sched/fair.c). */
const PERIOD = 100_000;
/** The least that the kernel takes, microseconds. */
const LEAST_QUOTA = 1000;

const quota = (cpus: number) => Math.max(LEAST_QUOTA, Math.round(cpus * PERIOD));

/** The controllers that limits need; where one is missing, the limit cannot be kept. */
export function neededControllers(limits: Limits, version: 1 | 2): Controller[] {
  return [...new Set(settings(limits, version).flatMap((one) => (one.optional ? [] : [one.controller])))];
}

/** Documentation/admin-guide/cgroup-v1 and cgroup-v2.rst. */
export function settings(limits: Limits, version: 1 | 2): Setting[] {
  return version === 1 ? [...firstVersion(limits)] : [...secondVersion(limits)];
}

function* firstVersion({ cpus, memory, pids, cpuset, io = [] }: Limits): Generator<Setting> {
  if (cpus !== undefined) {
    yield { controller: 'cpu', file: 'cpu.cfs_period_us', value: String(PERIOD) };
    yield { controller: 'cpu', file: 'cpu.cfs_quota_us', value: String(quota(cpus)) };
  }
  if (memory !== undefined) {
    yield { controller: 'memory', file: 'memory.limit_in_bytes', value: String(memory) };
    // Memory and swap together: no way around by swapping.
    yield {
      controller: 'memory',
      file: 'memory.memsw.limit_in_bytes',
      value: String(memory),
      optional: true,
    };
  }
  if (pids !== undefined) yield { controller: 'pids', file: 'pids.max', value: String(pids) };
  if (cpuset !== undefined) yield { controller: 'cpuset', file: 'cpuset.cpus', value: cpuset };
  for (const { device, read, write } of io) {
    if (read !== undefined)
      yield { controller: 'blkio', file: 'blkio.throttle.read_bps_device', value: `${device} ${read}` };
    if (write !== undefined)
      yield { controller: 'blkio', file: 'blkio.throttle.write_bps_device', value: `${device} ${write}` };
  }
}

function* secondVersion({ cpus, memory, pids, cpuset, io = [] }: Limits): Generator<Setting> {
  if (cpus !== undefined) yield { controller: 'cpu', file: 'cpu.max', value: `${quota(cpus)} ${PERIOD}` };
  if (memory !== undefined) {
    yield { controller: 'memory', file: 'memory.max', value: String(memory) };
    yield { controller: 'memory', file: 'memory.swap.max', value: '0', optional: true };
  }
  if (pids !== undefined) yield { controller: 'pids', file: 'pids.max', value: String(pids) };
  if (cpuset !== undefined) yield { controller: 'cpuset', file: 'cpuset.cpus', value: cpuset };
  for (const { device, read, write } of io) {
    const words = [
      ...(read === undefined ? [] : [`rbps=${read}`]),
      ...(write === undefined ? [] : [`wbps=${write}`]),
    ];
    yield { controller: 'io', file: 'io.max', value: [device, ...words].join(' ') };
  }
}

/** The hierarchy that has a controller: v1 where it is bound there, since a controller is in one at a time. */
export function hierarchyOf(controller: Controller, all: readonly Hierarchy[]): Hierarchy | undefined {
  return all.find(({ controllers }) => controllers.includes(controller));
}
