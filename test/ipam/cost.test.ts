/** Allocation and release cost the same with 10,000 leases as with ten: counted in system calls, not in time. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import t from 'tap';
import { bundleChild, runLines } from './process.ts';
import { type World, world, worldAt } from './support.ts';

const shared = world(t);
const child = await bundleChild(shared.dir);
const CALLS =
  'openat,read,pread64,write,pwrite64,ftruncate,getdents64,stat,lstat,fstat,newfstatat,statx,link,unlink,rename,renameat2,utimensat,mkdir';

/** A store with so many leases, half of them IPv4. */
function filled(count: number): World {
  const w = worldAt(path.join(shared.dir, `with-${count}`));
  mkdirSync(w.leases, { recursive: true });
  const id = (n: number) => `${n.toString(16).padStart(8, '0')}`.repeat(8);
  for (let n = 0; n < count / 2; n++) {
    const text = `${id(n)}\r\neth0`;
    writeFileSync(path.join(w.leases, `10.0.${(n + 2) >> 8}.${(n + 2) & 255}`), text);
    writeFileSync(path.join(w.leases, `fd00:1::${(n + 2).toString(16)}`), text);
  }
  const last = count / 2 + 1;
  writeFileSync(path.join(w.leases, 'last_reserved_ip.0'), `10.0.${last >> 8}.${last & 255}`);
  writeFileSync(path.join(w.leases, 'last_reserved_ip.1'), `fd00:1::${last.toString(16)}`);
  return w;
}

interface Cost {
  /** How often each system call that has to do with the store or its index was made. */
  calls: Record<string, number>;
  /** Lease files opened or looked at. */
  leases: string[];
}

/** The cost of each of the commands, after one ADD and DEL that made the index. */
async function costs(w: World, commands: readonly string[]): Promise<Cost[]> {
  const trace = [
    'strace',
    '-f',
    '-qq',
    '-y',
    '-s',
    '0',
    '-e',
    `trace=${CALLS},access,faccessat2`,
    '-e',
    'signal=none',
  ];
  // Not by a pipe: what a slow reader does not take in time is lost where the traced process made it non-blocking.
  const file = path.join(w.dir, 'trace');
  const command = [...trace, '-o', file, process.execPath, child, w.dir, '--mark'];
  const ended = await runLines(command, ['add warm-up', 'del warm-up', ...commands]);
  if (ended.status !== 0) throw new Error(ended.stderr.slice(-2000));
  for (const answer of ended.answers.slice(0, -1))
    if (!Array.isArray(answer)) throw new Error(JSON.stringify(answer));
  return cut(readFileSync(file, 'utf8').split('\n'), w).slice(2);
}

function cut(lines: readonly string[], w: World): Cost[] {
  const costs: Cost[] = [];
  let current: Cost | undefined;
  for (const line of lines) {
    if (line.includes('/weft-mark-begin')) current = { calls: {}, leases: [] };
    if (line.includes('/weft-mark-end') && current !== undefined) costs.push(current);
    if (line.includes('/weft-mark-end')) current = undefined;
    // On a busy machine strace tells of a call in two lines; the first has its name and path.
    if (current === undefined || !line.includes(w.dir) || line.includes(' resumed>')) continue;
    const name = /(\w+)\(/.exec(line)?.[1] ?? '';
    current.calls[name] = (current.calls[name] ?? 0) + 1;
    const lease = /data\/net\/([0-9a-f][0-9a-f.:]*)/.exec(line)?.[1];
    if (lease !== undefined && !current.leases.includes(lease)) current.leases.push(lease);
  }
  return costs;
}

t.test('ADD, ADD again, DEL, DEL again', async (t) => {
  const commands = ['add x', 'add x', 'del x', 'del x'];
  const few = await costs(filled(10), commands);
  const many = await costs(filled(10_000), commands);
  for (const [n, command] of commands.entries()) {
    const [a, b] = [few[n]?.calls ?? {}, many[n]?.calls ?? {}];
    t.same(a.openat, b.openat, `${command}: files opened, ${a.openat} and ${b.openat}`);
    t.equal(a.getdents64 ?? 0, 0, `${command}: no listing with ten`);
    t.equal(b.getdents64 ?? 0, 0, `${command}: no listing with 10,000`);
    // A bucket of the index that exists is read, one that does not is not: that is all the difference there may be.
    const calls = ({ read = 0, fstat = 0, statx = 0, ...rest }: Record<string, number>) => rest;
    t.same(calls(b), calls(a), `${command}: the same calls`);
    const sum = (counts: Record<string, number>) => Object.values(counts).reduce((x, y) => x + y, 0);
    t.ok(sum(b) - sum(a) <= 4, `${command}: ${sum(a)} calls with ten, ${sum(b)} with 10,000`);
    t.comment(`${command}: ${sum(a)} calls with ten leases, ${sum(b)} with 10,000: ${JSON.stringify(b)}`);
    t.ok((many[n]?.leases.length ?? 9) <= 2, `${command}: no other lease is looked at: ${many[n]?.leases}`);
  }
});
