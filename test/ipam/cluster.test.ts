/** cluster's addresses: out of what the membership has, whatever the registry does. No root. */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import t from 'tap';
import { capacityOf } from '../../ipam/cluster/capacity.ts';
import { cluster } from '../../ipam/cluster/cluster.ts';
import { type Membership, membershipFile, writeMembership } from '../../ipam/cluster/membership.ts';
import { conf, errorOf, leaseFiles, NETWORK, request, resultOf, type World, world } from './support.ts';

function join(w: World, more: Partial<Membership> = {}): void {
  writeMembership(w.ambient.paths.cacheDir, {
    ...{ network: NETWORK, host: 'one', borrowed: [], mtu: 1450 },
    ...{ subnets: ['10.244.3.0/29'], pools: ['10.244.0.0/16'] },
    ...more,
  });
}

const cfg = (ipam: object = {}, more: object = {}) => conf({ type: 'cluster', ...ipam }, more);
const STRETCHED = cfg({ layout: 'stretched' });

async function take(w: World, config = cfg(), id = 'c1', more = {}): Promise<string[]> {
  const { ips } = await cluster.add(request(w, config, id, more));
  return ips.map(({ address, gateway }) => (gateway === undefined ? address : `${address} ${gateway}`));
}

async function fill(w: World, config = cfg(), from = 1): Promise<string[]> {
  const taken: string[] = [];
  for (let n = from; ; n++) {
    try {
      taken.push(...(await take(w, config, `c${n}`)));
    } catch {
      return taken;
    }
  }
}

t.test('a subnet of this host: its first address is the gateway, the last is broadcast', async (t) => {
  const w = world(t);
  join(w);
  t.same(await fill(w), [
    '10.244.3.2/29 10.244.3.1',
    '10.244.3.3/29 10.244.3.1',
    '10.244.3.4/29 10.244.3.1',
    '10.244.3.5/29 10.244.3.1',
    '10.244.3.6/29 10.244.3.1',
  ]);
  t.match(await errorOf(() => take(w, cfg(), 'c9')), {
    code: 11,
    message: /every address of this host is taken \(10\.244\.3\.0\/29 of network net\): remove containers/,
  });
  t.match(await errorOf(() => cluster.status(request(w, cfg()))), { code: 50, message: /is taken/ });
  await cluster.del(request(w, cfg(), 'c3'));
  await cluster.status(request(w, cfg()));
  t.same(await take(w, cfg(), 'c9'), ['10.244.3.4/29 10.244.3.1']);
});

t.test('both families, routes, and the same address for an ADD that is repeated', async (t) => {
  const w = world(t);
  join(w, { subnets: ['10.244.3.0/24', 'fd00:0:0:3::/64'], pools: ['10.244.0.0/16', 'fd00::/48'] });
  const config = cfg({ routes: [{ dst: '192.0.2.0/24', mtu: 1400 }] });
  const first = await cluster.add(request(w, config));
  t.same(first, {
    ips: [
      { address: '10.244.3.2/24', gateway: '10.244.3.1' },
      { address: 'fd00:0:0:3::2/64', gateway: 'fd00:0:0:3::1' },
    ],
    routes: [{ dst: '192.0.2.0/24', mtu: 1400 }],
    dns: {},
  });
  t.same(await cluster.add(request(w, config)), { ...first, adopted: true });
  t.same(leaseFiles(w), ['10.244.3.2', 'fd00:0:0:3::2']);
});

t.test('single addresses have no gateway, and the subnet keeps only its ends', async (t) => {
  const w = world(t);
  join(w);
  const all = await fill(w, cfg({ layout: 'single' }));
  t.same([all.length, all[0], all.at(-1)], [6, '10.244.3.1/32', '10.244.3.6/32']);
});

t.test('an address that is asked for', async (t) => {
  const w = world(t);
  join(w);
  t.same(await take(w, cfg(), 'c1', { args: { IP: '10.244.3.4' } }), ['10.244.3.4/29 10.244.3.1']);
  t.same(await take(w, cfg({}, { runtimeConfig: { ips: ['10.244.3.5/24'] } }), 'c2'), [
    '10.244.3.5/29 10.244.3.1',
  ]);
  const refused: [string, object][] = [
    ['10.244.3.4', { code: 104, message: /10\.244\.3\.4 is held by container c1/ }],
    ['10.244.3.1', { code: 7, message: /10\.244\.3\.1 is a gateway, network or broadcast address/ }],
    [
      '10.244.9.9',
      { code: 7, message: /10\.244\.9\.9 is in no range; there are 10\.244\.3\.0-10\.244\.3\.7/ },
    ],
  ];
  for (const [IP, wanted] of refused) {
    t.match(await errorOf(() => take(w, cfg(), 'c3', { args: { IP } })), wanted, IP);
  }
  t.match(await errorOf(() => take(w, cfg({}, { runtimeConfig: { ips: ['me'] } }), 'c3')), { code: 7 });
});

t.test('a stretched subnet: blocks one after the other, then what is borrowed', async (t) => {
  const w = world(t);
  join(w, {
    subnets: ['10.244.0.0/30', '10.244.8.4/31'],
    borrowed: ['10.244.9.9', '10.244.8.5'],
    away: ['10.244.0.3'],
  });
  t.same(await take(w, STRETCHED), ['10.244.0.2/16 10.244.0.1']);
  t.same(await take(w, STRETCHED, 'c2'), ['10.244.8.4/16 10.244.0.1']);
  t.same(await take(w, STRETCHED, 'c3'), ['10.244.8.5/16 10.244.0.1'], 'once, though it is borrowed as well');
  t.same(await take(w, STRETCHED, 'c4'), ['10.244.9.9/16 10.244.0.1']);
  await cluster.del(request(w, STRETCHED, 'c1'));
  await cluster.del(request(w, STRETCHED, 'c4'));
  t.same(await take(w, STRETCHED, 'c5'), ['10.244.0.2/16 10.244.0.1'], 'an own one before a borrowed one');
});

t.test('a stretched subnet: a container that moves here brings its address', async (t) => {
  const w = world(t);
  join(w, { subnets: ['10.244.0.64/26'], away: ['10.244.0.70'] });
  const asking = (ip: string) => ({ args: { IP: ip } });
  t.same(await take(w, STRETCHED, 'c1', asking('10.244.7.7')), ['10.244.7.7/16 10.244.0.1']);
  t.same(await take(w, STRETCHED, 'c1', asking('10.244.7.7')), ['10.244.7.7/16 10.244.0.1'], 'and again');
  await cluster.check(request(w, STRETCHED, 'c1', { prevResult: resultOf(['10.244.7.7/16']) }));
  t.same(await take(w, STRETCHED, 'c2'), ['10.244.0.64/16 10.244.0.1'], 'others do not get such');
  t.same(await take(w, STRETCHED, 'c4', asking('10.244.0.70')), ['10.244.0.70/16 10.244.0.1'], 'back home');
  const refused: [string, RegExp][] = [
    ['10.244.0.1', /is a gateway, network or broadcast address/],
    ['10.244.255.255', /is a gateway, network or broadcast address/],
    ['10.245.0.1', /is in no range/],
  ];
  for (const [ip, message] of refused) {
    t.match(await errorOf(() => take(w, STRETCHED, 'c3', asking(ip))), { code: 7, message }, ip);
  }
});

t.test('a stretched subnet that is full waits for more', async (t) => {
  const w = world(t);
  join(w, { subnets: ['10.244.8.4/31'] });
  await take(w, STRETCHED, 'c1');
  await take(w, STRETCHED, 'c2');
  const waiting = take(w, STRETCHED, 'c3');
  const waitingToo = take(w, STRETCHED, 'c4');
  join(w, { subnets: ['10.244.8.4/31', '10.244.8.6/31'] });
  t.same((await Promise.all([waiting, waitingToo])).flat().sort(), [
    '10.244.8.6/16 10.244.0.1',
    '10.244.8.7/16 10.244.0.1',
  ]);
  t.match(await errorOf(() => take(w, STRETCHED, 'c5')), { code: 11, message: /every address/ });
});

t.test('without a membership: try again, while DEL, CHECK and GC work', async (t) => {
  const w = world(t);
  t.match(await errorOf(() => take(w)), {
    code: 11,
    message: /has not joined network net: start `weft agent/,
  });
  t.match(await errorOf(() => cluster.status(request(w, cfg()))), { code: 50, message: /has not joined/ });
  t.same(await cluster.del(request(w, cfg())), []);
  join(w);
  await take(w);
  await take(w, cfg(), 'c2');
  rmSync(membershipFile(w.ambient.paths.cacheDir, NETWORK));
  await cluster.check(request(w, cfg(), 'c1', { prevResult: resultOf(['10.244.3.2/29']) }));
  t.match(await errorOf(() => cluster.check(request(w, cfg(), 'c7'))), { code: 101 });
  t.same(await cluster.gc(request(w, cfg()), [{ containerId: 'c2', ifname: 'eth0' }]), ['10.244.3.2']);
  t.same(await cluster.del(request(w, cfg(), 'c2')), ['10.244.3.3']);
});

t.test('CHECK names who has the address', async (t) => {
  const w = world(t);
  join(w);
  await take(w);
  const check = (id: string) =>
    errorOf(() => cluster.check(request(w, cfg(), id, { prevResult: resultOf(['10.244.3.2/29']) })));
  t.match(await check('c1'), { code: 0 });
  t.match(await check('c2'), {
    code: 101,
    message:
      'address 10.244.3.2 is reserved for container c1 (eth0): wanted it reserved for container c2 (eth0)',
  });
});

t.test('what the registry no longer vouches for is not given out', async (t) => {
  const w = world(t);
  join(w, { validUntil: w.ambient.now() - 1, problem: 'etcd at http://127.0.0.1:2379 does not answer' });
  t.match(await errorOf(() => take(w)), {
    code: 11,
    message: /lapsed at .*\(etcd at http:\/\/127\.0\.0\.1:2379 does not answer\): see that `weft agent` runs/,
  });
  t.match(await errorOf(() => cluster.status(request(w, cfg()))), { code: 50, message: /lapsed/ });
  join(w, { validUntil: w.ambient.now() + 60_000, problem: 'etcd does not answer' });
  t.same(await take(w), ['10.244.3.2/29 10.244.3.1'], 'until then the addresses are ours');
  t.match(await errorOf(() => cluster.status(request(w, cfg()))), {
    code: 50,
    message: 'etcd does not answer',
  });
  join(w, { limited: true, problem: 'the tunnel cannot be made' });
  t.match(await errorOf(() => cluster.status(request(w, cfg()))), {
    code: 51,
    message: 'the tunnel cannot be made',
  });
});

t.test('a membership that is no good is named', async (t) => {
  const w = world(t);
  join(w, { subnets: [] });
  t.match(await errorOf(() => take(w)), {
    code: 11,
    message: /holds no part of 10\.244\.0\.0\/16 of network net yet/,
  });
  join(w, { subnets: ['what'] });
  t.match(await errorOf(() => take(w)), {
    code: 5,
    message: /is damaged, it has "what": restart `weft agent`/,
  });
  const file = membershipFile(w.ambient.paths.cacheDir, NETWORK);
  for (const text of [
    '',
    'null',
    '{"format":"weft membership 9"}',
    '{"format":"weft membership 1"}',
    '{"for',
  ]) {
    writeFileSync(file, text);
    t.match(await errorOf(() => take(w)), { code: 11, message: /has not joined/ }, JSON.stringify(text));
  }
  rmSync(file);
  mkdirSync(file);
  t.match(await errorOf(() => take(w)), { code: 5, message: /cannot be read from .*net\.json: EISDIR/ });
  t.same(await cluster.del(request(w, cfg())), []);
  t.ok(path.isAbsolute(file));
});

t.test('a configuration that cannot work is refused before anything is touched', async (t) => {
  const rows: [object, RegExp][] = [
    [cfg({ layout: 'ring' }), /ipam\.layout: found "ring", wanted one of "subnet", "stretched", "single"/],
    [cfg({ routes: [{ dst: '10.0.0.0/40' }] }), /ipam\.routes\[0\]\.dst: wanted a prefix/],
    [
      cfg({ routes: [{ dst: '::/0', gw: '10.0.0.1' }] }),
      /ipam\.routes\[0\]\.gw: wanted an address of the family/,
    ],
    [cfg({ routes: 'all' }), /ipam\.routes: found "all", wanted a list/],
  ];
  for (const [config, message] of rows) {
    t.match(await errorOf(() => cluster.validate(config as ReturnType<typeof cfg>)), { code: 7, message });
  }
});

t.test('how many addresses a host has', async (t) => {
  const w = world(t);
  const { cacheDir } = w.ambient.paths;
  t.equal(capacityOf(cacheDir, NETWORK, 'subnet'), undefined);
  join(w);
  t.same(capacityOf(cacheDir, NETWORK, 'subnet'), { 4: 5, 6: 0 });
  t.same(capacityOf(cacheDir, NETWORK, 'single'), { 4: 6, 6: 0 });
  join(w, { subnets: ['10.244.0.0/26'], borrowed: ['10.244.9.9', '10.244.0.5'], away: ['10.244.0.3'] });
  t.same(
    capacityOf(cacheDir, NETWORK, 'stretched'),
    { 4: 62, 6: 0 },
    '64, less two, less one that went away, and one',
  );
});
