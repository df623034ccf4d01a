/** Hosts on which nothing can be done: no rights, no room, no programs, files where folders should be. */
import t from 'tap';
import { writeMembership } from '../../ipam/cluster/membership.ts';
import { pluginsUnderTest } from '../support/plugins.ts';
import { BRIDGE, FIXED, GOOD, HELD, LEASES, LOOPBACK, PTP } from './configurations.ts';
import { makePlace, type Place, problems } from './place.ts';
import { type Row, refuseAll, shown } from './table.ts';

const SETPRIV = '/usr/bin/setpriv';
const NOBODY = [SETPRIV, '--reuid=65534', '--regid=65534', '--clear-groups'];
const NO_CAPABILITY = [SETPRIV, '--bounding-set=-all', '--inh-caps=-all'];
const NO_NET_ADMIN = [SETPRIV, '--bounding-set=-net_admin'];
const ROOT = /run as root \(CAP_(NET|SYS)_ADMIN is needed\)/;

t.test('without the rights', async (t) => {
  const place = await makePlace(t);
  const unprivileged = (name: string, by: readonly string[]): Row[] =>
    [BRIDGE, PTP, LOOPBACK].map(
      (input): Row => ({
        name,
        plugin: input.type,
        input,
        by,
        code: 100,
        says: ROOT,
        // loopback has nothing to take back.
        del: input.type === 'loopback' ? undefined : 100,
        late: true,
      }),
    );
  await refuseAll(
    t,
    [
      ...unprivileged('nobody', NOBODY),
      ...unprivileged('root without capabilities', NO_CAPABILITY),
      ...unprivileged('root without CAP_NET_ADMIN', NO_NET_ADMIN),
      {
        name: 'nobody',
        plugin: 'host-local',
        input: LEASES,
        by: NOBODY,
        code: 5,
        says: /leases in .*networks\/bad cannot be read or written: EACCES/,
        del: 5,
      },
      {
        name: 'STATUS by nobody',
        plugin: 'bridge',
        command: 'STATUS',
        input: BRIDGE,
        by: NOBODY,
        code: 50,
        says: /no ADD can succeed: run as root \(CAP_NET_ADMIN and CAP_SYS_ADMIN needed\)/,
        del: 100,
      },
    ],
    place,
  );
  const fixed = await place.call({ plugin: 'static', input: FIXED, by: NOBODY });
  t.equal(fixed.status, 0, 'static needs no rights');
});

/** host-local, in the bridge's process and as a program. */
const leasing = (row: Omit<Row, 'plugin' | 'input'>, ipam: object = {}): Row[] => [
  { ...row, plugin: 'bridge', input: { ...BRIDGE, ipam: { ...BRIDGE.ipam, ...ipam } } },
  { ...row, plugin: 'host-local', input: { ...LEASES, ipam: { ...LEASES.ipam, ...ipam } } },
];

const data = ({ host }: Place) => host.dirs.data;
const IO = /leases in .* cannot be read or written: /;

t.test('the folder of the leases', async (t) => {
  const place = await makePlace(t);
  await refuseAll(
    t,
    [
      ...leasing({
        name: 'is read-only',
        before: (place) =>
          `mount --bind '${data(place)}' '${data(place)}'; mount -o remount,ro,bind '${data(place)}'`,
        after: (place) => `umount '${data(place)}'`,
        code: 5,
        says: [IO, /EROFS/],
      }),
      ...leasing({
        name: 'is read-only, with leases',
        before: (place) =>
          `mkdir -p '${data(place)}/bad'; touch '${data(place)}/bad/lock'; mount --bind '${data(place)}' '${data(place)}'; mount -o remount,ro,bind '${data(place)}'`,
        after: (place) => `umount '${data(place)}'; rm -r '${data(place)}/bad'`,
        code: 5,
        del: 5,
        says: [IO, /EROFS/],
      }),
      ...leasing(
        { name: 'is a file', code: 5, says: [/leases in \/etc\/passwd\/bad/, /ENOTDIR/] },
        { dataDir: '/etc/passwd' },
      ),
      ...leasing(
        { name: 'cannot exist', code: 5, says: [/leases in \/proc\/none\/bad/, /ENOENT/] },
        { dataDir: '/proc/none' },
      ),
      ...leasing(
        {
          name: 'is no path',
          code: 7,
          says: /ipam\.dataDir: found "a\\u0000b", wanted a path without zero byte/,
        },
        { dataDir: 'a\0b' },
      ),
      ...leasing({
        name: 'has a file in the place of the network',
        before: (place) => `echo x >'${data(place)}/bad'`,
        after: (place) => `rm '${data(place)}/bad'`,
        code: 5,
        del: 5,
        says: [IO, /EEXIST|ENOTDIR/],
      }),
      ...(['mkdir', 'mkfifo', 'ln -s /dev/null'] as const).flatMap((make): Row[] =>
        leasing({
          name: `has something else in the place of the lock (${make})`,
          before: (place) => `mkdir '${data(place)}/bad'; ${make} '${data(place)}/bad/lock'`,
          after: (place) => `rm -r '${data(place)}/bad'`,
          code: 5,
          del: 5,
          says: IO,
        }),
      ),
      ...leasing({
        name: 'has no room',
        before: (place) =>
          `mount -t tmpfs -o size=8k,nr_inodes=2 tmpfs '${data(place)}'; mkdir '${data(place)}/bad'`,
        after: (place) => `umount '${data(place)}'`,
        code: 5,
        del: 5,
        says: [IO, /ENOSPC/],
      }),
      ...leasing({
        name: 'has room for the lock only',
        before: (place) =>
          `mount -t tmpfs -o size=64k,nr_inodes=3 tmpfs '${data(place)}'; mkdir '${data(place)}/bad'`,
        after: (place) => `umount '${data(place)}'`,
        code: 5,
        says: [IO, /ENOSPC/],
        late: true,
      }),
      ...leasing({
        name: 'has no room for text',
        before: (place) =>
          `mount -t tmpfs -o size=4k tmpfs '${data(place)}'; mkdir '${data(place)}/bad'; head -c 4096 /dev/zero >'${data(place)}/bad/filled'`,
        after: (place) => `umount '${data(place)}'`,
        code: 5,
        says: [IO, /ENOSPC/],
        late: true,
      }),
    ],
    place,
  );
});

t.test('debris in the folder of the leases keeps nobody waiting', async (t) => {
  const place = await makePlace(t);
  const folder = `${data(place)}/bad`;
  const debris: [what: string, make: string][] = [
    ['a FIFO for a lease', `mkfifo ${folder}/10.1.0.2 ${folder}/10.1.0.9`],
    ['a folder for a lease', `mkdir ${folder}/10.1.0.2`],
    ['a link to nowhere for a lease', `ln -s nowhere ${folder}/10.1.0.2`],
    ['an endless lease', `ln -s /dev/zero ${folder}/10.1.0.2`],
    ['a FIFO for the last address', `mkfifo ${folder}/last_reserved_ip.0`],
    ['a folder for the last address', `mkdir ${folder}/last_reserved_ip.0`],
    ['an endless last address', `ln -s /dev/zero ${folder}/last_reserved_ip.0`],
    ['a long last address', `head -c 3000000 /dev/zero >${folder}/last_reserved_ip.0`],
    ['a FIFO for what is written first', `mkfifo ${folder}/.weft-lease`],
    ['a folder for what is written first', `mkdir ${folder}/.weft-lease`],
    ['a long lease', `head -c 3000000 /dev/zero >${folder}/10.1.0.2`],
    ['half a lease', `printf '\\0\\0' >${folder}/10.1.0.2`],
  ];
  for (const [what, make] of debris) {
    await place.sh(`rm -rf '${folder}'; mkdir '${folder}'; ${make}`);
    for (const [plugin, input] of Object.entries({ bridge: BRIDGE, 'host-local': LEASES })) {
      const add = await place.call({ plugin, input });
      if (add.status !== 0)
        t.same([...problems(add), add.json?.code], [5], `${what}: ${plugin}`, { answer: shown(add) });
      const del = await place.call({ plugin, input, command: 'DEL' });
      t.equal(del.status, 0, `${what}: DEL by ${plugin}`, { answer: shown(del) });
    }
  }
});

t.test('names that are too long for a file', async (t) => {
  const place = await makePlace(t);
  const name = 'n'.repeat(300);
  await refuseAll(
    t,
    [BRIDGE, PTP, LEASES].flatMap((conf, i): Row[] => [
      {
        name: 'network',
        plugin: i === 2 ? 'host-local' : conf.type,
        input: { ...conf, name },
        code: 7,
        del: 7,
        says: /name: found "n+\.\.\., wanted /,
      },
    ]),
    place,
  );
  for (const input of [BRIDGE, PTP, LOOPBACK, LEASES, FIXED]) {
    const plugin = input === LEASES ? 'host-local' : input === FIXED ? 'static' : input.type;
    const env = { CNI_CONTAINERID: 'c'.repeat(500) };
    const add = await place.call({ plugin, input, env });
    if (add.status !== 0)
      t.same(problems(add), [], `${plugin}: a container id of 500 characters`, { answer: shown(add) });
    const del = await place.call({ plugin, input, env, command: 'DEL' });
    t.same(shown(del), { status: 0, stdout: '', stderr: '' }, `${plugin}: and its DEL`);
  }
});

const MASQUERADE = { ipMasq: true };

t.test('no nft and no iptables', async (t) => {
  const place = await makePlace(t);
  // An overlay over the folders of programs, in which these are not.
  const { root } = place.host;
  await place.sh(
    `for dir in /usr/sbin /usr/local/sbin; do mkdir -p "${root}/overlay/up$dir" "${root}/overlay/wd$dir"; mount -t overlay overlay -o "lowerdir=$dir,upperdir=${root}/overlay/up$dir,workdir=${root}/overlay/wd$dir" $dir; done; rm -f /usr/sbin/*tables* /usr/sbin/nft /usr/local/sbin/nft`,
  );
  const without = (
    name: string,
    more: object,
    code: number,
    says: Row['says'],
    extra: Partial<Row> = {},
  ): Row[] =>
    [BRIDGE, PTP].map(
      (conf): Row => ({
        name,
        plugin: conf.type,
        input: { ...conf, ...MASQUERADE, ...more },
        code,
        says,
        late: true,
        ...extra,
      }),
    );
  const NEITHER =
    /cannot masquerade: neither nft nor iptables is installed \(or on PATH\): install nftables or iptables, or turn masquerade off/;
  await refuseAll(
    t,
    [
      ...without('no backend asked for', {}, 50, NEITHER),
      ...without(
        'nftables',
        { ipMasqBackend: 'nftables' },
        105,
        /nft is not installed \(or not on PATH\): install nftables/,
      ),
      ...without(
        'iptables',
        { ipMasqBackend: 'iptables' },
        105,
        /iptables.* is not installed \(or not on PATH\): install iptables/,
      ),
      ...without('STATUS', {}, 50, NEITHER, { command: 'STATUS' }),
      ...without('STATUS, nftables', { ipMasqBackend: 'nftables' }, 50, /nft is not installed/, {
        command: 'STATUS',
      }),
      ...without('STATUS, iptables', { ipMasqBackend: 'iptables' }, 50, /iptables-restore is not installed/, {
        command: 'STATUS',
      }),
    ].map((row) => ({ ...row, env: { PATH: '' } })),
    place,
  );
});

t.test('a host that lets nothing be written', async (t) => {
  const place = await makePlace(t);
  const readOnly = (dir: string) => `mount --bind ${dir} ${dir}; mount -o remount,ro,bind ${dir}`;
  await refuseAll(
    t,
    [
      ...[BRIDGE, PTP].map(
        (conf): Row => ({
          name: '/proc/sys is read-only',
          plugin: conf.type,
          input: conf,
          before: () => readOnly('/proc/sys'),
          after: () => 'umount /proc/sys',
          code: 5,
          says: /cannot set net\/ipv4\/ip_forward to 1 on the host \(it is 0\): EROFS/,
          late: true,
        }),
      ),
      ...[BRIDGE, PTP].map(
        (conf): Row => ({
          name: 'no place for locks',
          plugin: conf.type,
          input: { ...conf, ...MASQUERADE },
          before: ({ host }) => readOnly(`'${host.dirs.run}'`),
          after: ({ host }) => `umount '${host.dirs.run}'`,
          code: 5,
          says: [/firewall\.lock/, /EROFS/],
          late: true,
        }),
      ),
    ],
    place,
  );
});

/** All but dhcp, which needs its run folder and an agent that holds a lock in it. */
const { dhcp: DHCP = {}, ...ALONE } = GOOD;

t.test('no place for what can be done without', async (t) => {
  const place = await makePlace(t);
  const { run, cache } = place.host.dirs;
  writeMembership(cache, HELD);
  await place.sh(`mount --bind '${run}' '${run}'; mount -o remount,ro,bind '${run}'`);
  for (const [plugin, input] of Object.entries(ALONE)) {
    for (const command of ['ADD', 'DEL', 'DEL']) {
      // Masquerade cannot be done without its lock, and networks between hosts have it unless told otherwise.
      const answer = await place.call({ plugin, input: { ...input, ipMasq: false }, command });
      t.equal(answer.status, 0, `${plugin}: ${command} with a read-only run folder`, {
        answer: shown(answer),
      });
    }
  }
  const leaseless = await place.call({ plugin: 'dhcp', input: DHCP });
  t.same([...problems(leaseless), leaseless.json?.code], [5], 'dhcp', { answer: shown(leaseless) });
  t.match(leaseless.json?.msg, /the DHCP leases in .*\/run\/dhcp cannot be read or written: EROFS/);
  t.equal((await place.call({ plugin: 'dhcp', input: DHCP, command: 'DEL' })).status, 0, 'dhcp: DEL');
});

t.test('standard streams', async (t) => {
  const place = await makePlace(t);
  const sh = (redirect: string) => ['/bin/sh', '-c', `exec "$0" "$@" ${redirect}`];
  for (const [plugin, input] of Object.entries(GOOD)) {
    const closed = await place.call({ plugin, input, by: sh('<&-') });
    t.same([...problems(closed), closed.json?.code], [6], `${plugin}: standard input is closed`, {
      answer: shown(closed),
    });
    const folder = await place.call({ plugin, input, by: sh('</') });
    t.same([...problems(folder), folder.json?.code], [5], `${plugin}: standard input is a folder`, {
      answer: shown(folder),
    });
    const writing = await place.call({ plugin, input, by: sh('</dev/null 0>/dev/null') });
    t.same([...problems(writing)], [], `${plugin}: standard input is not open for reading`, {
      answer: shown(writing),
    });
    for (const out of ['>&-', '>/dev/full', '2>&-', '2>/dev/full', '>&- 2>&- <&-']) {
      const mute = await place.call({ plugin, input: 'no JSON', by: sh(out) });
      t.match(mute, { status: 1 }, `${plugin}: ${out}: an error stays an error`);
      t.notMatch(mute.stdout + mute.stderr, /^\s+at /m, `${plugin}: ${out}: no stack trace`);
    }
  }
});

t.test('places', async (t) => {
  const place = await makePlace(t);
  writeMembership(place.host.dirs.cache, HELD);
  const gone = ['/bin/sh', '-c', 'mkdir -p /run/gone && cd /run/gone && rmdir /run/gone && exec "$0" "$@"'];
  for (const [plugin, input] of Object.entries(ALONE)) {
    for (const command of ['ADD', 'DEL']) {
      const answer = await place.call({ plugin, input, command, by: gone });
      t.equal(answer.status, 0, `${plugin}: ${command} in a folder that is gone`, { answer: shown(answer) });
    }
  }
});

t.test('a broken installation', async (t) => {
  const place = await makePlace(t);
  const { root } = place.host;
  const breakages: [what: string, script: string, says: RegExp | undefined][] = [
    ['no bundle', 'rm weft-core.js', /cannot read .*weft-core\.js: it belongs beside the executable/],
    ['no native core', 'rm weft-core.node', /native core is missing/],
    [
      'a native core of another system',
      'rm weft-core.node; echo none >weft-core.node',
      /native core cannot be loaded/,
    ],
    ['no code cache', 'rm weft-core.cache', undefined],
    ['half a code cache', 'head -c 1000 weft-core.cache >x && mv x weft-core.cache', undefined],
    ['another code cache', 'head -c 300000 /dev/urandom >weft-core.cache', undefined],
  ];
  for (const [what, script, says] of breakages) {
    await place.sh(
      `rm -rf '${root}/broken'; cp -r '${pluginsUnderTest()}' '${root}/broken'; cd '${root}/broken'; ${script}`,
    );
    const by = ['/bin/sh', '-c', `exec '${root}/broken/bridge'`];
    const add = await place.call({ plugin: 'bridge', input: BRIDGE, by });
    if (says) {
      t.same([...problems(add), add.json?.code], [5], `${what}: ADD says so`, { answer: shown(add) });
      t.match(add.json?.msg, says, what);
    } else {
      t.equal(add.status, 0, `${what}: ADD works`, { answer: shown(add) });
    }
    t.equal((await place.call({ plugin: 'bridge', input: BRIDGE, command: 'DEL' })).status, 0);
  }
});
