/** Bundles as text: what the steps of a container are, and what is refused. */
import t from 'tap';
import { decodeSteps, encodeSteps, renderStep } from '../../../runtime/container/steps.ts';
import { faultsOf, type OciConfig } from '../../../runtime/oci/bundle.ts';
import { bundleSteps, furtherSteps, type Ground } from '../../../runtime/oci/bundle-steps.ts';

const ground = (more: Partial<Ground> = {}): Ground => ({
  ...{
    bundle: '/b',
    isFolder: (path: string) => !path.includes('.'),
    cgroups: [],
    cgroupFolders: ['/cg/pids/one'],
  },
  ...{ home: '/root', withheld: [], preserved: 0, state: '{}' },
  ...more,
});
const config = (more: Partial<OciConfig> = {}): OciConfig => ({
  ociVersion: '1.0.2',
  root: { path: 'rootfs' },
  process: { args: ['sh', '-c', 'true'], cwd: '/', env: ['PATH=/bin'] },
  linux: { namespaces: [{ type: 'mount' }, { type: 'pid' }] },
  ...more,
});
const linux = (more: OciConfig['linux']): OciConfig => config({ linux: { ...config().linux, ...more } });
const rendered = (one: OciConfig, on: Partial<Ground> = {}) => bundleSteps(one, ground(on)).map(renderStep);

t.test('the least that a bundle can say', async (t) => {
  t.same(
    rendered(config()).filter((line) => !/ \/dev/.test(line)),
    [
      'inherit',
      'alone',
      'gate start',
      'cgroup /cg/pids/one',
      'clone mnt pid',
      'await',
      'propagation / slave',
      'pivot /b/rootfs',
      'leave',
      'folder / 493',
      'session',
      'chdir /',
      'look sh /bin',
      'at-gate',
      'umask 18',
      'bound 0x0',
      'user 0 0 ""',
      'hold 0x0 0x0 0x0 0x0',
      'exec 3 sh -c true PATH=/bin HOME=/root',
    ],
  );
});

t.test('namespaces of others are joined, new ones are made', async (t) => {
  const namespaces = [
    { type: 'mount' },
    { type: 'network', path: '/run/netns/x' },
    { type: 'pid', path: '/proc/7/ns/pid' },
    { type: 'uts' },
    { type: 'cgroup' },
    { type: 'time' },
  ];
  const lines = rendered(config({ hostname: 'box', linux: { namespaces } }));
  t.ok(lines.indexOf('join net /run/netns/x') < lines.indexOf('clone mnt uts'));
  t.ok(lines.includes('join pid /proc/7/ns/pid'));
  t.ok(lines.indexOf('unshare time') < lines.indexOf('clone mnt uts'));
  t.ok(lines.indexOf('unshare cgroup') > lines.indexOf('clone mnt uts'), 'once it is in its groups');
  t.ok(lines.includes('hostname box'));
  t.notOk(lines.includes('link-up lo'), "somebody else's loopback is left alone");
  t.ok(rendered(linux({ namespaces: [{ type: 'mount' }, { type: 'network' }] })).includes('link-up lo'));
});

t.test(
  'a user namespace of others is joined last: without it there is power over the other ones',
  async (t) => {
    const namespaces = [
      { type: 'user', path: '/proc/7/ns/user' },
      { type: 'time', path: '/proc/7/ns/time' },
      { type: 'mount' },
    ];
    const lines = rendered(linux({ namespaces, uidMappings: [{ containerID: 0, hostID: 1, size: 1 }] }));
    const order = ['join time /proc/7/ns/time', 'join user /proc/7/ns/user', 'clone mnt', 'user 0 0 ""'];
    t.same(lines.filter((line) => order.includes(line)).slice(0, order.length), order);
    t.notOk(
      lines.some((line) => line.startsWith('uids')),
      'it has its ids already',
    );
    t.ok(
      lines.some((line) => line.startsWith('take 0 /dev/null')),
      "devices are the host's",
    );
  },
);

t.test('mounts', async (t) => {
  const mounts = [
    { destination: '/proc', type: 'proc', source: 'proc', options: ['nosuid', 'noexec', 'nodev'] },
    { destination: '/data', type: 'bind', source: '/srv', options: ['rbind', 'ro', 'rslave'] },
    { destination: '/etc/file', type: 'bind', source: 'a.txt', options: ['bind', 'rro', 'nosuid'] },
    {
      destination: '/scratch',
      type: 'tmpfs',
      source: 'tmpfs',
      options: ['ro', 'nodev', 'size=1m', 'mode=700'],
    },
    { destination: '/sys/fs/cgroup', type: 'cgroup', source: 'cgroup', options: ['ro', 'relatime'] },
  ];
  const cgroups = [{ folder: '/cg/cpu,cpuacct/one', name: 'cpu,cpuacct', version: 1 as const }];
  const lines = rendered(config({ mounts, root: { path: '/r', readonly: true } }), { cgroups });
  t.same(
    lines.filter((line) => /^(take|place|mount|remount|link cpu)/.test(line) && !/ \/dev/.test(line)),
    [
      'take 0 /srv ro,top,slave',
      'take 1 /b/a.txt ro,nosuid,flat',
      'take 2 /cg/cpu,cpuacct/one flat,ro',
      'mount proc /proc proc nosuid,noexec,nodev ""',
      'place 0 /data',
      'place 1 /etc/file',
      'mount tmpfs /scratch tmpfs nodev size=1m,mode=700',
      'mount tmpfs /sys/fs/cgroup tmpfs nosuid,nodev,noexec mode=755',
      'place 2 /sys/fs/cgroup/cpu,cpuacct',
      'link cpu,cpuacct /sys/fs/cgroup/cpu',
      'link cpu,cpuacct /sys/fs/cgroup/cpuacct',
      'remount /scratch ro',
      'remount /sys/fs/cgroup ro',
      'remount / ro',
    ],
  );
  t.ok(lines.indexOf('leave') < lines.indexOf('place 0 /data'), 'the host is left before anything is placed');
  t.ok(lines.includes('file /etc/file'));
  t.ok(lines.includes('folder /data 493'));
  const ofHost = [{ destination: '/dev', type: 'bind', source: '/dev', options: ['rbind'] }];
  t.notOk(
    rendered(config({ mounts: ofHost })).some((line) => line.startsWith('device ')),
    "the host's devices",
  );
});

t.test('a user namespace', async (t) => {
  const mapping = [{ containerID: 0, hostID: 1000, size: 10 }];
  const mounts = [
    { destination: '/data', type: 'bind', source: '/srv', options: ['bind'] },
    { destination: '/proc', type: 'proc', source: 'proc' },
  ];
  const namespaces = [{ type: 'mount' }, { type: 'user' }, { type: 'pid' }];
  const lines = rendered(
    config({ mounts, linux: { namespaces, uidMappings: mapping, gidMappings: mapping } }),
  );
  t.ok(lines.includes('uids "0 1000 10"') && lines.includes('gids "0 1000 10"'));
  t.ok(lines.includes('clone user mnt pid'));
  t.ok(
    lines.indexOf('leave') > lines.indexOf('mount proc /proc proc "" ""'),
    'the kernel wants to see a proc',
  );
  t.ok(lines.includes('take 1 /dev/null flat'), 'devices are shown, not made');
  t.throws(() => rendered(config({ linux: { namespaces } })), { message: /uidMappings/ });
  t.throws(() => rendered(linux({ uidMappings: mapping })), { message: /want a user namespace/ });
});

t.test('what a process may', async (t) => {
  const process = {
    ...{ args: ['id'], cwd: '/w', user: { uid: 7, gid: 8, umask: 0o77, additionalGids: [9, 10] } },
    ...{ oomScoreAdj: 5, noNewPrivileges: true, apparmorProfile: 'p' },
    capabilities: { bounding: ['CAP_CHOWN', 'CAP_KILL', 'CAP_OF_TOMORROW'], ambient: ['CAP_CHOWN'] },
    rlimits: [
      { type: 'RLIMIT_NOFILE', soft: 5, hard: 6 },
      { type: 'RLIMIT_CORE', soft: 0, hard: 2 ** 64 },
    ],
  };
  const filter = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8);
  const lines = rendered(config({ process }), { filter });
  t.same(lines.slice(lines.indexOf('at-gate') - 4), [
    'limit 7 5 6',
    'limit 4 0 18446744073709551615',
    'chdir /w',
    'look id',
    'at-gate',
    'umask 63',
    'write /proc/self/attr/exec "exec p"',
    'bound 0x21',
    'user 7 8 9,10',
    'hold 0x0 0x0 0x0 0x1',
    'no-new-privileges',
    'filter "<8 bytes>"'.replaceAll('"', ''),
    'exec 1 id HOME=/root',
  ]);
  t.ok(lines.includes('streams 7'));
  t.ok(lines.includes('write /proc/self/oom_score_adj 5'));
  const free = rendered(config({ process: { ...process, noNewPrivileges: false } }), { filter });
  t.ok(free.indexOf('filter <8 bytes>') < free.indexOf('bound 0x21'), 'while it has the power to');
  t.ok(rendered(config({ process }), { withheld: ['CAP_KILL'] }).includes('bound 0x1'));
  t.throws(
    () => rendered(config({ process: { ...process, rlimits: [{ type: 'RLIMIT_X', soft: 1, hard: 1 }] } })),
    {
      message: /RLIMIT_X/,
    },
  );
});

t.test('a terminal', async (t) => {
  const process = { args: ['sh'], cwd: '/', terminal: true, consoleSize: { height: 30, width: 90 } };
  const lines = rendered(config({ process }), { consoleSocket: '/s' });
  t.same(lines.slice(0, 4), ['on-terminal', 'console /s', 'alone', 'gate start']);
  t.ok(lines.includes('terminal 30 90 0'));
  t.ok(lines.includes('mount /dev/pts/0 /dev/console "" bind ""'));
  t.throws(() => rendered(config({ process })), { message: /--console-socket/ });
  t.throws(() => rendered(config(), { consoleSocket: '/s' }), { message: /terminal is not set/ });
});

t.test('kernel parameters, hidden files, propagation, devices', async (t) => {
  const namespaces = [{ type: 'mount' }, { type: 'network' }, { type: 'ipc' }];
  const lines = rendered(
    linux({
      namespaces,
      sysctl: { 'net.ipv4.ip_forward': '1', 'kernel.shmmax': '9', 'net/ipv4/conf/eth0.5/rp_filter': '0' },
      maskedPaths: ['/proc/kcore'],
      readonlyPaths: ['/proc/sys'],
      rootfsPropagation: 'rshared',
      devices: [{ path: '/dev/fuse', type: 'c', major: 10, minor: 229, fileMode: 0o600, uid: 1, gid: 2 }],
    }),
  );
  t.ok(lines.includes('write /proc/sys/net/ipv4/ip_forward 1'));
  t.ok(lines.includes('write /proc/sys/net/ipv4/conf/eth0.5/rp_filter 0'));
  t.ok(lines.indexOf('write /proc/sys/kernel/shmmax 9') < lines.indexOf('readonly /proc/sys'));
  t.ok(lines.includes('mask /proc/kcore') && lines.includes('propagation / shared'));
  t.ok(lines.includes('device /dev/fuse c 10 229 384') && lines.includes('own /dev/fuse 1 2'));
  for (const [name, words] of [
    ['kernel.panic', /belongs to no namespace/],
    ['kernel.hostname', /no uts namespace/],
    ['net/../kernel/panic', /no name/],
  ] as const)
    t.throws(() => rendered(linux({ namespaces, sysctl: { [name]: '1' } })), { message: words }, name);
});

t.test('hooks stand where the specification has them', async (t) => {
  const hook = (path: string) => [{ path, args: ['name', 'one'], env: ['A=b'], timeout: 3 }];
  const hooks = { createContainer: hook('/in'), startContainer: hook('/at'), prestart: hook('/outside') };
  const lines = rendered(config({ hooks }));
  t.ok(lines.indexOf('hook 3 "{}" 3 /in name one A=b') < lines.indexOf('pivot /b/rootfs'));
  t.equal(lines[lines.indexOf('at-gate') + 1], 'hook 3 "{}" 3 /at name one A=b');
  t.notOk(
    lines.some((line) => line.includes('/outside')),
    'not inside',
  );
});

t.test('a further process', async (t) => {
  const asked = { args: ['id'], cwd: '/' };
  const on = { ...ground(), detached: true };
  const lines = furtherSteps(asked, [['process', 5], ['clone'], ['enter', 'mnt']], on).map(renderStep);
  t.same(lines.slice(0, 7), [
    ...['inherit', 'alone', 'cgroup /cg/pids/one', 'process 5', 'clone', 'enter mnt', 'await'],
  ]);
  t.notOk(furtherSteps(asked, [], { ...on, detached: false }).some(([name]) => name === 'alone'));
});

t.test('what cannot be kept is refused', async (t) => {
  const refused: [OciConfig, RegExp][] = [
    [{ ...config(), ociVersion: '2.0.0' }, /ociVersion is "2.0.0"/],
    [config({ process: { args: [], cwd: 'x' } }), /args is empty; the process.s cwd is "x"/],
    [config({ process: { args: ['a'], cwd: '/', selinuxLabel: 's' } }), /selinuxLabel/],
    [linux({ intelRdt: {} }), /intelRdt/],
    [linux({ resources: { hugepageLimits: [{}] } }), /hugepageLimits/],
    [linux({ seccomp: { defaultAction: 'SCMP_ACT_ALLOW', listenerPath: '/s' } }), /listenerPath/],
    [config({ mounts: [{ destination: 'x' }] }), /absolute destination/],
    [config({ mounts: [{ destination: '/x', uidMappings: [] }] }), /id mapping/],
  ];
  t.same(faultsOf(config()), []);
  for (const [one, words] of refused) t.match(faultsOf(one).join('; '), words);
  const thrown: [OciConfig, RegExp][] = [
    [linux({ namespaces: [{ type: 'pid' }] }), /wants a mount namespace/],
    [linux({ namespaces: [{ type: 'mount', path: '/x' }] }), /not joined \(\/x\)/],
    [linux({ namespaces: [{ type: 'mount' }, { type: 'mount' }] }), /twice/],
    [linux({ namespaces: [{ type: 'mount' }, { type: 'moon' }] }), /"moon"/],
    [config({ hostname: 'h' }), /uts namespace/],
    [config({ mounts: [{ destination: '/x', type: 'tmpfs', options: ['idmap'] }] }), /idmap: not supported/],
    [linux({ rootfsPropagation: 'unbindable' }), /rootfsPropagation/],
    [linux({ devices: [{ path: '/dev/x', type: 'q' }] }), /unknown type "q"/],
  ];
  for (const [one, words] of thrown) t.throws(() => rendered(one), { message: words });
});

t.test('a list of steps is read again as it was written', async (t) => {
  const steps = bundleSteps(config(), ground());
  t.same(decodeSteps(encodeSteps(steps)).map(renderStep), steps.map(renderStep));
});
