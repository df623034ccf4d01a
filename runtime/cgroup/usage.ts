/** What a container uses, read from its control groups of either version. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

export interface Usage {
  /** Microseconds of CPU time since the start. */
  cpu?: number;
  /** Bytes, without what the kernel could give back at once (inactive file pages). */
  memory?: number;
  /** Bytes; absent: no limit of its own. */
  memoryLimit?: number;
  processes?: number;
  processLimit?: number;
  /** Bytes read and written on devices. */
  read?: number;
  written?: number;
  /** Times that the CPU limit held it up. */
  throttled?: number;
}

/** v1 says "no limit" by the largest multiple of a page that fits. */
const NO_LIMIT = 2 ** 62;

/** @param folders a container's groups, one for each hierarchy */
export function usageOf(folders: readonly string[]): Usage {
  const text = (...files: string[]): string | undefined => {
    for (const folder of folders) {
      for (const file of files) {
        try {
          return readFileSync(join(folder, file), 'utf8');
        } catch {
          // Another hierarchy's, or another version's.
        }
      }
    }
    return undefined;
  };
  const number = (...files: string[]): number | undefined => {
    const found = text(...files)?.trim();
    const value = found === undefined || found === 'max' ? Number.NaN : Number(found);
    return Number.isFinite(value) && value < NO_LIMIT ? value : undefined;
  };
  const word = (file: string, key: string): number | undefined => {
    const found = new RegExp(`^${key} (\\d+)$`, 'm').exec(text(file) ?? '')?.[1];
    return found === undefined ? undefined : Number(found);
  };
  const inactive = word('memory.stat', 'total_inactive_file') ?? word('memory.stat', 'inactive_file') ?? 0;
  const memory = number('memory.usage_in_bytes', 'memory.current');
  const nanoseconds = number('cpuacct.usage');
  const io = ioOf(text('blkio.throttle.io_service_bytes'), text('io.stat'));
  return defined({
    cpu: nanoseconds === undefined ? word('cpu.stat', 'usage_usec') : Math.round(nanoseconds / 1000),
    memory: memory === undefined ? undefined : Math.max(0, memory - inactive),
    memoryLimit: number('memory.limit_in_bytes', 'memory.max'),
    processes: number('pids.current'),
    processLimit: number('pids.max'),
    throttled: word('cpu.stat', 'nr_throttled'),
    ...io,
  });
}

function ioOf(first: string | undefined, second: string | undefined): { read?: number; written?: number } {
  const sum = (source: string | undefined, pattern: RegExp) =>
    source === undefined
      ? undefined
      : [...source.matchAll(pattern)].reduce((total, [, bytes]) => total + Number(bytes), 0);
  return {
    ...defined({
      read: sum(first, /^\d+:\d+ Read (\d+)$/gm) ?? sum(second, /\brbytes=(\d+)/g),
      written: sum(first, /^\d+:\d+ Write (\d+)$/gm) ?? sum(second, /\bwbytes=(\d+)/g),
    }),
  };
}

function defined<T extends object>(fields: T): { [K in keyof T]?: NonNullable<T[K]> } {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: NonNullable<T[K]>;
  };
}
