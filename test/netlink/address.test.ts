import t from 'tap';
import * as address from '../../netlink/address.ts';
import { createBridge } from '../../netlink/link.ts';
import { ask, namespaceFor, refused } from './support.ts';

t.test('addresses come and go as ip sees them', async (t) => {
  const { ns, json } = await namespaceFor(t);
  const { index: link } = await ask(ns, createBridge({ name: 'br0', up: true }));
  await ns.send(
    address.addAddress({ link, address: '10.1.0.1/24' }),
    address.addAddress({ link, address: '10.2.0.1/24', broadcast: '10.2.0.255', noPrefixRoute: true }),
    address.addAddress({ link, address: 'fd00::1/64', noDad: true }),
    address.addAddress({ link, address: 'fd01::1/64', noDad: true, noPrefixRoute: true }),
  );
  const [seen] = json('ip', '-j', 'address', 'show', 'br0') as [{ addr_info: Record<string, unknown>[] }];
  const of = (local: string) => seen.addr_info.find((one) => one.local === local);
  t.match(of('10.1.0.1'), { prefixlen: 24, scope: 'global', broadcast: undefined });
  t.match(of('10.2.0.1'), { broadcast: '10.2.0.255', noprefixroute: true });
  t.match(of('fd00::1'), { prefixlen: 64, nodad: true, tentative: undefined });
  t.match(of('fd01::1'), { noprefixroute: true });

  const mine = await ask(ns, address.listAddresses({ link }));
  t.same(
    mine
      .map(({ cidr }) => cidr)
      .filter((cidr) => !cidr.startsWith('fe80'))
      .sort(),
    ['10.1.0.1/24', '10.2.0.1/24', 'fd00::1/64', 'fd01::1/64'],
  );
  t.match(
    mine.find(({ address }) => address === 'fd01::1'),
    { noPrefixRoute: true, tentative: false, family: 10 },
  );
  t.same((await ask(ns, address.listAddresses({ link: 1 }))).length, 0, 'the loopback has none yet');
  t.equal((await ask(ns, address.listAddresses({ link, family: 2 }))).length, 2);

  t.equal((await refused(ns, address.addAddress({ link, address: '10.1.0.1/24' }))).errno, 'EEXIST');
  await ns.send(address.replaceAddress({ link, address: '10.1.0.1/24' }));
  await ns.send(address.deleteAddress(link, '10.1.0.1/24'), address.deleteAddress(link, 'fd00::1/64'));
  t.equal((await refused(ns, address.deleteAddress(link, '10.1.0.1/24'))).errno, 'EADDRNOTAVAIL');
  t.notMatch(JSON.stringify(json('ip', '-j', 'address')), /"(10\.1\.0\.1|fd00::1)"/);
});

t.test('an optimistic address may be used while detection runs', async (t) => {
  const { ns, run } = await namespaceFor(t);
  run('sysctl', '-qw', 'net.ipv6.conf.all.optimistic_dad=1', 'net.ipv6.conf.all.use_optimistic=1');
  const { index: link } = await ask(ns, createBridge({ name: 'br0', up: true }));
  await ns.send(address.addAddress({ link, address: 'fd00::1/64', optimistic: true }));
  const found = (await ask(ns, address.listAddresses({ link }))).find((one) => one.address === 'fd00::1');
  t.match(found, { optimistic: true });
});

t.test('what is no address is refused by name', async (t) => {
  for (const wrong of [
    '10.0.0.1/33',
    '10.0.0/8',
    'fd00::1/129',
    '10.0.0.1/',
    'x/8',
    'fe80::1%eth0/64',
    '1.2.3.4/8/8',
    '',
  ]) {
    t.throws(() => address.addAddress({ link: 1, address: wrong }), RangeError, wrong);
  }
});
