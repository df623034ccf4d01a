/** Tunnels between hosts' subnets (L3): packets, and what other programs see. */
import t from 'tap';
import { execIn, ip, ping } from '../support/host.ts';
import { container, makeWire, run, stateOf, vxlanNetwork } from './wire.ts';

t.test('containers of two hosts reach each other through the tunnel', async (t) => {
  const wire = await makeWire(t);
  const hosts = [await wire.host(1), await wire.host(2)];
  const [one, two] = hosts as [(typeof hosts)[0], (typeof hosts)[0]];
  const state = stateOf(hosts);
  const [r1] = await run(t, vxlanNetwork(), hosts, state);
  t.same(r1?.failures, []);
  t.equal(r1?.reports[0]?.mtu, 1450);

  for (const h of hosts) {
  }
  const c1 = await container(t, one, {
    addresses: ['10.244.1.5/24', 'fd00:244:0:1::5/64'],
    gateways: ['10.244.1.1/24', 'fd00:244:0:1::1/64'],
    mtu: 1450,
  });
  const c2 = await container(t, two, {
    addresses: ['10.244.2.5/24', 'fd00:244:0:2::5/64'],
    gateways: ['10.244.2.1/24', 'fd00:244:0:2::1/64'],
    mtu: 1450,
  });
  t.ok(await ping(c1, '10.244.2.5'));
  t.ok(await ping(c2, '10.244.1.5'));
  t.ok(await ping(c1, 'fd00:244:0:2::5'));
  t.ok(await ping(one.netns, '10.244.2.5'), 'host to a remote container');
  t.ok(await ping(one.netns, 'fd00:244:0:2::5'), 'host to a remote container');
});
