/** `weft stats`: what containers use, live on a terminal. */
import { readFileSync } from 'node:fs';
import { cgroupsOf } from '../../runtime/cgroup/cgroups.ts';
import { type Usage, usageOf } from '../../runtime/cgroup/usage.ts';
import {
  cgroupParent,
  findContainer,
  listContainers,
  type StoredContainer,
  stateOf,
} from '../../runtime/container/store.ts';
import type { WeftContext } from '../context.ts';
import { lines, table } from '../table.ts';

export interface StatsFlags {
  json?: boolean;
  interval: number;
  count?: number;
}

interface Sample {
  name: string;
  id: string;
  usage: Usage;
  /** Bytes since the start, by its interfaces but lo. */
  received: number;
  sent: number;
  /** Milliseconds since the epoch. */
  at: number;
}

/** proc(5), /proc/PID/net/dev: the first and the ninth number of a line are bytes received and sent. */
function traffic(pid: number): { received: number; sent: number } {
  let text = '';
  try {
    text = readFileSync(`/proc/${pid}/net/dev`, 'utf8');
  } catch {
    // It ended just now.
  }
  const total = { received: 0, sent: 0 };
  for (const line of text.split('\n')) {
    const [, name, numbers] = /^\s*([^:\s]+):\s*(.*)$/.exec(line) ?? [];
    if (name === undefined || numbers === undefined || name === 'lo') continue;
    const fields = numbers.split(/\s+/).map(Number);
    total.received += fields[0] ?? 0;
    total.sent += fields[8] ?? 0;
  }
  return total;
}

function sample(context: WeftContext, container: StoredContainer): Sample[] {
  const { pid } = stateOf(container);
  if (pid === undefined) return [];
  const { id, name } = container.spec;
  const usage = usageOf(cgroupsOf(id, cgroupParent(context.ambient)));
  return [{ id, name, usage, ...traffic(pid), at: context.ambient.now() }];
}

const bytes = (count: number | undefined): string => {
  if (count === undefined) return '-';
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  const power = Math.min(units.length - 1, Math.floor(Math.log2(Math.max(count, 1)) / 10));
  const value = count / 1024 ** power;
  return `${value >= 10 || power === 0 ? Math.round(value) : value.toFixed(1)} ${units[power]}`;
};

function row(now: Sample, before: Sample | undefined): string[] {
  const { usage } = now;
  const elapsed = before ? (now.at - before.at) * 1000 : 0;
  const busy =
    before?.usage.cpu === undefined || usage.cpu === undefined ? undefined : usage.cpu - before.usage.cpu;
  return [
    now.name,
    busy === undefined || elapsed <= 0 ? '-' : `${((100 * busy) / elapsed).toFixed(1)} %`,
    usage.memoryLimit === undefined
      ? bytes(usage.memory)
      : `${bytes(usage.memory)} / ${bytes(usage.memoryLimit)}`,
    usage.processLimit === undefined
      ? String(usage.processes ?? '-')
      : `${usage.processes} / ${usage.processLimit}`,
    `${bytes(now.received)} / ${bytes(now.sent)}`,
    `${bytes(usage.read)} / ${bytes(usage.written)}`,
  ];
}

const HEADER = ['NAME', 'CPU', 'MEMORY', 'PROCESSES', 'RECEIVED / SENT', 'READ / WRITTEN'];

export async function stats(this: WeftContext, flags: StatsFlags, ...names: string[]): Promise<void> {
  const chosen = () =>
    names.length > 0 ? names.map((name) => findContainer(this.ambient, name)) : listContainers(this.ambient);
  const look = () => chosen().flatMap((container) => sample(this, container));
  const screen = flags.json ? undefined : this.terminal.screen?.();
  const count = flags.count ?? (screen ? Number.POSITIVE_INFINITY : 1);
  let stopped = false;
  let wake = () => {};
  const stop = () => {
    stopped = true;
    wake();
  };
  const forget = this.terminal.onInterrupt(stop);
  const forgetKey = screen?.onKey((key) => {
    if (key === 'q' || key === '\u0003') stop();
  });
  try {
    let before = look();
    for (let shown = 0; shown < count && !stopped; shown++) {
      await new Promise<void>((resolve) => {
        wake = resolve;
        setTimeout(resolve, flags.interval * 1000);
      });
      if (stopped) break;
      const now = look();
      const rows = now.map((one) =>
        row(
          one,
          before.find(({ id }) => id === one.id),
        ),
      );
      if (flags.json) this.terminal.out(`${JSON.stringify(now)}\n`);
      else this.terminal.out(`${screen ? '\u001b[H\u001b[J' : ''}${lines(...table([HEADER, ...rows]))}`);
      before = now;
    }
  } finally {
    forget();
    forgetKey?.();
  }
}
