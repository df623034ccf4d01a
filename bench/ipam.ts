/**
 * What an address costs, in process: ADD and DEL with ten and with 10,000 leases in the store, and what it costs when
 * another program changed the folder in between, so that every lease must be read. Then our executable and Debian's,
 * as whole processes.
 *
 * Usage: tsx bench/ipam.ts [--rounds 200]
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { performance } from 'node:perf_hooks';
import { parseArgs } from 'node:util';
import type { Ambient } from '../cni/ambient.ts';
import { hostLocal } from '../ipam/host-local/host-local.ts';
import type { IpamNetConf, IpamRequest } from '../ipam/ipam.ts';
import * as files from '../netlink/files.ts';
import { lock } from '../netlink/lock.ts';
import { median, p99 } from './statistics.ts';

const { values } = parseArgs({ options: { rounds: { type: 'string', default: '200' } } });
const rounds = Number(values.rounds);
const REFERENCE = '/usr/lib/cni/host-local';
const WEFT = path.resolve(import.meta.dirname, '../dist/bin/host-local');
const root = mkdtempSync(path.join(tmpdir(), 'weft-bench-ipam-'));

interface Store {
  dir: string;
  dataDir: string;
  request(id: string): IpamRequest;
}

function store(count: number): Store {
  const dataDir = path.join(root, `data-${count}`);
  const dir = path.join(dataDir, 'net');
  mkdirSync(dir, { recursive: true });
  const address = (n: number) => `10.0.${n >> 8}.${n & 255}`;
  for (let n = 0; n < count; n++) {
    writeFileSync(path.join(dir, address(n + 2)), `${n.toString(16).padStart(64, '0')}\r\neth0`);
  }
  writeFileSync(path.join(dir, 'last_reserved_ip.0'), address(count + 1));
  const ambient: Ambient = {
    env: {},
    paths: { dataDir, runDir: path.join(root, `run-${count}`), cacheDir: root, confDir: root },
    input: async () => '',
    log: console.error,
    now: () => Date.now(),
    hostId: () => 'bench',
    lock,
    files,
    run: () => Promise.reject(new Error('IPAM runs no program')),
  };
  const ipam = { type: 'host-local', subnet: '10.0.0.0/16', dataDir };
  const config: IpamNetConf = { cniVersion: '1.0.0', name: 'net', type: 'bridge', ipam };
  return {
    dir,
    dataDir,
    request: (id) => ({ config, id: { containerId: id, ifname: 'eth0' }, args: {}, ambient }),
  };
}

interface Times {
  add: number[];
  del: number[];
}

/** Milliseconds of each round. */
async function measure(
  count: number,
  before: () => void,
  work: (verb: 'add' | 'del', id: string) => unknown,
) {
  const times: Times = { add: [], del: [] };
  for (let round = 0; round < count; round++) {
    for (const verb of ['add', 'del'] as const) {
      before();
      const start = performance.now();
      await work(verb, `bench${round}`);
      times[verb].push(performance.now() - start);
    }
  }
  return times;
}

function runProcess(file: string, { request }: Store, verb: 'add' | 'del', id: string): void {
  const { config, ambient } = request(id);
  execFileSync(file, {
    input: JSON.stringify(config),
    env: {
      WEFT_RUN_DIR: ambient.paths.runDir,
      CNI_COMMAND: verb.toUpperCase(),
      CNI_CONTAINERID: id,
      CNI_IFNAME: 'eth0',
      CNI_NETNS: '/none',
      CNI_PATH: '/',
    },
  });
}

/** The contestants, each [with few, with many leases]. */
const few = store(10);
const many = store(10_000);
const ours = (one: Store) => (verb: 'add' | 'del', id: string) => hostLocal[verb](one.request(id));
const nothing = () => {};
await measure(50, nothing, ours(few));
await measure(50, nothing, ours(many));
const rows: [name: string, few: Times, many: Times][] = [];
rows.push([
  'weft, in process',
  await measure(rounds, nothing, ours(few)),
  await measure(rounds, nothing, ours(many)),
]);
const touch =
  ({ dir }: Store) =>
  () =>
    utimesSync(dir, 1, 1);
const slow = Math.ceil(rounds / 10);
const processes = Math.ceil(rounds / 4);
rows.push([
  'weft, every lease read',
  await measure(slow, touch(few), ours(few)),
  await measure(slow, touch(many), ours(many)),
]);
for (const [name, file] of [
  ['weft, as a process', WEFT],
  ['reference, as a process', REFERENCE],
] as const) {
  if (!existsSync(file)) throw new Error(`${file} is not there: wanted to compare with it`);
  const called = (one: Store) => (verb: 'add' | 'del', id: string) => runProcess(file, one, verb, id);
  rows.push([
    name,
    await measure(processes, nothing, called(few)),
    await measure(processes, nothing, called(many)),
  ]);
}
rmSync(root, { recursive: true });

console.log(
  `milliseconds, median (p99) of ${rounds} rounds; ${slow} where every lease is read, ${processes} as processes`,
);
console.log(
  `${''.padEnd(30)}${'10 leases'.padStart(18)}${'10,000 leases'.padStart(18)}${'ratio'.padStart(8)}`,
);
for (const [name, a, b] of rows) {
  for (const verb of ['add', 'del'] as const) {
    const cell = (times: number[]) => `${median(times).toFixed(2)} (${p99(times).toFixed(2)})`.padStart(18);
    const ratio = (median(b[verb]) / median(a[verb])).toFixed(2);
    console.log(
      `${`${name}, ${verb.toUpperCase()}`.padEnd(30)}${cell(a[verb])}${cell(b[verb])}${ratio.padStart(8)}`,
    );
  }
}
