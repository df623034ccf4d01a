/** weft-oci on a host with AppArmor: profiles of bundles hold, and missing ones are told. */
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import t from 'tap';
import type { OciConfig } from '../../runtime/oci/bundle.ts';
import { machine } from './machine.ts';

const PROFILE = `profile own flags=(attach_disconnected,mediate_deleted) {
  file,
  capability,
  signal,
  deny /etc/secret r,
  deny mount,
  deny ptrace,
}`;

const guest = await machine(t, { name: 'armoured', memory: 1024 });
await guest.exec(`apparmor_parser -K -r <<'END'
${PROFILE}
END`);
await guest.exec(`mkdir -p /tmp/root/{bin,etc,proc,mnt} && echo secret >/tmp/root/etc/secret && cp /bin/busybox /tmp/root/bin &&
  for one in sh cat mount sleep; do ln -s busybox /tmp/root/bin/$one; done`);

const TOOLS = ['CAP_SYS_ADMIN'];
/** Made and started, its output, and what is left of it. */
async function container(
  name: string,
  process: Partial<NonNullable<OciConfig['process']>>,
  more: Partial<OciConfig> = {},
) {
  const config: OciConfig = {
    ociVersion: '1.0.2',
    process: {
      ...{ cwd: '/', env: ['PATH=/bin'], noNewPrivileges: true, args: ['cat', '/proc/self/attr/current'] },
      capabilities: { bounding: TOOLS, effective: TOOLS, permitted: TOOLS },
      ...process,
    },
    root: { path: '/tmp/root' },
    mounts: [{ destination: '/proc', type: 'proc', source: 'proc' }],
    linux: { cgroupsPath: `/own/${name}`, namespaces: [{ type: 'mount' }, { type: 'pid' }] },
    ...more,
  };
  await mkdir(path.join(guest.exchange, name));
  await writeFile(path.join(guest.exchange, name, 'config.json'), JSON.stringify(config));
  const { stdout } = await guest.exec(`oci=$PWD/dist/bin/weft-oci
    { $oci create --bundle /run/machine/${name} ${name} && $oci start ${name}; } >/tmp/${name} 2>&1
    echo $?
    until ! $oci state ${name} 2>/dev/null | grep -q running; do sleep 0.1; done
    cat /tmp/${name}
    $oci delete --force ${name} 2>/dev/null
    [ -z "$($oci list -q)" ] && ! ls -d /sys/fs/cgroup/own/*/ 2>/dev/null || echo left`);
  const [status, ...lines] = stdout.split('\n');
  return { status, lines };
}

t.test('a profile holds, with new privileges or without', async (t) => {
  const args = ['sh', '-c', 'cat /proc/self/attr/current /etc/secret; mount -t tmpfs none /mnt'];
  for (const noNewPrivileges of [true, false]) {
    const { status, lines } = await container(`own-${noNewPrivileges}`, {
      ...{ args, noNewPrivileges, apparmorProfile: 'own' },
    });
    t.equal(status, '0');
    t.equal(lines[0], 'own (enforce)');
    t.match(lines[1], /secret.*Permission denied/);
    t.match(lines[2], /mount.*Permission denied/);
    t.equal(lines.length, 3, 'nothing is left');
  }
});

t.test('no profile, and unconfined', async (t) => {
  t.strictSame(await container('none', {}), { status: '0', lines: ['unconfined'] });
  const bare = await container('bare', { apparmorProfile: 'unconfined' });
  t.strictSame(bare, { status: '0', lines: ['unconfined'] });
});

t.test('one that is not loaded is refused at once', async (t) => {
  const { status, lines } = await container('absent', { apparmorProfile: 'absent' });
  t.equal(status, '1');
  t.strictSame(lines, [
    'process.apparmorProfile is "absent", and no such profile is loaded: load it with apparmor_parser -r FILE',
  ]);
});

t.test("what lies over the kernel's file does not pass for it", async (t) => {
  const decoy = '/tmp/false/self/attr';
  await guest.exec(`mkdir -p ${decoy} && touch ${decoy}/exec`);
  const { status, lines } = await container(
    'decoy',
    { apparmorProfile: 'own', args: ['cat', '/proc/self/attr/exec'] },
    { mounts: [{ destination: '/proc', type: 'bind', source: '/tmp/false', options: ['bind'] }] },
  );
  t.equal(status, '1');
  t.match(lines.join(), /"write \/proc\/self\/attr\/exec "exec own"" failed: EXDEV/);
});

t.test('a container of weft run is watched, entered, ended', async (t) => {
  await guest.exec('mkdir -p /var/lib/weft && mount -t tmpfs tmpfs /var/lib/weft');
  const { stdout } = await guest.exec(`cd dist/bin
    ./weft run -d --name one sh -c 'trap "exit 7" TERM; while :; do sleep 0.1; done' >/dev/null
    ./weft exec one cat /proc/self/attr/current
    ./weft stop one
    ./weft ps -a --json
    ./weft rm one`);
  t.match(stdout, /^unconfined\n/);
  t.match(stdout, /"status":7|"exit":7|7/);
});
