/** The demonstration of networks between hosts, with the executables of dist/bin: here is proved that it tells the truth. */
import { spawn } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { makeGround } from '../runtime/fake-plugins.ts';
import { exec, execIn } from '../support/host.ts';

const WEFT = join(import.meta.dirname, '../../dist/bin/weft');

/** A folder of the test's own for the demonstration's, so that what is left can be seen. */
function place(t: Parameters<typeof makeGround>[0]) {
  const g = makeGround(t);
  const tmp = join(g.root, 'tmp');
  mkdirSync(tmp);
  return { tmp, env: { PATH: process.env.PATH ?? '', TMPDIR: tmp } };
}

/** Runs the demonstration; `onOutput` is called with all there is so far. */
async function demo(
  env: Readonly<Record<string, string>>,
  args: readonly string[],
  onOutput: (all: string, kill: (signal: NodeJS.Signals) => void) => void = () => {},
): Promise<{ status: number | null; stdout: string; stderr: string }> {
  const child = spawn(WEFT, ['demo', 'two-hosts', ...args], { env, stdio: ['ignore', 'pipe', 'pipe'] });
  let [stdout, stderr] = ['', ''];
  child.stdout.on('data', (part) => {
    stdout += part;
    onOutput(stdout, (signal) => child.kill(signal));
  });
  child.stderr.on('data', (part) => {
    stderr += part;
  });
  const status = await new Promise<number | null>((resolve) => child.on('close', resolve));
  return { status, stdout, stderr };
}

/** What went wrong, as the name of an assertion that fails. */
const failed = (stdout: string) =>
  stdout
    .split('\n')
    .filter((line) => line.startsWith('✗'))
    .join('; ') || 'it succeeds';

/** Processes whose command line names a folder: agents, BIRD, tcpdump, servers. */
function processesOf(folder: string): string[] {
  return readdirSync('/proc')
    .filter((pid) => /^\d+$/.test(pid) && pid !== `${process.pid}`)
    .flatMap((pid) => {
      try {
        const line = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
        return line.includes(folder) ? [line] : [];
      } catch {
        return [];
      }
    });
}

// Side by side: each waits most of its time.
t.jobs = 4;

t.test('vxlan: encapsulated, with its routes, neighbours and FDB', async (t) => {
  const { tmp, env } = place(t);
  const { status, stdout, stderr } = await demo(env, []);
  t.same({ status, stderr }, { status: 0, stderr: '' }, failed(stdout));
  t.notMatch(stdout, /✗/);
  t.match(stdout, /All 25 checks passed/);
  t.match(
    stdout,
    /✓ red1 reaches blue1, red2, blue2 as itself, the outside as host1 {2}ping and TCP, IPv4 and IPv6/,
  );
  t.match(stdout, /10\.244\.\d+\.0\/24 via 10\.244\.\d+\.0 dev weft\.\d+ proto \w+ onlink/);
  t.match(stdout, /lladdr ([0-9a-f:]{17}) PERMANENT[\s\S]*\1 dst 203\.0\.113\.12 self static/);
  t.match(stdout, /tunnel {2}VXLAN +VNI \d+\n {2}inner {3}Ethernet/);
  t.match(stdout, /IPv4 +10\.244\.\d+\.\d+ +10\.244\.\d+\.\d+ +ICMP, TTL 63, 84 bytes/);
  t.match(stdout, /red1 → red2 +[\d.]+ Gbit\/s +[\d.]+ +[\d.]+ ms/);
  t.notMatch(stdout, '\u001b', 'no colour without a terminal');
  t.same(readdirSync(tmp), [], 'the folder is gone');
  t.same(processesOf(tmp), []);
});

t.test('bgp, with three hosts', async (t) => {
  const { tmp, env } = place(t);
  const { status, stdout, stderr } = await demo(env, ['--backend', 'bgp', '--hosts', '3']);
  t.same({ status, stderr }, { status: 0, stderr: '' }, failed(stdout));
  t.match(stdout, /✓ host3 holds .* 4 BGP sessions established/);
  t.match(stdout, /10\.244\.\d+\.0\/24 via 203\.0\.113\.13 dev uplink proto bird metric 4794/);
  t.match(stdout, /host2:4 +BGP .* Established/);
  t.match(stdout, /not encapsulated: the wire sees the containers/);
  t.same(readdirSync(tmp), []);
  t.same(processesOf(tmp), []);
});

t.test('vxlan-l2, by etcd', async (t) => {
  const { tmp, env } = place(t);
  const { status, stdout, stderr } = await demo(env, ['--backend', 'vxlan-l2', '--registry', 'etcd']);
  t.same({ status, stderr }, { status: 0, stderr: '' }, failed(stdout));
  t.match(stdout, /weft agent --registry etcd:\/\/203\.0\.113\.1:2379/);
  t.match(stdout, /dst 203\.0\.113\.12 self static/);
  t.same(readdirSync(tmp), []);
  t.same(processesOf(tmp), []);
});

t.test('with --keep the hosts stay, with agents that answer, and one script takes all away', async (t) => {
  const { tmp, env } = place(t);
  const { status, stdout, stderr } = await demo(env, ['--backend', 'bgp', '--keep']);
  t.same({ status, stderr }, { status: 0, stderr: '' }, failed(stdout));
  const [folder = ''] = readdirSync(tmp).map((name) => join(tmp, name));
  const [, address = ''] = /✓ red2 on host2 has (\S+)/.exec(stdout) ?? [];
  await execIn(`${folder}/ns/red1`, 'ping', ['-n', '-c', '1', '-w', '5', address]);
  const source = `source ${folder}/host1/environment && ${WEFT} network show podnet`;
  t.match((await execIn(`${folder}/ns/host1`, 'bash', ['-c', source])).stdout, /host2 +.*203\.0\.113\.12/);
  const [remove = ''] = new RegExp(`${folder}/remove`).exec(stdout) ?? [];
  await execIn(`${folder}/ns/outside`, 'bash', ['-c', remove]);
  t.same(readdirSync(tmp), []);
  t.same(processesOf(tmp), []);
});

t.test('interrupted, it takes everything away', async (t) => {
  const { tmp, env } = place(t);
  for (const when of ['Agents:', 'Packets']) {
    let sent = false;
    const { status, stderr } = await demo(env, ['--backend', 'routed'], (all, kill) => {
      if (sent || !all.includes(when)) return;
      sent = true;
      kill('SIGTERM');
      // As timeout(1) does, and who is impatient.
      setTimeout(() => kill('SIGTERM'), 50);
    });
    t.same(status, 1, when);
    t.match(stderr, /interrupted by SIGTERM: the simulated hosts are taken away/);
    t.same(readdirSync(tmp), []);
    t.same(processesOf(tmp), []);
  }
});

t.test('what cannot be shown is told, and nothing is made', async (t) => {
  const { tmp, env } = place(t);
  const one = await demo(env, ['--hosts', '1']);
  t.equal(one.status, 2);
  t.match(one.stderr, /wanted a number of hosts from 2 to 20/);
  const bridge = join(import.meta.dirname, '../../examples/bridge.conflist');
  const other = await demo(env, [bridge]);
  t.equal(other.status, 1);
  t.match(
    other.stderr,
    /bridge\.conflist has no network between hosts: wanted a plugin of type vxlan or routed/,
  );
  t.same(readdirSync(tmp), []);
});

t.test('killed, it leaves what weft gc takes away; what was left standing stays', async (t) => {
  const { tmp, env } = place(t);
  const killed = await demo(env, ['--backend', 'routed'], (all, kill) => {
    if (all.includes('Packets')) kill('SIGKILL');
  });
  t.equal(killed.status, null);
  const [left] = readdirSync(tmp);
  t.not(processesOf(tmp).length, 0, 'agents outlive it');
  const standing = join(tmp, 'weft-demo-standing');
  mkdirSync(join(standing, 'ns'), { recursive: true });
  const { stdout } = await exec(WEFT, ['gc'], { env: { ...env, WEFT_RUN_DIR: join(tmp, 'run') } });
  t.equal(stdout, `removed ${tmp}/${left}`);
  t.same(
    readdirSync(tmp).filter((name) => name !== 'run'),
    ['weft-demo-standing'],
  );
  t.same(processesOf(tmp), []);
});
