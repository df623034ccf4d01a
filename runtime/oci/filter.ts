/** A bundle's filter of system calls: made by libseccomp in a small program beside the executables, once for every profile. */
import { createHash } from 'node:crypto';
import { linkSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { OciError, type OciSeccomp } from './bundle.ts';
import { seccompRules } from './seccomp.ts';

/** In the container's folder: its further processes are held by it, too. */
export const FILTER = 'filter';
/** Below the root of all state; no container's id begins with a point. */
const CACHE = '.filters';

/** Throws OciError. */
export async function compileFilter(
  { root, programs }: { root: string; programs: string },
  seccomp: OciSeccomp | null | undefined,
  folder: string,
): Promise<Uint8Array | undefined> {
  if (!seccomp) return undefined;
  const rules = seccompRules(seccomp).join('\n');
  const cached = join(root, CACHE, createHash('sha256').update(rules).digest('hex'));
  let filter = tryRead(cached);
  if (!filter) {
    filter = await compile(join(programs, 'weft-seccomp'), rules);
    mkdirSync(join(root, CACHE), { recursive: true, mode: 0o700 });
    const own = join(folder, FILTER);
    writeFileSync(own, filter, { mode: 0o600 });
    linkSync(own, `${own}.cached`);
    renameSync(`${own}.cached`, cached);
  } else linkSync(cached, join(folder, FILTER));
  return filter;
}

/** Of a container that is there. */
export const keptFilter = (folder: string): Buffer | undefined => tryRead(join(folder, FILTER));

function tryRead(file: string): Buffer | undefined {
  try {
    return readFileSync(file);
  } catch {
    return undefined;
  }
}

async function compile(program: string, rules: string): Promise<Buffer> {
  const { spawn } = await import('node:child_process');
  return await new Promise((resolve, reject) => {
    const child = spawn(program, [], { stdio: ['pipe', 'pipe', 'pipe'], env: {} });
    const out: Buffer[] = [];
    const words: Buffer[] = [];
    child.stdout.on('data', (data: Buffer) => out.push(data));
    child.stderr.on('data', (data: Buffer) => words.push(data));
    child.stdin.on('error', () => undefined);
    child.stdin.end(rules);
    child.on('error', (cause) =>
      reject(new OciError(`cannot start ${program}: ${cause.message}`, { cause })),
    );
    child.on('close', (status) => {
      if (status === 0) resolve(Buffer.concat(out));
      else reject(new OciError(`linux.seccomp: ${Buffer.concat(words).toString('utf8').trim()}`));
    });
  });
}
