import { writeSync } from 'node:fs';

/** Writes everything; a reader that went away is no error. Returns the code of another error, such as ENOSPC; undefined when all is written. */
export function tryWriteAll(fd: number, text: string | Uint8Array): string | undefined {
  const code = writeAll(fd, text);
  return code === 'EPIPE' ? undefined : code;
}

/** Writes everything, also to a pipe that somebody made non-blocking. Returns the code of the error, EPIPE too; undefined when all is written. */
export function writeAll(fd: number, text: string | Uint8Array): string | undefined {
  let rest: Uint8Array = typeof text === 'string' ? Buffer.from(text) : text;
  while (rest.length > 0) {
    try {
      rest = rest.subarray(writeSync(fd, rest));
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code !== 'EAGAIN') return code ?? String(error);
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1);
    }
  }
  return undefined;
}
