/**
 * The plugins under noise in memory, from environment and standard input to status and standard output, over a kernel and programs
 * that fail at will. FUZZ_RUNS sets the number of calls, FUZZ_SEED repeats a run.
 */
import { chmodSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import t from 'tap';
import type { Ambient, RunResult } from '../../cni/ambient.ts';
import { CniError, ErrorCode } from '../../cni/errors.ts';
import type { NamespaceLook } from '../../cni/namespace.ts';
import { runPlugin } from '../../cni/skel.ts';
import { writeMembership } from '../../ipam/cluster/membership.ts';
import * as files from '../../netlink/files.ts';
import { loadPlugin, type PluginName } from '../../plugins/registry.ts';
import { SEED } from '../support/seed.ts';
import { HELD } from './configurations.ts';
import { complaints, DEL_MAY_SAY, type Env, type Noise, noise } from './mutations.ts';
import { MOODS, type Moods, noisyDoor } from './noisy-door.ts';

const RUNS = Number(process.env.FUZZ_RUNS ?? 8000);
const SECONDS = Number(process.env.FUZZ_SECONDS ?? 60);

/** Milliseconds for one call; nothing here waits for anything but a busy machine. */
const PATIENCE = 60_000;

const root = t.testdir();
const bin = join(root, 'bin');
const data = join(root, 'data');
for (const dir of [bin, data]) mkdirSync(dir);
writeFileSync(join(root, 'file'), '');
// Only looked for: Ambient.run below says what it prints.
for (const name of ['no-such', 'bridge']) {
  writeFileSync(join(bin, name), '');
  chmodSync(join(bin, name), 0o755);
}
writeMembership(join(root, 'cache'), HELD);
// A path of a configuration that is relative must not lead into the tree.
process.chdir(root);

const PROGRAMS: readonly (RunResult | undefined)[] = [
  { status: 0, stdout: '', stderr: '' },
  { status: 0, stdout: '{}', stderr: '' },
  { status: 0, stdout: 'not JSON', stderr: 'oops' },
  {
    status: 0,
    stdout: '{"ips":[{"address":"10.3.0.5/24","gateway":"10.3.0.1"}],"routes":[{"dst":"0.0.0.0/0"}]}',
    stderr: '',
  },
  { status: 0, stdout: '{"cniVersion":"1.1.0","ips":[{"address":"::/300"}]}', stderr: '' },
  { status: 0, stdout: '{"cniVersion":"0.2.0","ip4":{"ip":"10.3.0.5/24"}}', stderr: '' },
  { status: 1, stdout: '{"code":11,"msg":"later"}', stderr: '' },
  { status: 1, stdout: '{"code":-1}', stderr: '' },
  { status: 137, stdout: '', stderr: 'Killed' },
  undefined,
];

interface Weather {
  call: Noise;
  look: NamespaceLook['state'];
  moods: Moods;
  programs: readonly number[];
}

function ambientFor(env: Env, { call, programs }: Weather): Ambient & { logs: string[] } {
  const logs: string[] = [];
  let ran = 0;
  return {
    env,
    paths: { dataDir: data, runDir: join(root, 'run'), cacheDir: join(root, 'cache'), confDir: root },
    input: async () => call.input,
    log: (line) => void logs.push(line),
    now: () => Date.now(),
    hostId: () => 'host',
    lock: async () => () => {},
    files,
    async run(file) {
      const result = PROGRAMS[(programs[ran++ % Math.max(1, programs.length)] ?? 0) % PROGRAMS.length];
      if (result === undefined) throw new CniError(ErrorCode.program, `cannot start ${file}`);
      return result;
    },
    logs,
  };
}

async function run(command: string, weather: Weather, moods: Moods) {
  const { call, look } = weather;
  const env: Env = {
    CNI_CONTAINERID: 'c1',
    CNI_NETNS: '/run/netns/c1',
    CNI_IFNAME: 'eth0',
    CNI_PATH: bin,
    ...call.env,
    CNI_COMMAND: command,
  };
  const plugin = await loadPlugin(call.plugin as PluginName, { door: noisyDoor(moods), hostNetns: '/host' });
  const ambient = ambientFor(env, weather);
  const outcome = await inTime(runPlugin(plugin, ambient, { look: () => ({ state: look }) }));
  return { ...outcome, stderr: outcome.stderr + (env.WEFT_DEBUG ? '' : ambient.logs.join('\n')) };
}

async function inTime<T>(work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error('no answer in time')), PATIENCE);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

const weather = fc.record({
  call: noise({
    dataDirs: [data, join(root, 'deep/er'), join(root, 'file'), '/proc/none', ''],
    namespaces: ['', '/run/netns/none', '/run/netns/c2'],
    programs: [bin, join(root, 'none'), `:${bin}`],
  }),
  look: fc.oneof(
    { weight: 4, arbitrary: fc.constant('other' as const) },
    { weight: 1, arbitrary: fc.constantFrom('own' as const, 'gone' as const, 'foreign' as const) },
  ),
  moods: fc.array(fc.constantFrom(...MOODS), { maxLength: 12 }),
  programs: fc.array(fc.nat(20), { maxLength: 3 }),
});

t.test(`seed ${SEED}`, async (t) => {
  let runs = 0;
  const tally = new Map<number, number>();
  const holds = async (one: Weather) => {
    runs += 1;
    const first = await run(one.call.command, one, one.moods);
    const answer = first.status === 0 ? 0 : JSON.parse(first.stdout || '{}').code;
    tally.set(answer, (tally.get(answer) ?? 0) + 1);
    // A kernel in which nothing is left: DEL has an easy life, whatever went wrong before.
    const del = await run('DEL', { ...one, programs: [0] }, []);
    const code = del.status === 0 ? undefined : JSON.parse(del.stdout || '{}').code;
    const wrong = [
      ...complaints(one.call, first),
      ...complaints({ command: 'DEL' }, del).map((what) => `DEL: ${what}`),
      ...(code === undefined || DEL_MAY_SAY.has(code) || code === ErrorCode.program || isFile(code)
        ? []
        : [`DEL says ${code}`]),
    ];
    if (wrong.length > 0) throw new Error(`${wrong.join(', ')}: ${JSON.stringify({ first, del })}`);
  };
  await fc.assert(fc.asyncProperty(weather, holds), {
    seed: SEED,
    numRuns: RUNS,
    interruptAfterTimeLimit: SECONDS * 1000,
    markInterruptAsFailure: false,
  });
  const codes = [...tally]
    .sort(([a], [b]) => a - b)
    .map(([code, times]) => `${times} times ${code || 'done'}`);
  t.comment(`seed ${SEED}: ${runs} of ${RUNS} calls, each with its DEL: ${codes.join(', ')}`);
  t.ok(runs > 200, 'the time was enough to say something');
  t.same(leasesBelow(root), [], 'no lease is left');
  t.same(Object.keys(Object.prototype), [], 'no prototype was touched');
});

/** The folder of the leases is a file in some runs. */
function isFile(code: number): boolean {
  return code === ErrorCode.io;
}

function leasesBelow(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && /^[0-9a-f]*[.:][0-9a-f.:]+$/.test(entry.name))
    .map((entry) => join(entry.path, entry.name));
}
