/** child.ts as a process: bundled once, so that it starts fast. */
import { spawn } from 'node:child_process';
import { copyFileSync } from 'node:fs';
import path from 'node:path';
import { build } from 'esbuild';

const ROOT = path.resolve(import.meta.dirname, '../..');

/** Bundles child.ts into `dir`; returns the file to run. */
export async function bundleChild(dir: string): Promise<string> {
  const outfile = path.join(dir, 'child.mjs');
  await build({
    entryPoints: [path.join(ROOT, 'test/ipam/child.ts')],
    outfile,
    bundle: true,
    platform: 'node',
    format: 'esm',
    logLevel: 'warning',
  });
  copyFileSync(path.join(ROOT, 'build/Release/weft.node'), path.join(dir, 'weft-core.node'));
  return outfile;
}

export interface Ended {
  status: number | null;
  signal: NodeJS.Signals | null;
  /** What it printed, each line decoded. */
  answers: unknown[];
  stderr: string;
}

/** Runs a program with these lines as input; with `killAfter`, it is killed when it has answered so many of them. */
export function runLines(
  command: readonly string[],
  lines: readonly string[],
  killAfter?: number,
): Promise<Ended> {
  const [file = '', ...args] = command;
  const child = spawn(file, args, { stdio: 'pipe' });
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (data) => {
    stdout += data;
    if (killAfter !== undefined && stdout.split('\n').length > killAfter) child.kill('SIGKILL');
  });
  child.stderr.on('data', (data) => {
    stderr += data;
  });
  child.stdin.on('error', () => {});
  child.stdin.end(lines.map((line) => `${line}\n`).join(''));
  return new Promise((resolve) => {
    child.on('close', (status, signal) => {
      const whole = stdout.split('\n').slice(0, -1);
      resolve({ status, signal, answers: whole.map((line) => JSON.parse(line) as unknown), stderr });
    });
  });
}
