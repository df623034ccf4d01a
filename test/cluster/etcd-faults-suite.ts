/** The registry on a real etcd that goes away: run by registry-etcd.test.ts in a network namespace of its own. */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { type Etcd, makeEtcd } from '../support/etcd.ts';
import { exec } from '../support/host.ts';
import { until } from '../support/until.ts';
import { clashes, containers, etcdAt, follow, hosts, open, request, told } from './registry-support.ts';

t.test('etcd killed and started again, stopped and resumed: told once each, nothing is lost', async (t) => {
  const etcd = await makeEtcd(t);
  const one = await open(t, etcdAt(etcd.address, '', 1));
  follow(t, one);
  const member = await one.registry.join(request(1));
  await told(one, 'joined', (state) => state.members.length === 1);
  await etcd.kill();
  await until('the outage is told', () => one.events.length === 1);
  await t.rejects(one.registry.read('pods'), {
    problem: 'unreachable',
    message: /cannot be reached: .*ECONNREFUSED/,
  });
  await etcd.start();
  await until('its end is told', () => one.events.length === 2);
  await one.registry.join(request(2));
  await told(one, 'the watch goes on', (state) => state.members.length === 2);

  etcd.stop();
  await until('the second outage is told', () => one.events.length === 3);
  await t.rejects(one.registry.join(request(3)), { problem: 'unreachable', message: /no answer within 1 s/ });
  etcd.resume();
  await until('its end is told', () => one.events.length === 4);
  t.match(one.events, [/^lost: etcd at http/, /^found$/, /^lost: etcd at http/, /^found$/]);
  // What was asked while etcd was stopped may have been carried out: asking again finds it.
  await one.registry.join(request(3));
  t.same((await one.registry.read('pods')).members[0], member);
  t.same(clashes((await one.registry.read('pods')).members), []);
});

t.test('a host cut off until its lease runs out takes the same again, or says that it is gone', async (t) => {
  const etcd = await makeEtcd(t);
  const pools = [{ prefix: '10.244.0.0/23', blockLength: 24 }];
  const free = await open(t, etcdAt(etcd.address, '', 1));
  follow(t, free);
  const cut = await open(t, etcdAt(etcd.other, '&ttl=2', 1));
  follow(t, cut);
  const member = await cut.registry.join(request(1, { pools }));
  await cut.registry.publish('pods', 'host-1', containers('host-1', 3));
  await told(free, 'registered', (state) => state.members.length === 1 && state.endpoints.length === 3);

  await cutOff(etcd);
  await told(
    free,
    'its lease ran out',
    (state) => state.members.length === 0 && state.endpoints.length === 0,
  );
  await until('it noticed', () => cut.events.length === 1);
  await reconnect();
  await until('it is back', () => cut.events.some((event) => event.startsWith('restored')));
  await told(free, 'all is back', (state) => state.members.length === 1 && state.endpoints.length === 3);
  t.same((await free.registry.read('pods')).members[0], member);
  t.match(cut.events.join('\n'), /^lost: .*/);

  await cutOff(etcd);
  await told(free, 'its lease ran out again', (state) => state.members.length === 0);
  await free.registry.join(request(2, { pools }));
  await free.registry.join(request(3, { pools }));
  await reconnect();
  await until('it knows', () => cut.events.some((event) => event.startsWith('gone')));
  t.match(
    cut.events.find((event) => event.startsWith('gone')),
    new RegExp(`host host-[23] holds ${member.subnets} now`),
  );
  t.same(hosts(await free.registry.read('pods')), ['host-2', 'host-3']);
  t.same(clashes((await cut.registry.read('pods')).members), []);
});

t.test('etcd loses all it had: hosts put back what they hold', async (t) => {
  const etcd = await makeEtcd(t);
  // A long time to live: it is the watch that notices, the next renewal is a minute away.
  const clients = await Promise.all([1, 2, 3].map(() => open(t, etcdAt(etcd.address, '', 1))));
  const before = await Promise.all(clients.map(({ registry }, index) => registry.join(request(index + 1))));
  const [one] = clients;
  if (one === undefined) throw new Error('no clients');
  for (const client of clients) follow(t, client);
  await one.registry.publish('pods', 'host-1', containers('host-1', 3));
  await told(one, 'all are there', ({ members, endpoints }) => members.length + endpoints.length === 6);
  await etcd.kill();
  await rm(join(etcd.folder, 'data'), { recursive: true });
  await etcd.start();
  await until('all have noticed', () =>
    clients.every(({ events }) => events.some((one) => /^restored/.test(one))),
  );
  const state = await told(
    one,
    'all are there again',
    ({ members, endpoints }) => members.length + endpoints.length === 6,
  );
  t.same(state.members, before);
  t.equal(
    clients.flatMap(({ events }) => events).filter((one) => /^restored/.test(one)).length,
    3,
    'told once each',
  );
});

t.test(
  'a host with many blocks whose lease is revoked: all of them, and its containers, are back',
  async (t) => {
    const etcd = await makeEtcd(t);
    const one = await open(t, etcdAt(etcd.address, '', 1));
    follow(t, one);
    const pool = { prefix: '10.9.0.0/16', blockLength: 26 };
    await one.registry.join(request(1, { pools: [pool] }));
    for (let blocks = 1; blocks < 40; blocks += 1) {
      await one.registry.extend({ network: 'pods', host: 'host-1', pool, count: 1 });
    }
    await one.registry.publish('pods', 'host-1', containers('host-1', 90));
    const before = await told(one, 'all are there', ({ endpoints }) => endpoints.length === 90);
    const [lease = ''] = (await etcd.etcdctl('lease', 'list')).match(/^[0-9a-f]{10,}$/m) ?? [];
    await etcd.etcdctl('lease', 'revoke', lease);
    await until('it noticed', () => one.events.some((event) => event.startsWith('restored')));
    t.same(await one.registry.read('pods'), before);
    t.equal(before.members[0]?.subnets.length, 40);

    // Another process of this host, which knows of no lease, on a record that was removed by hand.
    await one.registry.close();
    await etcd.etcdctl('del', '/weft/pods/hosts/host-1');
    const two = await open(t, etcdAt(etcd.address, '', 1));
    const subnets = before.members[0]?.subnets ?? [];
    t.same((await two.registry.join(request(1, { pools: [pool], before: subnets }))).subnets, subnets);
    const listed = await etcd.etcdctl('get', '/weft/', '--prefix', '-w', 'json');
    // Too large for a number of JavaScript.
    const leases = [...listed.matchAll(/"lease":(\d+)/g)].map(([, lease]) => lease);
    t.equal(leases.length, 131);
    // The record comes last.
    const moved = leases.filter((lease) => lease === leases.at(-1)).length;
    t.ok(moved >= 105, `as many as one transaction takes, found ${moved}`);
  },
);

t.test('history compacted while a watcher is away: it gets the whole list', async (t) => {
  const etcd = await makeEtcd(t);
  const free = await open(t, etcdAt(etcd.address, '', 1));
  const cut = await open(t, etcdAt(etcd.other, '', 1));
  follow(t, cut);
  await free.registry.join(request(1));
  await free.registry.join(request(2));
  await told(cut, 'two', (state) => state.members.length === 2);
  await cutOff(etcd);
  await until('it noticed', () => cut.events.length === 1);
  await free.registry.leave('pods', 'host-1');
  await free.registry.join(request(3));
  const status = JSON.parse(await etcd.etcdctl('endpoint', 'status', '-w', 'json'));
  await etcd.etcdctl('compaction', String(status[0].Status.header.revision), '--physical');
  await reconnect();
  const state = await told(cut, 'the whole list', (state) => hosts(state).join() === 'host-2,host-3');
  t.equal(state.members.length, 2);
  await free.registry.join(request(4));
  await told(cut, 'and it follows on', (state) => state.members.length === 3);
  t.match(cut.events, [/^lost/, /^found$/]);
});

/** Only clients that ask the other address feel it: etcd itself is well. */
async function cutOff({ other }: Etcd): Promise<void> {
  const [address] = other.split(':');
  await exec('nft', ['-f', '-'], {
    input: `table inet cut { chain out { type filter hook output priority 0; ip daddr ${address} drop; ip saddr ${address} drop; }; }`,
  });
}

async function reconnect(): Promise<void> {
  await exec('nft', ['delete', 'table', 'inet', 'cut']);
}
