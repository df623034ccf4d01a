/** Whoever is killed, whenever: what is left is found and taken away, and nothing of others is. */
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { cachedResults, leases, links } from '../support/host.ts';
import { until } from '../support/until.ts';
import { containerLab } from './container-lab.ts';

const { host, weft, env } = await containerLab(t);

async function leftovers(): Promise<string[]> {
  const names = (folder: string) =>
    existsSync(folder) ? readdirSync(folder).filter((name) => name !== 'lock') : [];
  const cgroups = readdirSync('/sys/fs/cgroup').flatMap((hierarchy) =>
    names(join('/sys/fs/cgroup', hierarchy, host.name)).filter((name) => /^[0-9a-f]{64}$/.test(name)),
  );
  const veths = (await links(host.netns)).filter((name) => name.startsWith('veth'));
  const { stdout } = await host.exec('cat', ['/proc/self/mountinfo']);
  const mounts = stdout.split('\n').filter((line) => line.includes('/containers/'));
  return [
    ...names(join(host.dirs.run, 'containers')),
    ...names(join(host.root, 'store/containers')),
    ...[...cgroups, ...veths, ...mounts, ...(await leases(host)), ...(await cachedResults(host))],
  ];
}

/** Starts `weft run` and kills the command itself after so many milliseconds. */
async function killedAfter(milliseconds: number, ...args: string[]): Promise<void> {
  const file = join(host.root, 'pid');
  const script = 'echo $$ >"$1.new" && mv "$1.new" "$1"; shift; exec /opt/cni/bin/weft run "$@"';
  await host.daemon('run', 'sh', ['-c', script, 'sh', file, ...args], env);
  const pid = (await until('it begins', () => existsSync(file) && readFileSync(file, 'utf8'))).trim();
  await new Promise((resolve) => setTimeout(resolve, milliseconds));
  // It may have ended by itself.
  await host.exec('kill', ['-9', pid], { mayFail: true });
  rmSync(file);
}

/** From before the folder is made to after the command has begun, on a quiet machine; wherever it falls, nothing may be left. Milliseconds. */
const MOMENTS = [20, 60, 75, 85, 95, 110, 130, 200];

t.test('the command is killed while it makes a container', async (t) => {
  for (const [round, milliseconds] of MOMENTS.entries()) {
    await killedAfter(milliseconds, '--name', `c${round}`, '--net', 'demo', 'sleep', '1000');
    const { stdout } = await weft(['ps', '-a', '--json']);
    for (const { name, phase } of JSON.parse(stdout) as { name: string; phase: string }[]) {
      // Whose command had begun runs on: a container outlives the command.
      if (phase === 'running') await weft(['rm', '-f', name]);
    }
    const gc = await weft(['gc']);
    t.equal(gc.status, 0, `killed after ${milliseconds} ms: ${gc.stderr}`);
    t.same(await leftovers(), [], `killed after ${milliseconds} ms`);
  }
});

t.test('GC leaves alone what lives and what is being made', async (t) => {
  await weft(['run', '-d', '--name', 'lives', '--net', 'demo', 'sleep', '1000']);
  const making = Promise.all(
    [1, 2, 3].map((n) => weft(['run', '--rm', '--net', 'demo', '--name', `m${n}`, 'echo', `${n}`])),
  );
  for (let round = 0; round < 5; round++)
    t.match(await weft(['gc']), { status: 0, stdout: 'nothing was left behind' });
  t.same(
    (await making).map(({ status, stdout }) => [status, stdout]),
    [
      [0, '1'],
      [0, '2'],
      [0, '3'],
    ],
  );
  t.match((await weft(['ps'])).stdout, /lives .* up /);
  await weft(['rm', '-f', 'lives']);
  t.same(await leftovers(), []);
});

t.test('many at once', async (t) => {
  const all = await Promise.all(
    Array.from({ length: 12 }, (_, n) =>
      weft(['run', '--rm', '--net', 'demo', 'sh', '-c', `echo ${n}; exit ${n}`]),
    ),
  );
  t.same(
    all.map(({ status, stdout, stderr }) => ({ status, stdout, stderr })),
    all.map((_, n) => ({ status: n, stdout: `${n}`, stderr: '' })),
  );
  t.same(await leftovers(), []);
});
