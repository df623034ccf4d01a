/** Containers from images that other programs made, and with the limits that lxcfs shows. */
import { copyFileSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { until } from '../support/until.ts';
import { containerLab } from './container-lab.ts';

const { host, weft } = await containerLab(t);

t.test('an image made by umoci', async (t) => {
  const layout = join(host.root, 'img');
  const bundle = join(host.root, 'bundle');
  const umoci = (...args: string[]) => host.exec('umoci', args);
  const image = `${layout}:one`;
  await umoci('init', '--layout', layout);
  await umoci('new', '--image', image);
  await umoci('unpack', '--image', image, bundle);
  const root = join(bundle, 'rootfs');
  for (const folder of ['bin', 'etc', 'tmp', 'old']) mkdirSync(join(root, folder));
  copyFileSync('/bin/busybox', join(root, 'bin/busybox'));
  for (const applet of ['sh', 'ls', 'id', 'cat', 'pwd', 'env'])
    symlinkSync('busybox', join(root, 'bin', applet));
  writeFileSync(join(root, 'etc/passwd'), 'root:x:0:0:root:/:/bin/sh\nweb:x:1000:1000::/home:/bin/sh\n');
  writeFileSync(join(root, 'old/file'), 'old');
  await umoci('repack', '--image', image, bundle);
  await host.exec('rm', ['-r', join(root, 'old')]);
  writeFileSync(join(root, 'etc/added'), 'second layer');
  await umoci('repack', '--image', image, bundle);
  const settings = [
    '--config.user',
    'web',
    '--config.workingdir',
    '/tmp',
    '--config.env',
    'FROM=image',
    '--config.cmd',
    'id',
  ];
  await umoci('config', '--image', image, ...settings);

  t.match(await weft(['run', '--rm', '--image', image]), { status: 0, stdout: 'uid=1000(web) gid=1000' });
  const script = 'pwd; echo $FROM $HOME; ls /; cat /etc/added';
  const { stdout } = await weft(['run', '--rm', '--image', image, 'sh', '-c', script]);
  t.same(stdout.split('\n'), [
    '/tmp',
    'image /home',
    'bin',
    'dev',
    'etc',
    'proc',
    'sys',
    'tmp',
    'second layer',
  ]);
  t.match(await weft(['run', '--rm', '--image', image, '-u', 'root', 'id', '-u']), { stdout: '0' });
  const own = ['run', '--rm', '--image', image, '--entrypoint', 'id'];
  t.match(
    await weft(own),
    { status: 0, stdout: 'uid=1000(web) gid=1000' },
    "an entry point of one's own wants no command of the image",
  );
  t.match(await weft([...own, '--', '-u']), { status: 0, stdout: '1000' });
  t.match(await weft(['run', '--image', `${layout}:two`, 'id']), {
    status: 1,
    stderr: /no image "two" in .*: there are one/,
  });
});

t.test('limits that a container sees in /proc', async (t) => {
  await host.exec('mkdir', ['-p', '/var/lib/lxcfs']);
  await host.daemon('lxcfs', 'lxcfs', ['-f', '/var/lib/lxcfs']);
  await until(
    'lxcfs serves',
    async () => (await host.exec('cat', ['/var/lib/lxcfs/proc/meminfo'])).status === 0,
  );
  const { stdout } = await weft([
    'run',
    '--rm',
    '--memory',
    '64m',
    '--cpuset',
    '0',
    'sh',
    '-c',
    'grep MemTotal /proc/meminfo; grep -c ^processor /proc/cpuinfo',
  ]);
  t.match(stdout, /^MemTotal: +65536 kB\n1$/);
});

t.test('an image that links to the host does not reach it', async (t) => {
  const root = join(host.root, 'links');
  const outside = join(host.root, 'outside');
  for (const folder of [join(root, 'bin'), outside]) mkdirSync(folder, { recursive: true });
  copyFileSync('/bin/busybox', join(root, 'bin/true'));
  writeFileSync(join(host.root, 'shown'), 'shown');
  // By the working folder of whoever makes the container, and by climbing.
  for (const [name, target] of [
    ['data', `/proc/self/cwd${outside}`],
    ['up', `../../../../../..${outside}`],
    ['etc', `/proc/self/cwd${outside}`],
  ] as const)
    symlinkSync(target, join(root, name));
  const mounts = ['data/x', 'up/x'].flatMap((name) => ['-v', `${join(host.root, 'shown')}:/${name}`]);
  await weft(['run', '--rm', '--rootfs', root, ...mounts, '/bin/true']);
  t.same(readdirSync(outside), []);
});
