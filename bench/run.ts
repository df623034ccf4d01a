/**
 * `make bench`: weft against Debian's containernetworking-plugins in one run, as whole processes. The contestants take turns,
 * so that a noisy machine disturbs all of them alike; what counts are the ratios.
 *
 * Usage: tsx bench/run.ts [--levels 1,100,500] [--rounds 50] [--json FILE]
 */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import readline from 'node:readline';
import { parseArgs } from 'node:util';
import type { Contestant, Reply, Request } from './protocol.ts';
import { median, p99 } from './statistics.ts';

const { values } = parseArgs({
  options: {
    levels: { type: 'string', default: '1,100,500' },
    rounds: { type: 'string', default: '50' },
    weft: { type: 'string', default: 'dist/bin' },
    peer: { type: 'string', default: '/usr/lib/cni' },
    json: { type: 'string' },
  },
});
const levels = values.levels.split(',').map(Number);
const rounds = Number(values.rounds);
const root = path.resolve(import.meta.dirname, '..');
const weftDir = path.resolve(root, values.weft);

interface Host extends Contestant {
  ask(request: Request): Promise<Reply>;
  stop(): void;
}

/** Starts a contestant's worker inside a fresh network namespace of its own. */
function startHost(contestant: Contestant): Host {
  mkdirSync(contestant.stateDir, { recursive: true });
  const worker = spawn(
    'unshare',
    [
      '--net',
      '--mount',
      'sh',
      '-c',
      'ip link set lo up; exec "$@"',
      'sh',
      process.execPath,
      '--import=tsx',
      path.join(root, 'bench/worker.ts'),
      JSON.stringify(contestant),
    ],
    { stdio: ['pipe', 'pipe', 'inherit'], cwd: root },
  );
  const lines = readline.createInterface({ input: worker.stdout })[Symbol.asyncIterator]();
  return {
    ...contestant,
    async ask(request) {
      worker.stdin.write(`${JSON.stringify(request)}\n`);
      const { value, done } = await lines.next();
      if (done) throw new Error(`${contestant.name}: the worker ended`);
      const reply = JSON.parse(value) as Reply;
      if (reply.op === 'error') throw new Error(reply.message);
      return reply;
    },
    stop: () => worker.stdin.end(),
  };
}

function contestants(stateDir: string): Contestant[] {
  const peerVersion = spawnSync(path.join(values.peer, 'bridge'), [], { encoding: 'utf8' }).stderr.trim();
  process.stdout.write(`peer: ${peerVersion}\n`);
  const list: Contestant[] = [];
  for (const masquerade of [undefined, 'iptables', 'nftables'] as const) {
    const label = masquerade ?? 'plain';
    for (const [who, binDir] of [
      ['weft', weftDir],
      ['agent', weftDir],
      ['reference', values.peer],
    ] as const) {
      // Debian's reference knows the iptables backend alone; it stands beside ours of either kind.
      if (who === 'reference' && masquerade === 'nftables') continue;
      list.push({
        name: `${who} ${label}`,
        binDir,
        stateDir: path.join(stateDir, `${who}-${label}`),
        backendField: who !== 'reference',
        agent: who === 'agent',
        ...(masquerade && { masquerade }),
      });
    }
  }
  return list;
}

interface Row {
  operation: 'ADD' | 'DEL';
  level: number;
  samples: Map<string, number[]>;
}

async function measure(hosts: readonly Host[], level: number): Promise<Row[]> {
  process.stderr.write(`filling to ${level - 1} containers\n`);
  await Promise.all(hosts.map((host) => host.ask({ op: 'fill', count: level - 1 })));
  const add: Row = { operation: 'ADD', level, samples: new Map() };
  const del: Row = { operation: 'DEL', level, samples: new Map() };
  for (const host of hosts) await host.ask({ op: 'pair', round: -1 });
  for (let round = 0; round < rounds; round++) {
    for (const host of hosts) {
      const reply = await host.ask({ op: 'pair', round });
      if (reply.op !== 'pair') throw new Error(`unexpected answer ${reply.op}`);
      for (const [row, value] of [
        [add, reply.add],
        [del, reply.del],
      ] as const) {
        row.samples.set(host.name, [...(row.samples.get(host.name) ?? []), value]);
      }
    }
  }
  return [add, del];
}

const PAIRS = [
  ['weft plain', 'reference plain'],
  ['weft iptables', 'reference iptables'],
  ['weft nftables', 'reference iptables'],
  ['agent plain', 'reference plain'],
  ['agent iptables', 'reference iptables'],
  ['agent nftables', 'reference iptables'],
] as const;

function report(rows: readonly Row[]): void {
  const line = (cells: readonly string[]) =>
    `${cells.map((cell, i) => (i < 3 ? cell.padEnd(22) : cell.padStart(12))).join('')}\n`;
  process.stdout.write(
    line([
      'operation',
      'weft',
      'against',
      'ours ms',
      'peer ms',
      'ratio',
      'p99 ours',
      'p99 peer',
      'p99 ratio',
    ]),
  );
  for (const row of rows) {
    for (const [ours, peer] of PAIRS) {
      const a = row.samples.get(ours) ?? [];
      const b = row.samples.get(peer) ?? [];
      process.stdout.write(
        line([
          `${row.operation} at ${row.level}`,
          ours,
          peer,
          median(a).toFixed(1),
          median(b).toFixed(1),
          (median(a) / median(b)).toFixed(2),
          p99(a).toFixed(1),
          p99(b).toFixed(1),
          (p99(a) / p99(b)).toFixed(2),
        ]),
      );
    }
  }
}

/** What a plugin's process costs before it does anything: Node alone, and ours answering VERSION. */
function startUp(): void {
  const time = (file: string, args: string[], env: Record<string, string>) => {
    const samples = Array.from({ length: rounds }, () => {
      const start = process.hrtime.bigint();
      spawnSync(file, args, { env, input: '' });
      return Number(process.hrtime.bigint() - start) / 1e6;
    });
    return `${median(samples).toFixed(1)} ms (p99 ${p99(samples).toFixed(1)})`;
  };
  const version = { CNI_COMMAND: 'VERSION', PATH: '/usr/bin:/bin' };
  process.stdout.write(`start-up: node -e 0: ${time(process.execPath, ['-e', '0'], {})}\n`);
  process.stdout.write(
    `start-up: weft bridge, VERSION: ${time(path.join(weftDir, 'bridge'), [], version)}\n`,
  );
  process.stdout.write(
    `start-up: reference bridge, VERSION: ${time(path.join(values.peer, 'bridge'), [], version)}\n`,
  );
  for (const file of ['weft-core.js', 'weft-core.cache', 'weft-core.node', 'weft-cli.cjs', 'weft']) {
    process.stdout.write(
      `size: ${file}: ${Math.round(statSync(path.join(weftDir, file)).size / 1024)} KiB\n`,
    );
  }
}

if (process.getuid?.() !== 0) throw new Error('the benchmark makes network namespaces: run it as root');
if (!existsSync(path.join(values.peer, 'bridge'))) {
  throw new Error(`no reference plugins in ${values.peer}: apt-get install containernetworking-plugins`);
}
const stateDir = mkdtempSync(path.join(os.tmpdir(), 'weft-bench-'));
const hosts = contestants(stateDir).map(startHost);
try {
  startUp();
  const rows: Row[] = [];
  for (const level of levels) rows.push(...(await measure(hosts, level)));
  report(rows);
  if (values.json !== undefined) {
    const plain = rows.map((row) => ({ ...row, samples: Object.fromEntries(row.samples) }));
    writeFileSync(values.json, `${JSON.stringify(plain, null, 1)}\n`);
  }
} finally {
  for (const host of hosts) host.stop();
  rmSync(stateDir, { recursive: true, force: true });
}
