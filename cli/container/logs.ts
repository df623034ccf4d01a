/** `weft logs` */
import { followLog, type LogRecord, linesOf, readLog } from '../../runtime/container/log.ts';
import { findContainer, stateOf } from '../../runtime/container/store.ts';
import { tryWriteAll } from '../../runtime/write-all.ts';
import type { WeftContext } from '../context.ts';

export interface LogFlags {
  follow?: boolean;
  timestamps?: boolean;
  tail?: number;
}

function print({ stream, time, data }: LogRecord, timestamps: boolean): void {
  const fd = stream === 'stdout' ? 1 : 2;
  if (!timestamps) tryWriteAll(fd, data);
  else tryWriteAll(fd, `${new Date(time).toISOString()} ${data.toString('utf8').replace(/\n$/, '')}\n`);
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
    for (const line of last) print(line, timestamps);
    return;
  }
  const records = flags.follow ? followLog(folder, ended) : readLog(folder);
  for await (const record of timestamps ? linesOf(records) : records) print(record, timestamps);
}
