/**
 * What a container costs from nothing to nothing: `run --rm true` with a network, by weft (with and without its agent) and by runc and crun
 * with the reference plugins; a hundred sandboxes; memory of a container that does nothing. Ratios of medians in one run.
 *
 * Usage: tsx bench/containers.ts [--rounds 20] [--json FILE]
 */
import { copyFileSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { type Ground, type Host, openGround, PATH } from './ground.ts';
import { median } from './statistics.ts';

const { values } = parseArgs({
  options: { rounds: { type: 'string', default: '20' }, json: { type: 'string' } },
});
const rounds = Number(values.rounds);
const BIN = path.resolve(import.meta.dirname, '../dist/bin');
const NETWORK = {
  ...{ cniVersion: '0.4.0', name: 'bench' },
  plugins: [
    {
      ...{ type: 'bridge', bridge: 'bench0', isGateway: true, ipMasq: true },
      ipam: { type: 'host-local', ranges: [[{ subnet: '10.9.0.0/16' }]], routes: [{ dst: '0.0.0.0/0' }] },
    },
  ],
};

interface Contestant {
  name: string;
  host: Host;
  env: Record<string, string>;
  file: string;
  args: string[];
}

/** A root file system of one busybox. */
function makeRoot(dir: string): string {
  const root = path.join(dir, 'root');
  mkdirSync(path.join(root, 'bin'), { recursive: true });
  for (const folder of ['proc', 'sys', 'dev', 'etc']) mkdirSync(path.join(root, folder), { recursive: true });
  for (const name of ['busybox', 'true', 'sleep']) copyFileSync('/bin/busybox', path.join(root, 'bin', name));
  return root;
}

async function weft(ground: Ground, root: string, agent: boolean): Promise<Contestant> {
  const host = await ground.host(agent ? 'agent' : 'cold');
  const conflist = path.join(host.dir, 'bench.conflist');
  writeFileSync(conflist, JSON.stringify(NETWORK));
  const env = {
    PATH,
    ...{
      WEFT_RUN_DIR: `${host.dir}/run/weft`,
      WEFT_DATA_DIR: `${host.dir}/run/leases`,
      WEFT_CACHE_DIR: `${host.dir}/run/cache`,
    },
    ...{
      WEFT_STORE_DIR: `${host.dir}/store`,
      WEFT_CGROUP: path.basename(ground.dir),
      WEFT_HOST_ID: host.name,
    },
  };
  if (agent) {
    const variables = Object.entries(env).map(([name, value]) => `${name}='${value}'`);
    await host.shell(
      `${variables.join(' ')} '${BIN}/weft' agent --log-level error >'${host.dir}/agent.log' 2>&1 & until '${BIN}/weft' version >/dev/null && test -S '${env.WEFT_RUN_DIR}/agent.sock'; do sleep 0.1; done`,
    );
  }
  const args = ['run', '--rm', '--net', conflist, '--rootfs', root, '/bin/true'];
  return { name: agent ? 'weft, agent' : 'weft', host, env, file: `${BIN}/weft`, args };
}

/** The same by the programs that people put together for it. */
async function others(ground: Ground, root: string, runtime: 'runc' | 'crun'): Promise<Contestant> {
  const host = await ground.host(runtime);
  const bundle = path.join(host.dir, 'bundle');
  mkdirSync(bundle);
  await host.shell(`cd '${bundle}' && ${runtime} spec`);
  const spec = JSON.parse(readFileSync(path.join(bundle, 'config.json'), 'utf8'));
  const id = `weft-bench-${runtime}`;
  spec.process.terminal = false;
  spec.process.args = ['/bin/true'];
  delete spec.process.rlimits;
  spec.root = { path: root, readonly: true };
  spec.linux.cgroupsPath = `/${path.basename(ground.dir)}/${id}`;
  const netns = path.join(host.dir, 'netns');
  for (const namespace of spec.linux.namespaces) if (namespace.type === 'network') namespace.path = netns;
  writeFileSync(path.join(bundle, 'config.json'), JSON.stringify(spec));
  const [plugin] = NETWORK.plugins;
  const ipam = { ...plugin?.ipam, dataDir: `${host.dir}/run/leases` };
  writeFileSync(
    path.join(host.dir, 'conf'),
    JSON.stringify({ ...plugin, cniVersion: NETWORK.cniVersion, name: NETWORK.name, ipam }),
  );
  const script = `set -e; touch '${netns}'; unshare --net='${netns}' true
    export CNI_CONTAINERID=${id} CNI_NETNS='${netns}' CNI_IFNAME=eth0 CNI_PATH=/usr/lib/cni
    CNI_COMMAND=ADD /usr/lib/cni/bridge <'${host.dir}/conf' >/dev/null
    ${runtime} --root '${host.dir}/run/state' run --bundle '${bundle}' ${id}
    CNI_COMMAND=DEL /usr/lib/cni/bridge <'${host.dir}/conf'
    umount '${netns}'`;
  writeFileSync(path.join(host.dir, 'script'), script);
  return {
    name: `${runtime}, reference plugins`,
    host,
    env: { PATH },
    file: '/bin/sh',
    args: [`${host.dir}/script`],
  };
}

async function time({ host, file, args, env }: Contestant): Promise<number> {
  const [done] = await host.run([{ file, args, env }]);
  return done ? done.end - done.start : Number.NaN;
}

/** Kilobytes that a process has for itself (smaps_rollup, Private_*), and what it shares with others of its kind in proportion (Pss). */
function memory(pid: number): { pss: number } {
  const text = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
  return { pss: Number(/^Pss:\s+(\d+)/m.exec(text)?.[1]) };
}

async function idle(contestant: Contestant): Promise<number> {
  const { host, env } = contestant;
  const variables = Object.entries(env)
    .map(([name, value]) => `${name}='${value}'`)
    .join(' ');
  const call = (line: string) => host.shell(`${variables} '${BIN}/weft' ${line}`);
  await call('run -d --name idle sleep 1000');
  const { state } = JSON.parse(await call('inspect idle')) as { state: { monitor: number } };
  const { pss } = memory(state.monitor);
  await call('rm -f idle');
  return pss;
}

async function sandboxes(contestant: Contestant, count: number): Promise<number> {
  const { host, env } = contestant;
  const jobs = Array.from({ length: count }, (_, n) => ({
    file: `${BIN}/weft`,
    args: ['sandbox', 'create', `wb${n}`],
    env,
  }));
  const done = await host.run(jobs);
  const names = jobs.map((_, n) => `wb${n}`);
  await host.run([{ file: `${BIN}/weft`, args: ['sandbox', 'remove', ...names], env }]);
  return (done.at(-1)?.end ?? 0) - (done[0]?.start ?? 0);
}

const ground = await openGround();
try {
  const root = makeRoot(ground.dir);
  const contestants = [
    await weft(ground, root, false),
    await weft(ground, root, true),
    await others(ground, root, 'runc'),
    await others(ground, root, 'crun'),
  ];
  const times = new Map<string, number[]>();
  // The first makes the bridge and the rules, and shows who can run here at all.
  for (const contestant of contestants) {
    try {
      await time(contestant);
      times.set(contestant.name, []);
    } catch (error) {
      process.stdout.write(`${contestant.name} does not run here: ${(error as Error).message}\n`);
    }
  }
  for (let round = 0; round < rounds; round++) {
    for (const contestant of contestants) {
      const all = times.get(contestant.name);
      if (all) all.push(await time(contestant));
    }
  }
  const [cold] = contestants;
  const first = median(times.get(cold?.name ?? '') ?? []);
  const rows = [...times].map(([name, all]) => ({
    name,
    milliseconds: median(all),
    ratio: median(all) / first,
  }));
  for (const { name, milliseconds, ratio } of rows) {
    process.stdout.write(
      `${name.padEnd(26)} ${milliseconds.toFixed(1).padStart(7)} ms  ${ratio.toFixed(2)} times weft's\n`,
    );
  }
  const monitor = cold ? await idle(cold) : 0;
  process.stdout.write(`a container that does nothing: ${monitor} KiB for its monitor\n`);
  const made = cold ? await sandboxes(cold, 100) : 0;
  process.stdout.write(`100 sandboxes one after the other: ${(made / 1000).toFixed(1)} s\n`);
  if (values.json)
    writeFileSync(values.json, `${JSON.stringify({ rows, monitor, sandboxes: made }, null, 2)}\n`);
} finally {
  await ground.close();
  for (const hierarchy of readdirSync('/sys/fs/cgroup')) {
    const { removeFolders } = await import('../runtime/cgroup/cgroups.ts');
    removeFolders([path.join('/sys/fs/cgroup', hierarchy, path.basename(ground.dir))]);
  }
}
