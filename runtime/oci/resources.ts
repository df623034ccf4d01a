/** linux.resources as the files of control groups (config-linux.md, "Control groups"). Pure. */
import type { Setting } from '../cgroup/settings.ts';
import { type OciDevice, OciError, type OciResources } from './bundle.ts';

/** The kernel's own default (sched/fair.c), microseconds. */
const PERIOD = 100_000;

/** What each version of control groups is told. Throws OciError for what a version cannot keep. */
export function resourceSettings(resources: OciResources, version: 1 | 2): Setting[] {
  return version === 1 ? [...firstVersion(resources)] : [...secondVersion(resources)];
}

function* firstVersion({
  cpu = {},
  memory = {},
  pids,
  blockIO = {},
  devices,
}: OciResources): Generator<Setting> {
  if (cpu.shares) yield { controller: 'cpu', file: 'cpu.shares', value: String(cpu.shares) };
  if (cpu.period) yield { controller: 'cpu', file: 'cpu.cfs_period_us', value: String(cpu.period) };
  if (cpu.quota) yield { controller: 'cpu', file: 'cpu.cfs_quota_us', value: String(cpu.quota) };
  if (cpu.cpus) yield { controller: 'cpuset', file: 'cpuset.cpus', value: cpu.cpus };
  if (cpu.mems) yield { controller: 'cpuset', file: 'cpuset.mems', value: cpu.mems };
  yield* memoryOfFirst(memory);
  if (pids?.limit) yield { controller: 'pids', file: 'pids.max', value: most(pids.limit) };
  if (blockIO.weight)
    yield { controller: 'blkio', file: 'blkio.weight', value: String(blockIO.weight), optional: true };
  const throttles = [
    ['read_bps', blockIO.throttleReadBpsDevice],
    ['write_bps', blockIO.throttleWriteBpsDevice],
    ['read_iops', blockIO.throttleReadIOPSDevice],
    ['write_iops', blockIO.throttleWriteIOPSDevice],
  ] as const;
  for (const [name, list] of throttles) {
    for (const { major, minor, rate } of list ?? [])
      yield {
        controller: 'blkio',
        file: `blkio.throttle.${name}_device`,
        value: `${major}:${minor} ${rate}`,
      };
  }
  for (const rule of devices ?? []) {
    const file = rule.allow ? 'devices.allow' : 'devices.deny';
    yield { controller: 'devices', file, value: deviceWords(rule) };
  }
}

function* memoryOfFirst({
  limit,
  reservation,
  swap,
  swappiness,
  disableOOMKiller,
}: NonNullable<OciResources['memory']>): Generator<Setting> {
  // Memory and swap together may not be less than memory: whichever grows first would be refused.
  if (limit === -1 || (limit !== undefined && limit > 0))
    yield { controller: 'memory', file: 'memory.limit_in_bytes', value: String(limit) };
  if (swap !== undefined && swap !== 0)
    yield { controller: 'memory', file: 'memory.memsw.limit_in_bytes', value: String(swap), optional: true };
  if (reservation)
    yield { controller: 'memory', file: 'memory.soft_limit_in_bytes', value: String(reservation) };
  if (swappiness !== undefined && swappiness >= 0 && swappiness <= 100)
    yield { controller: 'memory', file: 'memory.swappiness', value: String(swappiness) };
  if (disableOOMKiller) yield { controller: 'memory', file: 'memory.oom_control', value: '1' };
}

function* secondVersion({
  cpu = {},
  memory = {},
  pids,
  blockIO = {},
  unified,
}: OciResources): Generator<Setting> {
  if (cpu.shares) {
    // Shares of 2 to 262144 stand for weights of 1 to 10000, as the specification's users agreed.
    const weight = 1 + Math.floor(((cpu.shares - 2) * 9999) / 262142);
    yield { controller: 'cpu', file: 'cpu.weight', value: String(weight) };
  }
  if (cpu.quota || cpu.period)
    yield { controller: 'cpu', file: 'cpu.max', value: `${most(cpu.quota ?? -1)} ${cpu.period ?? PERIOD}` };
  if (cpu.cpus) yield { controller: 'cpuset', file: 'cpuset.cpus', value: cpu.cpus };
  if (cpu.mems) yield { controller: 'cpuset', file: 'cpuset.mems', value: cpu.mems };
  if (memory.limit) yield { controller: 'memory', file: 'memory.max', value: most(memory.limit) };
  if (memory.swap) {
    // Of version 1: both together; here swap alone.
    const value = memory.swap < 0 ? 'max' : String(memory.swap - (memory.limit ?? 0));
    yield { controller: 'memory', file: 'memory.swap.max', value, optional: true };
  }
  if (memory.reservation) yield { controller: 'memory', file: 'memory.low', value: most(memory.reservation) };
  if (pids?.limit) yield { controller: 'pids', file: 'pids.max', value: most(pids.limit) };
  if (blockIO.weight)
    yield { controller: 'io', file: 'io.weight', value: String(blockIO.weight), optional: true };
  const throttles = [
    ['rbps', blockIO.throttleReadBpsDevice],
    ['wbps', blockIO.throttleWriteBpsDevice],
    ['riops', blockIO.throttleReadIOPSDevice],
    ['wiops', blockIO.throttleWriteIOPSDevice],
  ] as const;
  for (const [name, list] of throttles) {
    for (const { major, minor, rate } of list ?? [])
      yield { controller: 'io', file: 'io.max', value: `${major}:${minor} ${name}=${rate}` };
  }
  for (const [file, value] of Object.entries(unified ?? {})) {
    if (!/^[a-z]+\.[a-z.]+$/.test(file))
      throw new OciError(`linux.resources.unified: no file ${JSON.stringify(file)}`);
    const controller = file.slice(0, file.indexOf('.'));
    if (!isUnified(controller)) throw new OciError(`linux.resources.unified: ${file} is not supported`);
    yield { controller, file, value };
  }
}

const isUnified = (word: string): word is 'cpu' | 'cpuset' | 'memory' | 'pids' | 'io' =>
  ['cpu', 'cpuset', 'memory', 'pids', 'io'].includes(word);

const most = (limit: number) => (limit < 0 ? 'max' : String(limit));

/** Documentation/admin-guide/cgroup-v1/devices.rst */
function deviceWords({
  type = 'a',
  major,
  minor,
  access,
}: {
  type?: string;
  major?: number;
  minor?: number;
  access?: string;
}): string {
  const number = (one: number | undefined) => (one === undefined || one < 0 ? '*' : String(one));
  if (type === 'a' && major === undefined && minor === undefined) return 'a';
  return `${type} ${number(major)}:${number(minor)} ${access || 'rwm'}`;
}

/** What every container may use: its own devices, terminals, and the making of nodes, which opens nothing (runc and crun say the same). */
const ALWAYS = [
  ...['c *:* m', 'b *:* m'],
  ...['c 1:3 rwm', 'c 1:5 rwm', 'c 1:7 rwm', 'c 1:8 rwm', 'c 1:9 rwm'],
  ...['c 5:0 rwm', 'c 5:2 rwm', 'c 136:* rwm'],
];

/** Rules for the devices controller of version 1; nothing where the bundle has none. */
export function deviceSettings(resources: OciResources, devices: readonly OciDevice[]): Setting[] {
  if (!resources.devices?.length) return [];
  const own = devices
    .filter(({ type }) => type === 'c' || type === 'b' || type === 'u')
    .map(({ type, major, minor }) => `${type === 'b' ? 'b' : 'c'} ${major ?? 0}:${minor ?? 0} rwm`);
  return [...ALWAYS, ...own].map((value) => ({ controller: 'devices', file: 'devices.allow', value }));
}

/** Whether a bundle keeps its processes from devices. */
export const limitsDevices = ({ devices }: OciResources) =>
  (devices ?? []).some(({ allow, type = 'a' }) => !allow && type === 'a') &&
  !(devices ?? []).some(
    ({ allow, type = 'a', major, minor }) => allow && type === 'a' && (major ?? -1) < 0 && (minor ?? -1) < 0,
  );
