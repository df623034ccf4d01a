/**
 * The real surroundings of a weft process, made once at the top. On the plugins' cold path: anything but `node:fs`
 * is loaded when it is first used. Streams are file descriptors, because `process.stdin` and `process.stderr`
 * load the whole of node:stream and node:net with them.
 */
import { readFileSync, readSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import type { Ambient, Paths, RunOptions, RunResult } from '../cni/ambient.ts';
import { CniError, ErrorCode } from '../cni/errors.ts';
import { makeFolder } from '../cni/folder.ts';
import * as files from '../netlink/files.ts';

type Environment = Readonly<Record<string, string | undefined>>;

/** More than any configuration; what is longer is an endless stream, not a configuration. Bytes. */
const MAX_INPUT = 16 * 1024 * 1024;

/** The folders that weft uses, each moved by one variable. Who is not root has them in his own. */
export function pathsFrom(env: Environment, user = process.geteuid?.() ?? 0): Paths {
  if (user !== 0) return ownPaths(env, user);
  return {
    dataDir: env.WEFT_DATA_DIR || '/var/lib/cni/networks',
    runDir: env.WEFT_RUN_DIR || '/run/weft',
    cacheDir: env.WEFT_CACHE_DIR || '/var/lib/cni',
    confDir: env.WEFT_CONF_DIR || '/etc/cni/net.d',
  };
}

/** XDG Base Directory Specification. */
function ownPaths(env: Environment, user: number): Paths {
  const data = env.XDG_DATA_HOME || (env.HOME ? `${env.HOME}/.local/share` : `/tmp/weft-${user}-data`);
  return {
    dataDir: env.WEFT_DATA_DIR || `${data}/weft/networks`,
    runDir: env.WEFT_RUN_DIR || (env.XDG_RUNTIME_DIR ? `${env.XDG_RUNTIME_DIR}/weft` : `/tmp/weft-${user}`),
    cacheDir: env.WEFT_CACHE_DIR || `${data}/weft`,
    confDir: env.WEFT_CONF_DIR || '/etc/cni/net.d',
  };
}

/**
 * An Ambient over the real system.
 * @param streams file descriptors of standard input and of the log
 */
export function realAmbient(env: Environment, streams = { stdin: 0, stderr: 2 }): Ambient {
  const { stdin, stderr } = streams;
  return {
    env,
    paths: pathsFrom(env),
    pid: process.pid,
    input: () => readAll(stdin),
    log: (line) => writeLine(stderr, line),
    now: () => Date.now(),
    hostId: () => readHostId(env),
    lock: async (path) => {
      const { lock } = await import('../netlink/lock.ts');
      try {
        return await lock(path);
      } catch (error) {
        // The folder is there but for the first time.
        if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
        makeFolder(dirname(path), 0o700);
        return await lock(path);
      }
    },
    files,
    run: (file, args, options) => run(file, args, { env: env, ...options }, stderr),
  };
}

/**
 * All of a file descriptor. A closed one reads as empty. A non-blocking pipe (EAGAIN) is asked again a millisecond
 * later: the writer is a runtime that has the configuration ready.
 */
async function readAll(fd: number): Promise<string> {
  const chunks: Buffer[] = [];
  let total = 0;
  for (;;) {
    const chunk = Buffer.allocUnsafe(65536);
    const read = tryRead(fd, chunk);
    if (read === 'again') await new Promise((resolve) => setTimeout(resolve, 1));
    else if (read === 0) return Buffer.concat(chunks).toString('utf8');
    else {
      chunks.push(chunk.subarray(0, read));
      total += read;
    }
    if (total > MAX_INPUT) {
      throw new CniError(
        ErrorCode.decoding,
        `standard input is longer than ${MAX_INPUT} bytes: no configuration is`,
      );
    }
  }
}

function tryRead(fd: number, into: Buffer): number | 'again' {
  try {
    return readSync(fd, into);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'EAGAIN') return 'again';
    if (code === 'EOF' || code === 'EBADF') return 0;
    throw new CniError(ErrorCode.io, 'cannot read the configuration from standard input', message, {
      cause: error,
    });
  }
}

/** A log line is never worth a failure: a reader that went away, or a full pipe, loses it. */
function writeLine(fd: number, line: string): void {
  try {
    writeSync(fd, `${line}\n`);
  } catch {}
}

/**
 * WEFT_HOST_ID where several simulated hosts share one machine, else /etc/machine-id (machine-id(5): 32 hex digits), else the
 * boot id: an id that changes at the next boot is as good, because no link survives one.
 */
function readHostId(env: Environment): string {
  if (env.WEFT_HOST_ID) return env.WEFT_HOST_ID;
  const machine = readTrimmed('/etc/machine-id');
  if (/^[0-9a-f]{32}$/.test(machine)) return machine;
  const boot = readTrimmed('/proc/sys/kernel/random/boot_id');
  if (boot !== '') return boot;
  throw new CniError(
    ErrorCode.io,
    'this host has no identity: neither /etc/machine-id nor /proc/sys/kernel/random/boot_id can be read; set WEFT_HOST_ID',
  );
}

function readTrimmed(path: string): string {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch {
    return '';
  }
}

/** Ambient.run. What keeps a program from starting is the `cause` (its `code` is ENOENT, EACCES, ETXTBSY, ...). */
async function run(
  file: string,
  args: readonly string[],
  options: RunOptions,
  ourStderr: number,
): Promise<RunResult> {
  const { spawn } = await import('node:child_process');
  return await new Promise<RunResult>((resolve, reject) => {
    const fail = (cause: unknown): void => {
      const { message } = cause as Error;
      reject(new CniError(ErrorCode.program, `cannot start ${file}`, message, { cause }));
    };
    try {
      const child = spawn(file, args, {
        env: { ...options.env },
        stdio: ['pipe', 'pipe', options.passStderr === true ? ourStderr : 'pipe'],
        // A timeout must end the program even if it ignores SIGTERM.
        ...(options.timeout === undefined ? {} : { timeout: options.timeout, killSignal: 'SIGKILL' }),
      });
      const stdout = gather(child.stdout);
      const stderr = gather(child.stderr);
      child.on('error', fail);
      // A program that does not read its input closes the pipe: its exit status says whether that was right.
      child.stdin?.on('error', () => {});
      child.stdin?.end(options.input ?? '');
      // What a program that was ended left running may hold the pipes open for ever.
      child.on('exit', () => {
        if (!child.killed) return;
        child.stdout?.destroy();
        child.stderr?.destroy();
      });
      child.on('close', (status, signal) => {
        void exitStatus(status, signal).then((code) =>
          resolve({ status: code, stdout: stdout(), stderr: stderr() }),
        );
      });
    } catch (error) {
      // Errors that libuv does not expect of an exec, ETXTBSY among them, are thrown by spawn itself.
      fail(error);
    }
  });
}

function gather(stream: NodeJS.ReadableStream | null): () => string {
  const chunks: Buffer[] = [];
  stream?.on('data', (chunk: Buffer) => chunks.push(chunk));
  return () => Buffer.concat(chunks).toString('utf8');
}

async function exitStatus(status: number | null, signal: NodeJS.Signals | null): Promise<number> {
  if (status !== null) return status;
  const { constants } = await import('node:os');
  return 128 + (signal === null ? 0 : constants.signals[signal]);
}
