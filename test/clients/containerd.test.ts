/** `ctr run --cni`: containerd's own tool executes the plugins, by configuration and executables in their usual places. */
import t from 'tap';
import { bridgeConflist, installConflist } from '../support/conflist.ts';
import {
  cachedResults,
  firewallLines,
  leases,
  links,
  makeHost,
  makeOutside,
  OUTSIDE,
} from '../support/host.ts';
import { IMAGE } from '../support/image.ts';
import { calls, expectWay, fillBin } from '../support/plugins.ts';
import { until } from '../support/until.ts';
import { startContainerd } from './containerd.ts';
import { collectGarbage } from './gc.ts';

t.test('ctr run --cni', async (t) => {
  const host = await makeHost(t);
  await makeOutside(t, host);
  await fillBin(host, { record: true });
  await installConflist(host, bridgeConflist());
  const { ctr } = await startContainerd(host, host.name);
  const ports = async () =>
    (await links(host.netns)).filter((name) => !['lo', 'uplink', 'weft0'].includes(name));

  await ctr(['run', '--detach', '--cni', IMAGE, 'peer']);
  const peer = { id: `${host.name}-peer`, addresses: ['10.77.0.2', 'fd00:77::2'] };
  const one = `${host.name}-one`;
  t.strictSame(await leases(host), ['weftnet/10.77.0.2', 'weftnet/fd00:77::2']);

  await t.test('a container reaches its gateway, its peer and the outside, then goes', async (t) => {
    const targets = ['10.77.0.1', 'fd00:77::1', ...peer.addresses, OUTSIDE.v4, OUTSIDE.v6];
    const script = `ip -o addr show eth0; for a in ${targets.join(' ')}; do for n in 1 2 3; do ping -c 1 -W 5 $a >/dev/null && echo "$a answers" && break; done; done`;
    const seen = await ctr(['run', '--rm', '--cni', IMAGE, 'one', 'sh', '-c', script]);
    t.match(seen, /inet 10\.77\.0\.3\/24 /);
    t.match(seen, /inet6 fd00:77::3\/64 /);
    for (const target of targets) t.ok(seen.includes(`${target} answers`), `${target} answers`);

    const del = (await calls(host)).filter((call) => call.containerId === one && call.command === 'DEL');
    t.match(del, [{ type: 'bridge', netns: '' }], 'DEL came when the namespace was gone');
    t.strictSame(
      await leases(host),
      ['weftnet/10.77.0.2', 'weftnet/fd00:77::2'],
      'only the peer keeps addresses',
    );
    t.strictSame(await cachedResults(host), [`weftnet-${peer.id}-eth0`]);
    t.equal((await ports()).length, 1);
    t.strictSame(await firewallLines(host.netns, one, '10.77.0.3', 'fd00:77::3'), []);
  });

  await t.test('a container that nobody takes off the network is collected', async (t) => {
    await ctr(['task', 'kill', '--signal', 'SIGKILL', 'peer']);
    await until('the task has stopped', async () => (await ctr(['task', 'ls'])).includes('STOPPED'));
    await ctr(['task', 'rm', 'peer']);
    await ctr(['container', 'rm', 'peer']);
    const del = (await calls(host)).filter((call) => call.containerId === peer.id && call.command === 'DEL');
    t.strictSame(del, [], 'ctr never calls DEL for a detached container');
    t.equal((await leases(host)).length, 2, 'so its addresses are still held');

    await collectGarbage(host, 'weftnet');
    t.strictSame(await leases(host), []);
    t.strictSame(await ports(), []);
    t.strictSame(await firewallLines(host.netns, peer.id, ...peer.addresses), []);
  });
  await expectWay(t, host);
});
