/** DHCP leases over time, with a server in memory. */
import { readdirSync } from 'node:fs';
import t from 'tap';
import { type Attempt, Renewer } from '../../agent/dhcp/renewer.ts';
import { dhcpIpam } from '../../ipam/dhcp/dhcp.ts';
import { againAt, dueOf, expiryOf, type Lease, needOf } from '../../ipam/dhcp/lease.ts';
import { OPTION, TYPE } from '../../ipam/dhcp/message.ts';
import { leaseFolder, leaseOf } from '../../ipam/dhcp/store.ts';
import { FakeNetwork, generous, SERVER } from '../ipam/dhcp-server.ts';
import { conf, request, type World, world } from '../ipam/support.ts';

const ask = (w: World) => request(w, conf({ type: 'dhcp' }), 'c1', { netns: '/run/netns/c1' });

const lease = (more: Partial<Lease> = {}): Lease => ({
  format: 'weft dhcp lease 1',
  ...{ network: 'net', containerId: 'c1', ifname: 'eth0', netns: '/n', sandbox: '4:1', boot: 'boot-1' },
  ...{ provided: [], requested: [], address: '10.7.0.50/24', routes: [], dns: {}, server: SERVER },
  ...{ serverMac: '0a580a070001', obtained: 1000, seconds: 800, t1: 400, t2: 700, ...more },
});

t.test('when what is to be done', async (t) => {
  const needs = [1399, 1400, 1699, 1700, 1799, 1800].map((now) => needOf(lease(), now)?.need);
  t.same(needs, [undefined, 'renew', 'renew', 'rebind', 'rebind', 'reboot']);
  t.equal(needOf(lease({ lost: 'why' }), 1001)?.need, 'anew');
  t.equal(needOf(lease({ seconds: null, t1: null, t2: null }), 1e9), undefined, 'a lease without end');
  t.same([dueOf(lease()), expiryOf(lease()), dueOf(lease({ t1: null }))], [1400, 1800, Infinity]);
  t.equal(againAt(lease(), 1700, 1400), 1550, 'half of what is left');
  t.equal(againAt(lease(), 1700, 1630), 1690, 'but a minute at least');
  t.equal(againAt(lease(), 1700, 1690), 1700, 'and no later than the next way begins');
  t.equal(againAt(lease({ t1: 4 }), Infinity, 2000), 2001, 'short leases are asked for more often');
});

t.test('renewal', async (t) => {
  const w = world(t);
  const folder = leaseFolder(w.runDir);
  const network = new FakeNetwork(generous('10.7.0.50', 800));
  const attempts: Pick<Attempt, 'outcome' | 'repeated'>[] = [];
  let told = () => {};
  const renewer = new Renewer({
    ...{ folder, host: network.host, lock: w.ambient.lock },
    hooks: {
      attempted: ({ outcome, repeated }) => {
        attempts.push({ outcome, repeated });
        told();
      },
      failed: (error) => t.fail(String(error)),
    },
  });
  t.teardown(() => renewer.close());
  const current = () => leaseOf(folder, 'net', { containerId: 'c1', ifname: 'eth0' }, 'boot-1');
  /** At that time, the next attempt. */
  const at = async (time: number) => {
    network.time = time;
    network.asked.length = 0;
    const over = new Promise<void>((resolve) => {
      told = resolve;
    });
    renewer.look();
    await over;
    return attempts.at(-1);
  };
  await dhcpIpam(network.host).add(ask(w));
  network.time = 1399;
  renewer.look();
  t.same(attempts, [], 'it is not due');

  t.match(await at(1400), { outcome: 'renewed' });
  t.match(network.asked, [{ ciaddr: '10.7.0.50', from: '10.7.0.50', to: SERVER, toMac: '0a580a070001' }]);
  t.notOk(network.asked[0]?.options.has(OPTION.server), 'RFC 2131, table 4');
  t.match(current(), { obtained: 1400, address: '10.7.0.50/24' });

  network.behaviour = () => undefined;
  t.match(await at(1800), { outcome: 'unanswered', repeated: false });
  t.match(await at(1950), { outcome: 'unanswered', repeated: true });
  t.same(network.said, ['request 10.7.0.50 - 10.7.0.1', 'request 10.7.0.50 - 10.7.0.1']);
  t.match(await at(2150), { outcome: 'unanswered' });
  t.equal(network.said[0], 'request 10.7.0.50 - 255.255.255.255', 'any server');
  t.match(await at(2201), { outcome: 'expired', repeated: false });
  t.same(
    [network.said[0], network.said[2]],
    ['request 0.0.0.0 10.7.0.50 255.255.255.255', 'discover 0.0.0.0 10.7.0.50 255.255.255.255'],
  );
  t.match(renewer.leases(), [{ address: '10.7.0.50/24', obtained: 1400 }], 'the container keeps it');
  network.behaviour = generous('10.7.0.50', 800);
  t.match(await at(2270), { outcome: 'renewed' });

  // The server refuses, and has another address to give.
  network.behaviour = (asked) =>
    asked.ciaddr === '0.0.0.0'
      ? generous('10.7.0.60')({ ...asked, requested: undefined })
      : { type: TYPE.nak };
  t.match(await at(2670), { outcome: 'lost', repeated: false });
  t.match(current(), { lost: /offers 10\.7\.0\.60, not 10\.7\.0\.50/ });
  await t.rejects(dhcpIpam(network.host).check(ask(w)), {
    code: 101,
    message: /took 10\.7\.0\.50\/24 back/,
  });
  t.match(await at(2740), { outcome: 'lost', repeated: true });
  network.behaviour = generous('10.7.0.50', 800);
  t.match(await at(2810), { outcome: 'renewed' });
  t.equal(current()?.lost, undefined);

  network.broken = new Error('no namespace');
  t.match(await at(3300), { outcome: 'gone' });
  t.ok(current());
  t.match(await at(9000), { outcome: 'gone' });
  t.equal(current(), undefined, 'forgotten when its time is over');
  renewer.look();
  t.same(renewer.leases(), []);
});

t.test('a lease that is given back is not written again', async (t) => {
  const w = world(t);
  const network = new FakeNetwork(generous('10.7.0.50', 800));
  const ipam = dhcpIpam(network.host);
  await ipam.add(ask(w));
  const folder = leaseFolder(w.runDir);
  let deleted: Promise<unknown> | undefined;
  network.behaviour = (asked) => {
    if (asked.type === TYPE.request) deleted ??= ipam.del(ask(w));
    return generous('10.7.0.50', 800)(asked);
  };
  const outcome = await new Promise((resolve) => {
    const renewer = new Renewer({
      ...{ folder, host: network.host, lock: w.ambient.lock },
      hooks: { attempted: (attempt) => resolve(attempt.outcome), failed: (error) => t.fail(String(error)) },
    });
    t.teardown(() => renewer.close());
    network.time = 1500;
    renewer.look();
  });
  await deleted;
  t.equal(outcome, 'gone');
  t.same(
    readdirSync(folder).filter((name) => name.endsWith('.json')),
    [],
  );
});
