/**
 * Where contestants run: hosts, each a network namespace of its own, below one mount namespace, with a caller (bench/caller.c) in each
 * that starts processes and times them.
 */
import { execFileSync, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import readline from 'node:readline';

/** One process to be run. */
export interface Job {
  file: string;
  args?: readonly string[];
  input?: string;
  env?: Readonly<Record<string, string>>;
}

/** A process that was run. */
export interface Done {
  /** Milliseconds of CLOCK_MONOTONIC. */
  start: number;
  end: number;
  /** Standard output and error, on one line. */
  output: string;
}

export interface Host {
  readonly name: string;
  /** A folder of its own; `run` in it is on tmpfs, as /run is on a real host. */
  readonly dir: string;
  /** Runs jobs in order, `callers` at a time. Throws unless all of them succeed; the host is of no use then. */
  run(jobs: readonly Job[], callers?: number): Promise<Done[]>;
  /** Runs a line of shell and returns what it printed. */
  shell(line: string): Promise<string>;
}

export interface Ground {
  readonly dir: string;
  /** Compiled from bench/floor.c. */
  readonly floor: string;
  host(name: string): Promise<Host>;
  /** Makes network namespaces that all hosts see, unless they are there; returns their files. */
  namespaces(prefix: string, count: number): Promise<string[]>;
  /** Ends all callers, and what their jobs left running. */
  close(): Promise<void>;
}

export const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

export async function openGround(): Promise<Ground> {
  const dir = mkdtempSync(path.join(os.tmpdir(), 'weft-bench-'));
  const janitor = ['-c', 'cat; sleep 1; until rm -rf "$1" 2>/dev/null; do sleep 1; done', 'sh', dir];
  // However this process ends, their standard input ends with it: callers end then, with what their jobs left running, and the files go.
  spawn('sh', janitor, { stdio: ['pipe', 'ignore', 'ignore'], detached: true }).unref();
  const compile = (name: string, ...flags: string[]) => {
    const file = path.join(dir, name);
    execFileSync('cc', ['-O2', ...flags, '-o', file, path.join(import.meta.dirname, `${name}.c`)]);
    return file;
  };
  const [floor, caller] = [compile('floor', '-static'), compile('caller', '-pthread')];
  const closers: (() => Promise<void>)[] = [];
  const start = (name: string, enter: readonly string[]) => {
    const { host, pid, close } = startCaller(name, path.join(dir, name), [...enter, caller]);
    closers.push(close);
    return { host, pid };
  };
  const base = start('base', ['unshare', '--mount', '--propagation', 'private']);
  await base.host.shell('true');
  const enter = ['nsenter', `--mount=/proc/${base.pid}/ns/mnt`, 'unshare', '--net'];
  return {
    dir,
    floor,
    host: async (name) => {
      const { host } = start(`${name}-${closers.length}`, enter);
      await host.shell(
        `ip link set lo up; mkdir -p '${host.dir}/run'; mount -t tmpfs tmpfs '${host.dir}/run'`,
      );
      return host;
    },
    namespaces: async (prefix, count) => {
      const files = Array.from({ length: count }, (_, n) => path.join(dir, `${prefix}-${n}`));
      const jobs = files.map((file) =>
        shellJob(`[ -e '${file}' ] || { touch '${file}'; unshare --net='${file}' true; }`),
      );
      await base.host.run(jobs, 4);
      return files;
    },
    close: async () => {
      for (const close of closers.reverse()) await close();
    },
  };
}

const shellJob = (line: string): Job => ({ file: '/bin/sh', args: ['-ec', line], env: { PATH } });

function startCaller(name: string, dir: string, command: readonly string[]) {
  mkdirSync(dir, { recursive: true });
  const [file = '', ...args] = command;
  const child = spawn(file, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  // That it ended shows where its answer is missed.
  child.stdin.on('error', () => {});
  const lines = readline.createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const run = async (jobs: readonly Job[], callers = 1): Promise<Done[]> => {
    child.stdin.write(`${[...jobs.map(lineOf), `!${callers}`].join('\n')}\n`);
    const done: Done[] = [];
    for (const { file, args = [] } of jobs) {
      const { value } = await lines.next();
      if (value === undefined) throw new Error(`${name}: the caller ended`);
      const [start, end, status, output] = value.split('\t');
      if (status !== '0') throw new Error(`${name}: ${file} ${args.join(' ')}: status ${status}: ${output}`);
      done.push({ start: Number(start) / 1e6, end: Number(end) / 1e6, output });
    }
    return done;
  };
  const host: Host = {
    name,
    dir,
    run,
    shell: async (line) => (await run([shellJob(line)]))[0]?.output.trim() ?? '',
  };
  const close = async () => {
    child.stdin.end();
    await ended;
  };
  return { host, pid: child.pid ?? -1, close };
}

function lineOf({ file, args = [], input = '', env = {} }: Job): string {
  const variables = Object.entries(env).map(([key, value]) => `${key}=${value}`);
  return [input, ...variables, file, ...args].join('\t');
}
