/** Links without a bridge: ptp and macvlan, as the plugins make them; and what other programs do to such a host. */
import t from 'tap';
import { makeWorld } from '../plugins/world.ts';
import { execIn, makeOutside, OUTSIDE, UPLINK } from '../support/host.ts';
import { foresee, outcome, pings } from './trace-lab.ts';

const ranges = [[{ subnet: '10.5.0.0/24' }], [{ subnet: 'fd00:5::/64' }]];
const PTP = {
  ...{ cniVersion: '1.1.0', name: 'p2p', type: 'ptp', ipMasq: true },
  ipam: { type: 'host-local', ranges, routes: [{ dst: '0.0.0.0/0' }, { dst: '::/0' }] },
};
const macvlan = (address: string) => ({
  ...{ cniVersion: '1.1.0', name: 'flat', type: 'macvlan', master: 'uplink', mode: 'bridge' },
  ipam: { type: 'static', addresses: [{ address: `${address}/24` }] },
});

t.test('ptp and macvlan', async (t) => {
  const world = await makeWorld(t);
  const outside = await makeOutside(t, world.host);
  const host = world.host.netns;
  const containers = await Promise.all(Array.from({ length: 4 }, () => world.container()));
  const [a = '', b = '', c = '', d = ''] = containers.map(({ netns }) => netns);
  for (const [i, one] of containers.entries())
    await world.add(i < 2 ? PTP : macvlan(`198.51.100.${75 + i}`), one);
  const same = async (from: string, to: string, expected: string, why?: RegExp) => {
    const places: Record<string, string> = { host, outside };
    const foreseen = await foresee(world.host, from, to);
    const { there, back } = foreseen;
    const what = `${from.replace(/.*-/, '')} to ${to}`;
    const end = there.outcome === 'delivered' ? (back ?? there) : there;
    t.equal(outcome(foreseen), expected, `${what}: ${end.why}`);
    if (why) t.match(end.why, why, what);
    const arrives = expected === 'delivered';
    t.equal(await pings(places[from] ?? from, to, arrives ? 20 : 0.25), arrives, `${what}: ping agrees`);
  };
  await same(a, '10.5.0.3', 'delivered');
  await same(a, 'fd00:5::3', 'delivered');
  await same(a, OUTSIDE.v4, 'delivered');
  await same(a, OUTSIDE.v6, 'delivered');
  await same(c, '198.51.100.78', 'delivered');
  await same(c, OUTSIDE.v4, 'delivered');
  await same('outside', '198.51.100.77', 'delivered');
  await same('host', '198.51.100.77', 'lost', /nobody there has that address/);
  await same(d, UPLINK.v4, 'lost', /nobody there has that address/);
  await execIn(host, 'iptables-legacy', ['-A', 'FORWARD', '-d', OUTSIDE.v4, '-j', 'DROP']);
  await same(a, OUTSIDE.v4, 'dropped', /chain FORWARD of table ip filter \(iptables-legacy\)/);
  await execIn(host, 'iptables-legacy', ['-F', 'FORWARD']);
  await execIn(host, 'nft', ['flush', 'ruleset']);
  await same(a, OUTSIDE.v4, 'delivered/rejected', /has no route to 10\.5\.0\.2.*masquerade the network/);
  await execIn(b, 'ip', ['route', 'del', 'default']);
  await same(b, OUTSIDE.v4, 'rejected', /has no route to 198\.51\.100\.2/);
  await execIn(host, 'sysctl', ['-qw', 'net.ipv6.conf.all.forwarding=0']);
  await same(a, 'fd00:5::3', 'dropped', /net\.ipv6\.conf\.all\.forwarding=1/);
});
