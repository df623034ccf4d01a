/** `weft logs` */
import { followLog, type LogRecord, linesOf, readLog } from '../../runtime/container/log.ts';
import { findContainer, stateOf } from '../../runtime/container/store.ts';
import { writeAll } from '../../runtime/write-all.ts';
import type { WeftContext } from '../context.ts';

export interface LogFlags {
  follow?: boolean;
  timestamps?: boolean;
  tail?: number;
}

/** Whether somebody reads it. */
function print({ stream, time, data }: LogRecord, timestamps: boolean): boolean {
  const fd = stream === 'stdout' ? 1 : 2;
  const text = timestamps
    ? `${new Date(time).toISOString()} ${data.toString('utf8').replace(/\n$/, '')}\n`
    : data;
  return writeAll(fd, text) === undefined;
}

export async function logs(this: WeftContext, flags: LogFlags, name: string): Promise<void> {
  const container = findContainer(this.ambient, name);
  const { folder } = container;
  const { timestamps = false, tail } = flags;
  const ended = () => stateOf(container).phase !== 'running';
  if (tail !== undefined) {
    const last: LogRecord[] = [];
    for await (const line of linesOf(readLog(folder))) {
      last.push(line);
      if (last.length > tail) last.shift();
    }
    last.every((line) => print(line, timestamps));
    return;
  }
  const records = flags.follow ? followLog(folder, ended) : readLog(folder);
  for await (const record of timestamps ? linesOf(records) : records) {
    if (!print(record, timestamps)) return;
  }
}
