/** A container's output as its monitor keeps it: records of stream, length and time (runtime/native/monitor.cc, Monitor::keep). */
import { closeSync, existsSync, fstatSync, openSync, readSync, statSync } from 'node:fs';
import { join } from 'node:path';

export interface LogRecord {
  stream: 'stdout' | 'stderr';
  /** Milliseconds since the epoch. */
  time: number;
  data: Buffer;
}

const HEADER = 13;
const CHUNK = 64 * 1024;

/** Reads one file from where it was left. */
class LogFile {
  readonly #fd: number;
  #rest: Buffer = Buffer.alloc(0);

  constructor(path: string) {
    this.#fd = openSync(path, 'r');
  }

  /** Whole records that are there by now. */
  *records(): Generator<LogRecord> {
    const chunk = Buffer.alloc(CHUNK);
    for (let count = readSync(this.#fd, chunk); count > 0; count = readSync(this.#fd, chunk)) {
      this.#rest = Buffer.concat([this.#rest, chunk.subarray(0, count)]);
      while (this.#rest.length >= HEADER && this.#rest.length >= HEADER + this.#rest.readUInt32LE(1)) {
        const end = HEADER + this.#rest.readUInt32LE(1);
        yield {
          stream: this.#rest[0] === 'R'.charCodeAt(0) ? 'stderr' : 'stdout',
          time: Number(this.#rest.readBigUInt64LE(5)),
          data: Buffer.from(this.#rest.subarray(HEADER, end)),
        };
        this.#rest = this.#rest.subarray(end);
      }
    }
  }

  /** Whether this is the file of that name now. */
  isAt(path: string): boolean {
    return statSync(path, { throwIfNoEntry: false })?.ino === fstatSync(this.#fd).ino;
  }

  close(): void {
    closeSync(this.#fd);
  }
}

/** Everything that is kept, the oldest first. */
export function* readLog(folder: string): Generator<LogRecord> {
  for (const name of ['log.1', 'log']) {
    const path = join(folder, name);
    if (!existsSync(path)) continue;
    const file = new LogFile(path);
    try {
      yield* file.records();
    } finally {
      file.close();
    }
  }
}

/** Milliseconds between two looks for more. */
const LOOK = 100;

/**
 * Everything that is kept and what comes, until `ended` says so and all is read. The container does not wait for who follows: of more than what
 * is kept between two reads, the oldest is missed.
 */
export async function* followLog(folder: string, ended: () => boolean): AsyncGenerator<LogRecord> {
  const path = join(folder, 'log');
  let next = existsSync(`${path}.1`) ? `${path}.1` : path;
  let file: LogFile | undefined;
  try {
    for (;;) {
      const last = ended();
      if (file === undefined && existsSync(next)) file = new LogFile(next);
      if (file) yield* file.records();
      if (file && !file.isAt(path)) {
        yield* file.records();
        // Where it is the older one now, the newer follows; else others came between.
        next = file.isAt(`${path}.1`) ? path : `${path}.1`;
        file.close();
        file = undefined;
      } else if (last) return;
      else await new Promise((resolve) => setTimeout(resolve, LOOK));
    }
  } finally {
    file?.close();
  }
}

/** A line of one stream, with the time of its first byte; `data` has its end, where there is one. */
export async function* linesOf(
  records: AsyncIterable<LogRecord> | Iterable<LogRecord>,
): AsyncGenerator<LogRecord> {
  const open = new Map<LogRecord['stream'], LogRecord>();
  for await (const { stream, time, data } of records) {
    let rest = data;
    while (rest.length > 0) {
      const end = rest.indexOf(10);
      const piece = end < 0 ? rest : rest.subarray(0, end + 1);
      rest = rest.subarray(piece.length);
      const begun = open.get(stream);
      const line = begun
        ? { ...begun, data: Buffer.concat([begun.data, piece]) }
        : { stream, time, data: piece };
      if (end < 0) open.set(stream, line);
      else {
        open.delete(stream);
        yield line;
      }
    }
  }
  yield* open.values();
}
