/** `weft logs` */
import { followLog, type LogRecord, readLog } from '../../runtime/container/log.ts';
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
  if (!timestamps) {
    tryWriteAll(fd, data);
    return;
  }
  const at = new Date(time).toISOString();
  const text = data.toString('utf8').replace(/\n$/, '');
  tryWriteAll(
    fd,
    `${text
      .split('\n')
      .map((line) => `${at} ${line}\n`)
      .join('')}`,
  );
}

export async function logs(this: WeftContext, flags: LogFlags, name: string): Promise<void> {
  const container = findContainer(this.ambient, name);
  const { folder } = container;
  const timestamps = flags.timestamps ?? false;
  if (!flags.follow) {
    for (const record of lastLines(readLog(folder), flags.tail)) print(record, timestamps);
    return;
  }
  const ended = () => stateOf(container).phase !== 'running';
  for await (const record of followLog(folder, ended)) print(record, timestamps);
}

/** The records that have the last lines, the first of them cut. */
function lastLines(records: Iterable<LogRecord>, count: number | undefined): LogRecord[] {
  const all = [...records];
  if (count === undefined) return all;
  let missing = count;
  for (let at = all.length - 1; at >= 0; at--) {
    const record = all[at];
    if (record === undefined) break;
    const { data } = record;
    for (let byte = data.length - 1; byte >= 0; byte--) {
      if (data[byte] !== 10 || (at === all.length - 1 && byte === data.length - 1)) continue;
      if (--missing === 0) return [{ ...record, data: data.subarray(byte + 1) }, ...all.slice(at + 1)];
    }
  }
  return all;
}
