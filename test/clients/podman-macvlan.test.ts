/** Podman's other driver: containers on a link of the host, by the macvlan plugin. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { wayUnderTest } from '../support/agent.ts';
import { makeSegment } from '../support/dhcp-server.ts';
import { cachedResults, execIn, ip, leases, links, makeHost, ping } from '../support/host.ts';
import { calls, expectWay, fillBin } from '../support/plugins.ts';
import { setUpPodman } from './podman.ts';

t.test('podman network create -d macvlan', async (t) => {
  const host = await makeHost(t);
  const h = host.netns;
  await execIn(h, 'ip', 'link add lan0 up type veth peer name lan1'.split(' '));
  await execIn(h, 'ip', ['link', 'set', 'lan1', 'up']);
  await execIn(h, 'ip', ['addr', 'add', '10.83.0.1/24', 'dev', 'lan1']);
  await fillBin(host, { record: true });
  const { podman, run, inspect } = await setUpPodman(t, host);
  const create = [
    'network',
    'create',
    '--disable-dns',
    '-d',
    'macvlan',
    '-o',
    'parent=lan0',
    '-o',
    'mtu=1400',
  ];
  await podman(...create, '--subnet', '10.83.0.0/24', '--ipv6', '--subnet', 'fd00:83::/64', 'lan');
  t.match(await podman('network', 'ls', '--format', '{{.Name}}'), /^lan$/m);
  const { plugins } = JSON.parse(await readFile(join(host.dirs.conf, 'lan.conflist'), 'utf8'));
  t.match(plugins[0], { type: 'macvlan', master: 'lan0' });

  const mac = '02:11:22:33:83:02';
  await run('--name', 'one', '--network', 'lan');
  await run('--name', 'two', '--network', 'lan', '--ip', '10.83.0.50', '--mac-address', mac);
  const seen = await Promise.all(
    ['one', 'two'].map(async (name) => (await inspect('container', name)).NetworkSettings),
  );
  const netns = seen.map(({ SandboxKey }) => host.seenFromMachine(SandboxKey));
  t.match(seen[1].Networks.lan, { IPAddress: '10.83.0.50', MacAddress: mac });
  const [eth0] = await ip(netns[0] ?? '', '-d', 'link', 'show', 'dev', 'eth0');
  t.match(eth0, { address: seen[0].Networks.lan.MacAddress, mtu: 1400, linkinfo: { info_kind: 'macvlan' } });
  t.ok(await ping(netns[0] ?? '', '10.83.0.50'), 'they reach each other');
  t.ok(await ping(netns[0] ?? '', seen[1].Networks.lan.GlobalIPv6Address), 'over IPv6, too');
  t.ok(await ping(netns[1] ?? '', '10.83.0.1'), 'and what else is on the link');
  const made = (await calls(host)).filter(({ type, command }) => type === 'macvlan' && command === 'ADD');
  t.equal(made.length, 2);

  await podman('rm', '--force', '--time', '0', 'one', 'two');
  t.strictSame(await leases(host), []);
  t.strictSame(await cachedResults(host), []);
  await podman('network', 'rm', 'lan');
  t.strictSame(await links(h), ['lan0', 'lan1', 'lo']);

  const way = wayUnderTest();
  const needsAgent = way !== 'agent' && way !== 'mixed' && 'leases need an agent, which renews them';
  await t.test(
    'without a subnet, addresses are those of the DHCP server',
    { skip: needsAgent },
    async (t) => {
      const segment = await makeSegment(host, 'br7');
      await segment.start('dnsmasq', ['--dhcp-range=10.7.0.50,10.7.0.99,255.255.255.0,120']);
      await podman('network', 'create', '--disable-dns', '-d', 'macvlan', '-o', 'parent=br7', 'leased');
      await run('--name', 'three', '--network', 'leased');
      const { Networks, SandboxKey } = (await inspect('container', 'three')).NetworkSettings;
      t.match(Networks.leased, { IPAddress: /^10\.7\.0\.[5-9]\d$/, Gateway: '10.7.0.1' });
      t.ok(await ping(host.seenFromMachine(SandboxKey), '10.7.0.1'));
      await podman('rm', '--force', '--time', '0', 'three');
      await podman('network', 'rm', 'leased');
    },
  );
  await expectWay(t, host);
});
