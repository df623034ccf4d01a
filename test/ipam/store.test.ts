/** The store on the disk: its format, what it survives, and when it trusts its index. */
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import t from 'tap';
import { ErrorCode } from '../../cni/errors.ts';
import { hostLocal } from '../../ipam/host-local/host-local.ts';
import { DiskStore } from '../../ipam/store.ts';
import { conf, errorOf, leaseFiles, NETWORK, request, resultOf, type World, world } from './support.ts';

const dual = conf({ ranges: [[{ subnet: '10.1.0.0/24' }], [{ subnet: 'fd00:1::/64' }]] });
const single = conf({ subnet: '10.1.0.0/24' });

const add = async (w: World, who: string, config = single, more = {}) =>
  (await hostLocal.add(request(w, config, who, more))).ips.map((ip) => ip.address.split('/')[0] ?? '');
const del = (w: World, who: string, config = single) => hostLocal.del(request(w, config, who));
const put = (w: World, name: string, text: string) => {
  mkdirSync(w.leases, { recursive: true });
  writeFileSync(path.join(w.leases, name), text);
};
/** The text of every file of the index. */
const indexFiles = (w: World) => {
  const root = path.join(w.runDir, 'leases');
  return readdirSync(root, { recursive: true, encoding: 'utf8' })
    .map((name) => path.join(root, name))
    .filter((file) => statSync(file).isFile());
};

t.test('the place in the round is whole when it becomes shorter', async (t) => {
  const w = world(t);
  const few = conf({ ranges: [[{ subnet: '10.1.0.0/24', rangeStart: '10.1.0.9', rangeEnd: '10.1.0.10' }]] });
  const place = () => readFileSync(path.join(w.leases, 'last_reserved_ip.0'), 'utf8');
  for (const [who, address] of [
    ['a', '10.1.0.9'],
    ['b', '10.1.0.10'],
  ] as const) {
    t.same(await add(w, who, few), [address]);
    t.equal(place(), address);
  }
  await del(w, 'a', few);
  t.same(await add(w, 'c', few), ['10.1.0.9']);
  t.equal(place(), '10.1.0.9');
});

t.test("the files are host-local's, to the byte", async (t) => {
  const w = world(t);
  t.same(await add(w, 'c1', dual), ['10.1.0.2', 'fd00:1::2']);
  t.same(readdirSync(w.leases).sort(), [
    '10.1.0.2',
    'fd00:1::2',
    'last_reserved_ip.0',
    'last_reserved_ip.1',
    'lock',
  ]);
  const read = (name: string) => readFileSync(path.join(w.leases, name), 'utf8');
  t.equal(read('10.1.0.2'), 'c1\r\neth0');
  t.equal(read('fd00:1::2'), 'c1\r\neth0');
  t.equal(read('last_reserved_ip.0'), '10.1.0.2');
  t.equal(read('last_reserved_ip.1'), 'fd00:1::2');
  t.equal(statSync(path.join(w.leases, '10.1.0.2')).nlink, 1);
  t.same(await del(w, 'c1', dual), ['10.1.0.2', 'fd00:1::2']);
  t.same(leaseFiles(w), []);
  t.same(await del(w, 'c1', dual), [], 'repeatable');
});

t.test('DEL and GC of a network that never was: nothing, and no folder is made', async (t) => {
  const w = world(t);
  t.same(await del(w, 'c1'), []);
  t.same(await hostLocal.gc(request(w, single), []), []);
  t.throws(() => statSync(w.dataDir));
});

t.test('dataDir of the configuration', async (t) => {
  const w = world(t);
  const dataDir = path.join(w.dir, 'elsewhere');
  await add(w, 'c1', conf({ subnet: '10.1.0.0/24', dataDir }));
  t.equal(readFileSync(path.join(dataDir, NETWORK, '10.1.0.2'), 'utf8'), 'c1\r\neth0');
});

t.test('a name that would leave the folder', async (t) => {
  const w = world(t);
  for (const name of ['..', '../x', 'a/b', '', '.hidden', 'a b']) {
    const error = await errorOf(() => hostLocal.del(request(w, { ...single, name })));
    t.equal(error.code, ErrorCode.invalidConfig, name);
  }
});

t.test('older files: the id only, white space around it, line feed without carriage return', async (t) => {
  const w = world(t);
  put(w, '10.1.0.2', 'c1');
  put(w, '10.1.0.3', ' c2 \n');
  put(w, '10.1.0.4', 'c3\r\n');
  put(w, '10.1.0.5', 'c4\neth0\n');
  put(w, '10.1.0.6', 'c5\r\neth0 \r\n');
  t.same(await add(w, 'new'), ['10.1.0.7']);
  for (const [n, who] of ['c1', 'c2', 'c3', 'c4', 'c5'].entries()) {
    t.same(await del(w, who), [`10.1.0.${n + 2}`], who);
  }
  t.same(leaseFiles(w), ['10.1.0.7']);
});

t.test('debris of crashes is reclaimed, foreign things stay and are not handed out', async (t) => {
  const w = world(t);
  put(w, '10.1.0.2', '');
  put(w, '10.1.0.3', '\0\0\0\0\0');
  put(w, '10.1.0.4', ' \r\n');
  put(w, '.weft-lease', 'c9\r\neth0');
  put(w, 'README', 'new\r\neth0');
  put(w, '10.1.0', 'new\r\neth0');
  put(w, '10.1.0.008', 'new\r\neth0');
  put(w, 'FD00::1', 'new\r\neth0');
  put(w, 'last_reserved_ip.0', 'no address');
  mkdirSync(path.join(w.leases, '10.1.0.5'));
  symlinkSync('/nonexistent', path.join(w.leases, '10.1.0.6'));
  const got = [];
  for (const who of ['a', 'b', 'c', 'd']) got.push(...(await add(w, who)));
  t.same(got, ['10.1.0.2', '10.1.0.3', '10.1.0.4', '10.1.0.7']);
  t.same(await del(w, 'new'), [], 'a foreign file is no lease');
  t.same(await hostLocal.gc(request(w, single), []), ['10.1.0.2', '10.1.0.3', '10.1.0.4', '10.1.0.7']);
  t.same(leaseFiles(w), ['10.1.0', '10.1.0.008', '10.1.0.5', '10.1.0.6', 'FD00::1', 'README']);
});

t.test('a lease asked for that a folder occupies', async (t) => {
  const w = world(t);
  mkdirSync(path.join(w.leases, '10.1.0.5'), { recursive: true });
  const error = await errorOf(() => add(w, 'a', single, { args: { IP: '10.1.0.5' } }));
  t.equal(error.code, ErrorCode.conflict);
  t.match(error.message, /held by something that is no lease/);
});

t.test('what others do in the folder is seen', async (t) => {
  const w = world(t);
  await add(w, 'a');
  await add(w, 'b');
  put(w, '10.1.0.77', 'x\r\neth0');
  t.same(await del(w, 'x'), ['10.1.0.77'], 'a lease that another program made');
  rmSync(path.join(w.leases, '10.1.0.2'));
  t.same(await del(w, 'a'), [], 'one that it removed');
  renameSync(path.join(w.leases, '10.1.0.3'), path.join(w.leases, '10.1.0.99'));
  t.same(await del(w, 'b'), ['10.1.0.99'], 'one that moved');
});

t.test('a lease that changed hands under the same name is not released for its former holder', async (t) => {
  const w = world(t);
  await add(w, 'a');
  put(w, '10.1.0.2', 'z\r\neth0');
  t.same(await del(w, 'a'), []);
  t.same(leaseFiles(w), ['10.1.0.2']);
});

t.test('the index is only a cache: lost, damaged, of another folder, unwritable', async (t) => {
  const w = world(t);
  const damages: [string, () => void][] = [
    ['lost', () => rmSync(w.runDir, { recursive: true })],
    ['stamp lost', () => rmSync(indexFiles(w).find((file) => file.endsWith('stamp')) ?? '')],
    [
      'cut',
      () => indexFiles(w).forEach((file) => void (file.endsWith('stamp') || writeFileSync(file, '[["10.'))),
    ],
    [
      'emptied',
      () => indexFiles(w).forEach((file) => void (file.endsWith('stamp') || writeFileSync(file, ''))),
    ],
    [
      'nonsense',
      () => indexFiles(w).forEach((file) => void (file.endsWith('stamp') || writeFileSync(file, '{}'))),
    ],
    ['times set', () => utimesSync(w.leases, 1, 1)],
    [
      'folder copied and put in place',
      () => {
        renameSync(w.leases, `${w.leases}.old`);
        mkdirSync(w.leases);
        for (const name of readdirSync(`${w.leases}.old`)) {
          writeFileSync(path.join(w.leases, name), readFileSync(path.join(`${w.leases}.old`, name)));
        }
        rmSync(`${w.leases}.old`, { recursive: true });
      },
    ],
    [
      'unwritable',
      () => {
        rmSync(w.runDir, { recursive: true });
        writeFileSync(w.runDir, 'in the way');
      },
    ],
  ];
  await add(w, 'bystander');
  for (const [what, damage] of damages) {
    const [got = ''] = await add(w, what.replaceAll(' ', '-'));
    damage();
    t.same(await del(w, what.replaceAll(' ', '-')), [got], what);
  }
  t.same(await del(w, 'bystander'), ['10.1.0.2']);
  t.match(w.logs.at(-1), /could not be saved, every lease will be read/);
});

t.test('the index is trusted between our own operations: no listing, no reading of others', async (t) => {
  const w = world(t);
  await add(w, 'a');
  await add(w, 'b');
  // Changing a file's text does not change its folder: had b's lease been read, it would be known as c's.
  put(w, '10.1.0.3', 'c\r\neth0');
  t.same(await del(w, 'c'), []);
  utimesSync(w.leases, 1, 1);
  t.same(await del(w, 'c'), ['10.1.0.3'], 'and after a change of the folder all are read');
});

t.test('the network is removed while we wait for its lock', async (t) => {
  const w = world(t);
  await add(w, 'a');
  const release = await w.ambient.lock(path.join(w.leases, 'lock'));
  const waiting = add(w, 'b');
  await new Promise((resolve) => setImmediate(resolve));
  rmSync(w.leases, { recursive: true });
  release();
  t.same(await waiting, ['10.1.0.2']);
  t.same(leaseFiles(w), ['10.1.0.2']);
});

t.test('a folder that cannot be made: code 5, with the path', async (t) => {
  const w = world(t);
  writeFileSync(w.dataDir, 'in the way');
  const error = await errorOf(() => add(w, 'a'));
  t.equal(error.code, ErrorCode.io);
  t.match(error.message, /leases in .*data\/net cannot be read or written: ENOTDIR/);
});

t.test('many taken in a row: the folder is listed once, and the free one is found', async (t) => {
  const w = world(t);
  for (let n = 2; n < 200; n++) put(w, `10.1.0.${n}`, `old${n}\r\neth0`);
  t.same(await add(w, 'a'), ['10.1.0.200']);
  put(w, 'last_reserved_ip.0', '10.1.0.1');
  rmSync(path.join(w.leases, '10.1.0.150'));
  t.same(await add(w, 'b'), ['10.1.0.150']);
});

t.test('many at the same time in one process: each its own', async (t) => {
  const w = world(t);
  const got = await Promise.all(Array.from({ length: 50 }, (_, n) => add(w, `c${n}`)));
  t.equal(new Set(got.flat()).size, 50);
  t.same(leaseFiles(w).sort(), got.flat().sort());
  await Promise.all(Array.from({ length: 50 }, (_, n) => del(w, `c${n}`)));
  t.same(leaseFiles(w), []);
});

t.test('CHECK: reserved for this attachment', async (t) => {
  const w = world(t);
  await add(w, 'a');
  const check = (who: string, ips?: string[]) =>
    errorOf(() =>
      hostLocal.check(request(w, single, who, ips === undefined ? {} : { prevResult: resultOf(ips) })),
    );
  t.equal((await check('a', ['10.1.0.2/24'])).code, 0);
  t.equal(
    (await check('a', ['10.1.0.2/24', '192.0.2.9/24'])).code,
    0,
    "another plugin's address is not ours to check",
  );
  t.equal((await check('a')).code, 0);
  const missing = await check('a', ['10.1.0.9/24']);
  t.equal(missing.code, ErrorCode.checkFailed);
  t.match(
    missing.message,
    /address 10\.1\.0\.9 is not reserved: wanted it reserved for container a \(eth0\)/,
  );
  t.match((await check('b', ['10.1.0.2/24'])).message, /is reserved for container a \(eth0\)/);
  t.match((await check('b')).message, /container b \(eth0\) holds no address of network net/);
  put(w, '10.1.0.2', 'a');
  t.equal((await check('a', ['10.1.0.2/24'])).code, 0, 'an older file');
});

t.test('STATUS: not available when a range set is full', async (t) => {
  const w = world(t);
  const config = conf({ ranges: [[{ subnet: 'fd00::/64' }], [{ subnet: '10.1.0.0/30' }]] });
  const status = () => errorOf(() => hostLocal.status(request(w, config)));
  t.equal((await status()).code, 0, 'before the first ADD');
  await add(w, 'a', config);
  const error = await status();
  t.equal(error.code, ErrorCode.notAvailable);
  t.match(error.message, /no address is left in range set 1/);
  await del(w, 'a', config);
  t.equal((await status()).code, 0);
});

t.test('GC keeps what is valid', async (t) => {
  const w = world(t);
  for (const who of ['a', 'b', 'c']) await add(w, who, dual);
  const valid = [{ containerId: 'b', ifname: 'eth0' }];
  t.same((await hostLocal.gc(request(w, dual), valid)).sort(), [
    '10.1.0.2',
    '10.1.0.4',
    'fd00:1::2',
    'fd00:1::4',
  ]);
  t.same(leaseFiles(w), ['10.1.0.3', 'fd00:1::3']);
  t.same(await hostLocal.gc(request(w, dual), valid), []);
  t.same(await del(w, 'b', dual), ['10.1.0.3', 'fd00:1::3']);
});

t.test('an error in the work frees the lock', async (t) => {
  const w = world(t);
  const store = new DiskStore(w.dataDir, NETWORK, w.ambient);
  await t.rejects(
    store.locked(() => {
      throw new Error('boom');
    }),
    /boom/,
  );
  t.same(await add(w, 'a'), ['10.1.0.2']);
});

t.test('a folder made by a stricter umask works for its owner', async (t) => {
  const w = world(t);
  mkdirSync(w.leases, { recursive: true });
  chmodSync(w.leases, 0o700);
  t.same(await add(w, 'a'), ['10.1.0.2']);
});

t.test('a data folder that cannot be is an error for ADD, and nothing to do for DEL', async (t) => {
  const w = world(t);
  const file = path.join(w.dir, 'file');
  writeFileSync(file, '');
  // Below /proc/1 nothing can be made, and nothing says why.
  for (const dataDir of [file, '/proc/1/nowhere', path.join(w.dir, 'not', 'yet')]) {
    const config = conf({ subnet: '10.1.0.0/24', dataDir });
    t.same(await del(w, 'a', config), [], dataDir);
    if (dataDir.endsWith('yet'))
      t.same(await add(w, 'a', config), ['10.1.0.2'], 'folders are made as needed');
    else t.match(await errorOf(() => add(w, 'a', config)), { code: ErrorCode.io, message: dataDir });
  }
});

t.test('pipes and links in the place of leases hold nobody up', async (t) => {
  const w = world(t);
  mkdirSync(w.leases, { recursive: true });
  for (const name of ['10.1.0.2', 'last_reserved_ip.0']) execFileSync('mkfifo', [path.join(w.leases, name)]);
  symlinkSync('/dev/zero', path.join(w.leases, '10.1.0.3'));
  t.match(await errorOf(() => add(w, 'a')), { code: ErrorCode.io }, 'last_reserved_ip.0 cannot be written');
  rmSync(path.join(w.leases, 'last_reserved_ip.0'));
  t.same(await add(w, 'a'), ['10.1.0.2'], 'an empty lease is debris, whatever it is');
  t.same(await del(w, 'a'), ['10.1.0.2']);
});

t.test('an index whose entries are none is made again', async (t) => {
  const w = world(t);
  await add(w, 'a');
  for (const text of ['[null]', '[[1]]', '["10.1.0.2"]']) {
    for (const file of indexFiles(w).filter((name) => !name.endsWith('stamp'))) writeFileSync(file, text);
    t.same(await add(w, 'a'), ['10.1.0.2'], text);
  }
});

t.test('what a process that stays has in memory is believed only while nobody else was there', async (t) => {
  const w = world(t);
  const staying = (): World => ({ ...w, ambient: { ...w.ambient, kept: new Map() } });
  const actors = [staying(), staying(), w];
  const held = new Map<string, string>();
  let state = 7;
  const random = (below: number) => {
    state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff;
    return (state >> 8) % below;
  };
  for (let n = 0; n < 300; n++) {
    const actor = actors[random(actors.length)] ?? w;
    const who = `c${random(12)}`;
    const before = held.get(who);
    if (random(10) === 0) put(w, `10.1.0.${200 + random(50)}`, '');
    if (random(2) === 0) {
      const [address = ''] = await add(actor, who);
      t.equal(address, before ?? address, `${who} keeps its address`);
      t.notOk(before === undefined && [...held.values()].includes(address), `${who} gets a free one`);
      held.set(who, address);
    } else {
      t.same(await del(actor, who), before === undefined ? [] : [before], `DEL of ${who}`);
      held.delete(who);
    }
  }
  t.same(w.logs, []);
});

t.test('an index that could not be saved is not believed, in memory either', async (t) => {
  const w = world(t);
  let failing = '';
  const { files } = w.ambient;
  const overwrite: typeof files.overwrite = (file, text, mode) => {
    if (failing !== '' && file.endsWith(failing))
      throw Object.assign(new Error('no room'), { code: 'ENOSPC' });
    files.overwrite(file, text, mode);
  };
  const staying = { ...w, ambient: { ...w.ambient, kept: new Map(), files: { ...files, overwrite } } };
  t.same(await add(staying, 'a'), ['10.1.0.2']);
  for (failing of ['stamp', indexFiles(w).find((file) => !file.endsWith('stamp')) ?? '', '']) {
    const who = `c${failing.length}`;
    const [address] = await add(staying, who);
    t.same(await del(w, who), [address]);
    await add(staying, who);
    t.equal((await del(staying, who)).length, 1);
    t.same(await add(staying, 'a'), ['10.1.0.2']);
  }
  t.match(w.logs, [/could not be saved.*no room/]);
  rmSync(path.join(w.runDir, 'leases'), { recursive: true });
  const b = await add(staying, 'b');
  const c = await add(staying, 'c');
  t.same(await del(staying, 'b'), b);
  t.same(await del(w, 'c'), c);
});
