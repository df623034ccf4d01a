/** The registry on a real etcd: run by registry-etcd.test.ts in a network namespace of its own. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import type { Member } from '../../cluster/registry.ts';
import { type Etcd, makeCertificates, makeEtcd } from '../support/etcd.ts';
import { until } from '../support/until.ts';
import { clashes, containers, etcdAt, follow, open, POOL, POOL6, request, told } from './registry-support.ts';

t.test(
  'twenty hosts join at once: all subnets differ; they stay over a restart, and are free after leaving',
  async (t) => {
    const etcd = await makeEtcd(t);
    const numbers = Array.from({ length: 20 }, (_, index) => index + 1);
    const clients = await Promise.all(numbers.map(() => open(t, etcdAt(etcd.address))));
    const pools = [{ ...POOL, blockLength: 21 }, POOL6];
    const members = await Promise.all(
      clients.map(({ registry }, index) => registry.join(request(index + 1, { pools }))),
    );
    t.same(clashes(members), []);
    t.ok(members.every(({ subnets }) => subnets.length === 2));
    const [first, second] = clients;
    if (first === undefined || second === undefined) throw new Error('no clients');
    t.same(
      (await first.registry.read('pods')).members,
      [...members].sort((a, b) => (a.host < b.host ? -1 : 1)),
    );

    await first.registry.close();
    const again = await open(t, etcdAt(etcd.address));
    t.same(await again.registry.join(request(1, { pools })), members[0], 'the same after a restart');
    const keys = (await etcd.etcdctl('get', '/weft/', '--prefix', '--keys-only')).split('\n').filter(Boolean);
    t.equal(keys.length, 60, 'a record and two claims for each');

    await again.registry.leave('pods', 'host-1');
    await again.registry.leave('pods', 'host-1');
    t.equal((await again.registry.read('pods')).members.length, 19);
    t.notMatch(await etcd.etcdctl('get', '/weft/', '--prefix'), /host-1\n|host-1$/);

    await t.rejects(
      again.registry.join(request(2, { addresses: ['198.51.100.7'] })),
      { problem: 'taken', message: /host named host-2 is registered with 192\.0\.2\.2/ },
      'another machine of the same name',
    );
    const moved = await again.registry.join(
      request(2, { addresses: ['198.51.100.7'], pools, before: members[1]?.subnets ?? [] }),
    );
    t.same(moved.subnets, members[1]?.subnets, 'the same host with another address keeps its subnets');
  },
);

t.test('a pool that is used up, and one that routes of the host cover', async (t) => {
  const etcd = await makeEtcd(t);
  const { registry } = await open(t, etcdAt(etcd.address));
  const pools = [{ prefix: '10.244.0.0/22', blockLength: 24 }];
  const members = await Promise.all([1, 2, 3, 4].map((number) => registry.join(request(number, { pools }))));
  t.same(members.flatMap(({ subnets }) => subnets).sort(), [
    '10.244.0.0/24',
    '10.244.1.0/24',
    '10.244.2.0/24',
    '10.244.3.0/24',
  ]);
  await t.rejects(registry.join(request(5, { pools })), {
    problem: 'exhausted',
    message: /no \/24 of 10\.244\.0\.0\/22 is left for host host-5: 4 of 4 are held/,
  });
  await registry.leave('pods', 'host-3');
  await t.rejects(registry.join(request(5, { pools, avoid: ['10.244.0.0/16'] })), {
    problem: 'exhausted',
    message: /this host has routes to 10\.244\.0\.0\/16/,
  });
  t.same((await registry.join(request(5, { pools }))).subnets, members[2]?.subnets);
});

t.test('blocks and borrowed addresses of one pool', async (t) => {
  const etcd = await makeEtcd(t);
  const { registry } = await open(t, etcdAt(etcd.address));
  const pool = { prefix: '10.5.0.0/28', blockLength: 30 };
  const own = { network: 'pods', host: 'host-1' };
  await registry.join(request(1, { pools: [pool] }));
  await registry.join(request(2, { pools: [pool] }));
  await registry.extend({ ...own, pool, count: 2 });
  const full = await registry.extend({ ...own, pool, count: 2 });
  t.equal(full.subnets.length, 3, 'whole blocks first');
  const borrowed = (await registry.extend({ ...own, pool, count: 2 })).borrowed ?? [];
  t.equal(borrowed.length, 2, 'then addresses of the other host');
  const next = (await registry.extend({ network: 'pods', host: 'host-2', pool, count: 99 })).borrowed ?? [];
  t.equal(next.filter((address) => borrowed.includes(address)).length, 0);
  const rest = await registry.giveBack({ ...own, subnets: [...borrowed, full.subnets[2] ?? ''] });
  t.same([rest.borrowed, rest.subnets], [undefined, full.subnets.slice(0, 2)]);
  t.same(clashes((await registry.read('pods')).members), []);
});

t.test('hosts that extend and give back at once: no block and no address is with two', async (t) => {
  const etcd = await makeEtcd(t);
  const pool = { prefix: '10.5.0.0/26', blockLength: 29 };
  const numbers = [1, 2, 3, 4, 5, 6];
  const clients = await Promise.all(
    numbers.map(async (number) => {
      const { registry } = await open(t, etcdAt(etcd.address));
      return { number, registry, joined: await registry.join(request(number, { pools: [pool] })) };
    }),
  );
  const looks = await Promise.all(
    clients.map(async ({ number, registry, joined }) => {
      const own = { network: 'pods', host: `host-${number}` };
      let member = joined;
      const seen: Member[][] = [];
      for (let round = 0; round < 12; round += 1) {
        member = await registry.extend({ ...own, pool, count: 3 }).catch(() => member);
        seen.push([...(await registry.read('pods')).members]);
        const given = [...member.subnets.slice(1), ...(member.borrowed ?? []).slice(round % 2)];
        if (round % 3 === number % 3) member = await registry.giveBack({ ...own, subnets: given });
      }
      return seen;
    }),
  );
  for (const members of looks.flat()) {
    const borrowed = members.flatMap((member) => member.borrowed ?? []);
    if (new Set(borrowed).size !== borrowed.length || clashes(members).length > 0)
      t.fail('held twice', { members });
  }
  t.ok(
    looks.flat().some((members) => members.some((member) => member.borrowed)),
    'some had to borrow',
  );
});

t.test('endpoints: more than a transaction takes, a container that moves, a stale publication', async (t) => {
  const etcd = await makeEtcd(t);
  const one = await open(t, etcdAt(etcd.address));
  const two = await open(t, etcdAt(etcd.address));
  follow(t, one);
  await one.registry.join(request(1));
  await two.registry.join(request(2));
  await one.registry.publish('pods', 'host-1', containers('host-1', 150));
  await told(one, '150 endpoints', ({ endpoints }) => endpoints.length === 150);
  const moved = containers('host-2', 1);
  await two.registry.publish('pods', 'host-2', moved);
  await told(one, 'one moved', ({ endpoints }) => endpoints[0]?.host === 'host-2');
  await one.registry.publish('pods', 'host-1', containers('host-1', 150));
  t.equal((await one.registry.read('pods')).endpoints[0]?.host, 'host-2', 'is not fought for');
  await one.registry.publish('pods', 'host-1', containers('host-1', 10, 100));
  const state = await told(one, 'few are left', ({ endpoints }) => endpoints.length === 11);
  t.same(
    state.endpoints.filter(({ host }) => host === 'host-2').map(({ address }) => address),
    [moved[0]?.address],
  );
  await two.registry.leave('pods', 'host-2');
  await told(one, 'what left took its endpoints along', ({ endpoints }) => endpoints.length === 10);
  for (let round = 0; round < 20; round += 1) {
    await one.registry.publish('pods', 'host-1', containers('host-1', 1, 300));
    await one.registry.publish('pods', 'host-1', []);
  }
  t.same((await two.registry.read('pods')).endpoints, [], 'a watch that lags behind misleads nobody');
  await t.rejects(two.registry.publish('pods', 'host-2', moved), {
    problem: 'invalid',
    message: /join first/,
  });
});

t.test('TLS and a password; tokens that a restart made worthless', async (t) => {
  const folder = t.testdir({});
  const tls = await makeCertificates(folder);
  const etcd = await makeEtcd(t, { tls });
  const secret = 'not-to-be-seen';
  const files = `ca=${tls.ca}&cert=${tls.cert}&key=${tls.key}&timeout=30`;
  const location = `etcd://${etcd.address}/weft?${files}`;
  const env = { WEFT_ETCD_PASSWORD: secret };
  for (const args of [
    ['user', 'add', `root:${secret}`],
    ['user', 'grant-role', 'root', 'root'],
    ['user', 'add', `weft:${secret}`],
    ['role', 'add', 'hosts'],
    ['role', 'grant-permission', 'hosts', '--prefix=true', 'readwrite', '/weft/'],
    ['user', 'grant-role', 'weft', 'hosts'],
    ['auth', 'enable'],
  ]) {
    await etcd.etcdctl(...args);
  }
  const one = await open(t, `${location}&user=weft`, env);
  follow(t, one);
  const member = await one.registry.join(request(1));
  await told(one, 'joined', (state) => state.members.length === 1);

  const refused = async (location: string, env: Record<string, string>, message: RegExp) => {
    const { registry } = await open(t, location, env);
    const error = await registry.join(request(2)).catch((error: unknown) => error);
    t.match(error, { problem: 'invalid', message });
    t.notMatch(String(error), secret);
  };
  await refused(
    `${location}&user=weft`,
    { WEFT_ETCD_PASSWORD: 'wrong' },
    /refuses user weft: authentication failed/,
  );
  await refused(location, {}, /wants a user: add user=NAME/);
  await refused(
    location.replace('/weft?', '/other?').concat('&user=weft'),
    env,
    /does not let user weft read and write/,
  );
  const named = location.replace(tls.cert, tls.named.cert).replace(tls.key, tls.named.key);
  await refused(`${named}&user=weft`, env, /client certificates with a common name/);
  const file = join(folder, 'password');
  writeFileSync(file, `${secret}\n`);
  const two = await open(t, `${location}&user=weft&password-file=${file}`);
  await two.registry.join(request(2));

  await two.registry.close();
  const three = await open(t, `${location}&user=weft`, env);
  await three.registry.join(request(2));
  const listed = await etcd.etcdctl('--user', `root:${secret}`, 'lease', 'list');
  t.match(listed, /^found 2 leases/, 'another process of a host takes its lease over');

  const unknown = await open(t, `etcd+tls://${etcd.address}/weft?timeout=30`);
  await t.rejects(unknown.registry.read('pods'), { problem: 'unreachable', message: /certificate/ });

  await etcd.kill();
  etcd.launch();
  await until('a new token is fetched', () => one.registry.join(request(1)));
  t.same((await one.registry.read('pods')).members[0], member);
  await three.registry.join(request(3));
  await told(one, 'the watch has one too', (state) => state.members.length === 3);
});

t.test('three members: whoever is killed, the others serve', async (t) => {
  const ports = [2379, 2389, 2399];
  const members = ports.map((port) => `m${port}=http://127.0.0.1:${port + 1}`).join(',');
  const etcds: Etcd[] = [];
  for (const port of ports) etcds.push(await makeEtcd(t, { port, cluster: { name: `m${port}`, members } }));
  // Whom the leader left does not answer for a while.
  const one = await open(t, etcdAt(etcds.map(({ address }) => address).join(','), '', 2));
  follow(t, one);
  await until('the cluster serves', () => one.registry.join(request(1)), 60_000);
  for (const [index, etcd] of etcds.entries()) {
    await etcd.kill();
    await until('the rest serves', () => one.registry.join(request(index + 2)), 60_000);
    await told(one, 'the watch follows', (state) => state.members.length === index + 2);
    etcd.launch();
    await until('it is back', () => etcd.answers(), 60_000);
  }
  t.same(clashes((await one.registry.read('pods')).members), []);
});

t.test('hosts join and leave while etcd is killed again and again: no two hold one subnet', async (t) => {
  const etcd = await makeEtcd(t);
  const pools = [{ prefix: '10.244.0.0/19', blockLength: 24 }];
  let going = true;
  const hostLife = async (number: number) => {
    const { registry } = await open(t, etcdAt(etcd.address));
    let before: readonly string[] = [];
    for (let round = 0; going || round < 2; round += 1) {
      await registry
        .join(request(number, { pools, before }))
        .then(({ subnets }) => {
          before = subnets;
        })
        .catch(() => {});
      if (round % 4 === 3) {
        await registry.leave('pods', `host-${number}`).catch(() => {});
        before = [];
      }
    }
  };
  const lives = Array.from({ length: 12 }, (_, index) => hostLife(index + 1));
  const watcher = await open(t, etcdAt(etcd.address));
  follow(t, watcher);
  for (let round = 0; round < 3; round += 1) {
    const seen = watcher.states.length;
    await until('things happen', () => watcher.states.length > seen + 15);
    await etcd.kill();
    await etcd.start();
  }
  going = false;
  await Promise.all(lives);
  t.same(
    watcher.states.flatMap(({ members }) => clashes(members)),
    [],
  );
});
