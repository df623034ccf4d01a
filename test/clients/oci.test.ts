/** weft-oci in runc's place: containerd and Podman run their containers by it. */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { bridgeConflist, installConflist } from '../support/conflist.ts';
import { cachedResults, leases, makeHost, ping } from '../support/host.ts';
import { IMAGE } from '../support/image.ts';
import { fillBin, pluginsUnderTest, weftIsMissing } from '../support/plugins.ts';
import { until } from '../support/until.ts';
import { startContainerd } from './containerd.ts';
import { connectCri } from './cri.ts';
import { setUpPodman } from './podman.ts';

const skip = await weftIsMissing();
const RUNTIME = join(pluginsUnderTest(), 'weft-oci');
const UNTIL_TOLD = ['sh', '-c', 'echo hello; trap "echo bye; exit 7" TERM; while :; do sleep 0.1; done'];

/** The folders of control groups that are left below the host's, in every hierarchy. */
async function groups(name: string): Promise<string[]> {
  const base = '/sys/fs/cgroup';
  const found = (await readdir(base)).map(async (hierarchy) =>
    (await readdir(join(base, hierarchy, name), { withFileTypes: true }).catch(() => []))
      .filter((entry) => entry.isDirectory() && entry.name !== 'conmon')
      .map((entry) => join(hierarchy, entry.name)),
  );
  return (await Promise.all(found)).flat();
}

t.test('Podman', { skip }, async (t) => {
  const host = await makeHost(t);
  await fillBin(host);
  const { podman: plain, inspect } = await setUpPodman(t, host);
  const podman = (...args: string[]) => plain('--runtime', RUNTIME, ...args);
  const group = ['--cgroup-parent', `/${host.name}`];
  await podman('network', 'create', '--disable-dns', '--subnet', '10.79.0.0/24', 'blue');
  const limits = ['--memory', '64m', '--pids-limit', '50', '--cpus', '0.5'];
  await podman(
    'run',
    '--detach',
    '--name',
    'one',
    '--network',
    'blue',
    ...group,
    ...limits,
    IMAGE,
    ...UNTIL_TOLD,
  );

  await t.test('a container runs, within its limits, on its network', async (t) => {
    t.match(await inspect('container', 'one'), { OCIRuntime: RUNTIME, State: { Status: 'running' } });
    t.ok(await ping(host.netns, '10.79.0.2'));
    await until('it has spoken', async () => (await podman('logs', 'one')) === 'hello');
    const seen = await podman('exec', 'one', 'cat', '/proc/1/limits', '/proc/1/status', '/proc/self/cgroup');
    t.match(seen, /^Seccomp:\t2$/m);
    t.match(seen, /^CapBnd:\t0+a80425fb$/m, "Podman's capabilities, no more");
    t.match(seen, new RegExp(`memory:/${host.name}/libpod-`), 'a further process is in its groups');
    const inside = await podman('exec', 'one', 'cat', '/proc/self/mountinfo', '/proc/mounts');
    t.notMatch(inside, /\/old|weft-t-.*\/overlay\/upper\/etc /, 'nothing of the host');
  });

  await t.test('further commands: their status, their user, their terminal', async (t) => {
    const user = await podman('exec', '--user', '1000', 'one', 'cat', '/proc/self/status');
    t.match(user, /^Uid:\t1000\t1000\t1000\t1000$/m);
    t.match(user, /^CapEff:\t0+$/m);
    t.match(await podman('exec', '--tty', 'one', 'sh', '-c', 'test -t 0 && test -t 1 && echo yes'), /yes/);
    await t.rejects(podman('exec', 'one', 'sh', '-c', 'exit 9'), { message: /exit code 9/ });
    await t.rejects(podman('exec', 'one', 'nosuch'), { message: /exit code 127/ });
  });

  await t.test('paused, resumed, stopped by its signal, removed', async (t) => {
    await podman('pause', 'one');
    t.match(await inspect('container', 'one'), { State: { Status: 'paused' } });
    await podman('unpause', 'one');
    await podman('stop', 'one');
    t.match(await inspect('container', 'one'), { State: { Status: 'exited', ExitCode: 7 } });
    t.match(await podman('logs', 'one'), /^hello\s+bye$/);
    await podman('rm', 'one');
    t.strictSame(await leases(host), []);
    t.strictSame(await cachedResults(host), []);
    t.strictSame(await groups(host.name), []);
  });

  await t.test('other shapes', async (t) => {
    const run = (...args: string[]) => podman('run', '--rm', '--network', 'none', ...group, ...args);
    await t.rejects(run(IMAGE, 'nosuch'), { message: /exit code 127/ });
    await t.rejects(run(IMAGE, '/etc/passwd'), { message: /exit code 126/ });
    const console = await run('--tty', IMAGE, 'sh', '-c', 'ls -l /dev/console; echo done >/dev/tty');
    t.match(console, /136, +0 .*\/dev\/console\s+done/);
    const mapped = ['--uidmap', '0:100000:65536', '--gidmap', '0:100000:65536'];
    t.match(await run(...mapped, IMAGE, 'cat', '/proc/self/uid_map'), /0 +100000 +65536/);
    const script = 'touch /x || touch /scratch/x && echo spoken >/dev/stdout';
    const narrow = await run(
      '--user',
      '1000',
      '--read-only',
      '--tmpfs',
      '/scratch',
      IMAGE,
      'sh',
      '-c',
      script,
    );
    t.equal(narrow, 'spoken', 'who is not root has the streams, too');
    t.strictSame(await groups(host.name), []);
  });

  await t.test('a pod whose containers share a user namespace', async (t) => {
    const infra = ['--infra-image', IMAGE, '--infra-command', '/bin/sleep 1000'];
    const mapped = ['--uidmap', '0:100000:65536', '--gidmap', '0:100000:65536'];
    await podman('pod', 'create', '--name', 'pod', '--network', 'none', ...group, ...mapped, ...infra);
    const script = 'cat /proc/self/uid_map; touch /x && echo written';
    t.match(
      await podman('run', '--rm', '--pod', 'pod', IMAGE, 'sh', '-c', script),
      /0 +100000 +65536\s+written/,
    );
    await podman('pod', 'rm', '--force', '--time', '0', 'pod');
  });
});

t.test('containerd', { skip }, async (t) => {
  const host = await makeHost(t);
  await fillBin(host);
  await installConflist(host, bridgeConflist());
  const { address, ctr } = await startContainerd(host, 'k8s.io', RUNTIME);

  await t.test('ctr', async (t) => {
    const run = (name: string, ...command: string[]) =>
      ctr([
        'run',
        '--rm',
        '--runc-binary',
        RUNTIME,
        '--cgroup',
        `/${host.name}/${name}`,
        IMAGE,
        name,
        ...command,
      ]);
    t.match(await run('one', 'cat', '/proc/self/cgroup'), new RegExp(`pids:/${host.name}/one`));
    await t.rejects(run('two', 'sh', '-c', 'exit 4'), { message: /exit code 4/ });
    await t.rejects(run('three', 'nosuch'), {
      message: /OCI runtime create failed: exec: "nosuch": executable file not found in \$PATH/,
    });
    t.strictSame(await groups(host.name), [], 'nothing is left of them');
  });

  await t.test('a pod with a container, as Kubernetes runs one', async (t) => {
    const cri = await connectCri(t, host, address);
    await until('the runtime finds its network ready', async () => (await cri.networkFault()) === undefined);
    const pod = await cri.run('web');
    t.ok(await ping(host.netns, pod.addresses[0] ?? ''));
    const container = await cri.start(pod.id, 'main', UNTIL_TOLD);
    const shown = await cri.exec(container, ['ip', '-o', 'addr', 'show', 'eth0']);
    t.match(shown, { status: 0 });
    t.ok(shown.stdout.includes(` ${pod.addresses[0]}/`), "it has its pod's network");
    t.match(await cri.exec(container, ['sh', '-c', 'exit 3']), { status: 3 });
    await cri.removeContainer(container);
    await cri.stop(pod.id);
    await cri.remove(pod.id);
    t.strictSame(await leases(host), []);
    t.strictSame(await groups(host.name), []);
  });

  const { stdout } = await host.exec('sh', ['-c', 'find /run -name state.json']);
  t.equal(stdout, '', 'no state is left');
});
