import t from 'tap';
import { addAddress } from '../../netlink/address.ts';
import { createBridge } from '../../netlink/link.ts';
import * as route from '../../netlink/route.ts';
import { ask, namespaceFor, refused } from './support.ts';

t.test('routes of both families, with everything a result may ask for', async (t) => {
  const { ns, json } = await namespaceFor(t);
  const { index: link } = await ask(ns, createBridge({ name: 'br0', up: true }));
  await ns.send(
    addAddress({ link, address: '10.1.0.2/24' }),
    addAddress({ link, address: 'fd00::2/64', noDad: true }),
    route.addRoute({ dst: '0.0.0.0/0', gateway: '10.1.0.1' }),
    route.addRoute({
      dst: '10.9.0.0/16',
      gateway: '10.1.0.1',
      link,
      mtu: 1300,
      advmss: 1200,
      priority: 7,
      source: '10.1.0.2',
    }),
    route.addRoute({
      dst: '10.8.0.0/16',
      gateway: '10.66.0.1',
      link,
      onlink: true,
      table: 1000,
      protocol: route.RTPROT_STATIC,
    }),
    route.addRoute({ dst: '10.7.0.1/32', link, scope: route.RT_SCOPE_LINK, table: 100 }),
    route.addRoute({ dst: '::/0', gateway: 'fd00::1', mtu: 1280 }),
    route.addRoute({ dst: 'fd09::/16', gateway: 'fd00::1', table: 1000, priority: 3 }),
  );
  const all = json('ip', '-j', '-d', 'route', 'show', 'table', 'all');
  const four = (dst: string) => all.find((one) => one.dst === dst);
  t.match(four('default'), { gateway: '10.1.0.1', dev: 'br0', protocol: 'boot', scope: 'global' });
  t.match(four('10.9.0.0/16'), { metric: 7, prefsrc: '10.1.0.2', metrics: [{ mtu: 1300, advmss: 1200 }] });
  t.match(four('10.8.0.0/16'), {
    table: '1000',
    protocol: 'static',
    flags: ['onlink'],
    gateway: '10.66.0.1',
  });
  t.match(four('10.7.0.1'), { table: '100', scope: 'link' });
  const six = json('ip', '-6', '-j', '-d', 'route', 'show', 'table', 'all');
  t.match(
    six.find((one) => one.dst === 'default'),
    { gateway: 'fd00::1', metrics: [{ mtu: 1280 }] },
  );
  t.match(
    six.find((one) => one.dst === 'fd09::/16'),
    { table: '1000', metric: 3 },
  );

  const [found] = await ask(ns, route.listRoutes({ family: 2, table: 1000 }));
  t.match(found, { dst: '10.8.0.0/16', gateway: '10.66.0.1', onlink: true, table: 1000, protocol: 4, link });
  t.equal((await ask(ns, route.listRoutes({ table: 1000 }))).length, 2);
  t.equal((await ask(ns, route.listRoutes({ family: 2, protocol: route.RTPROT_STATIC }))).length, 1);
  t.equal((await ask(ns, route.listRoutes({ family: 10, link: 1 }))).length, 0);
  const main = await ask(ns, route.listRoutes({ family: 2, table: route.RT_TABLE_MAIN }));
  t.match(
    main.find(({ dst }) => dst === '10.9.0.0/16'),
    { mtu: 1300, advmss: 1200, priority: 7, source: '10.1.0.2' },
  );
  t.equal((await refused(ns, route.listRoutes({ family: 2, table: 4711 }))).errno, 'ENOENT');

  t.match(await ask(ns, route.lookupRoute('192.0.2.1')), { gateway: '10.1.0.1', link, source: '10.1.0.2' });
  t.match(await ask(ns, route.lookupRoute('fd00::77')), { link });
});

t.test('routes are replaced and deleted', async (t) => {
  const { ns, json } = await namespaceFor(t);
  const { index: link } = await ask(ns, createBridge({ name: 'br0', up: true }));
  await ns.send(
    addAddress({ link, address: '10.1.0.2/24' }),
    route.addRoute({ dst: '0.0.0.0/0', gateway: '10.1.0.1' }),
  );
  t.equal((await refused(ns, route.addRoute({ dst: '0.0.0.0/0', gateway: '10.1.0.3' }))).errno, 'EEXIST');
  await ns.send(route.replaceRoute({ dst: '0.0.0.0/0', gateway: '10.1.0.3' }));
  t.equal(json('ip', '-j', 'route', 'show', 'default')[0]?.gateway, '10.1.0.3');
  await ns.send(route.deleteRoute({ dst: '0.0.0.0/0' }));
  t.equal((await refused(ns, route.deleteRoute({ dst: '0.0.0.0/0' }))).errno, 'ESRCH');
  t.equal((await refused(ns, route.lookupRoute('192.0.2.1'))).errno, 'ENETUNREACH');
  await ns.send(route.addRoute({ dst: '192.0.2.0/24', type: 6 }));
  t.match(json('ip', '-j', '-d', 'route', 'show', '192.0.2.0/24')[0], { type: 'blackhole' });
  t.throws(() => route.addRoute({ dst: '10.1.0.5/24', link }), /want host bits of 0/);
});
