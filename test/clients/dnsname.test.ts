/** Podman's networks as it makes them by default, with dnsname: containers find each other by name, and the rest of the world. */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import * as dns from 'dns-packet';
import t from 'tap';
import { startAgent } from '../support/agent.ts';
import { execIn, links, makeHost, makeOutside, OUTSIDE } from '../support/host.ts';
import { fillBin, pluginsUnderTest } from '../support/plugins.ts';
import { until } from '../support/until.ts';
import { setUpPodman } from './podman.ts';

t.test('podman with names', async (t) => {
  const host = await makeHost(t);
  const outside = await makeOutside(t, host);
  await fillBin(host);
  const { podman, run, inspect } = await setUpPodman(t, host);
  // The host's resolver is elsewhere, and knows one name.
  await host.exec('sh', ['-c', `echo nameserver ${OUTSIDE.v4} >/etc/resolv.conf`]);
  await host.daemon('resolver', 'nsenter', [
    ...[`--net=${outside}`, '--', 'dnsmasq', '--keep-in-foreground', '--conf-file=/dev/null', '--user=root'],
    ...['--no-resolv', '--no-hosts', '--bind-interfaces', `--listen-address=${OUTSIDE.v4}`],
    ...[`--pid-file=${join(host.root, 'resolver.pid')}`, '--address=/world.example/192.0.2.99'],
  ]);
  await podman('network', 'create', '--subnet', '10.79.0.0/24', '--ipv6', '--subnet', 'fd00:79::/64', 'blue');
  t.match(await inspect('network', 'blue'), { dns_enabled: true }, 'Podman sees the plugin');

  const before = await links(host.netns);
  await run('--name', 'early', '--network', 'blue');
  t.match(
    await podman('exec', 'early', 'cat', '/etc/resolv.conf'),
    new RegExp(`^nameserver ${OUTSIDE.v4}$`, 'm'),
    "no agent: it asks the host's name server",
  );
  await podman('rm', '--force', '--time', '0', 'early');
  t.same(
    (await links(host.netns)).filter((link) => link.startsWith('veth')),
    before.filter((link) => link.startsWith('veth')),
    'nothing is left',
  );

  const agent = await startAgent(host, { bin: pluginsUnderTest() });
  await run('--name', 'one', '--network', 'blue');
  await run('--name', 'Two', '--network', 'blue', '--network-alias', 'db');
  const addressesOf = async (name: string) =>
    Object.values((await inspect('container', name)).NetworkSettings.Networks).map((network) => {
      const { IPAddress, GlobalIPv6Address } = network as Record<string, string>;
      return { A: IPAddress, AAAA: GlobalIPv6Address };
    })[0];
  const two = await addressesOf('Two');
  t.match(
    await podman('exec', 'one', 'cat', '/etc/resolv.conf'),
    /^search dns\.podman\nnameserver 10\.79\.0\.1\nnameserver fd00:79::1/,
  );
  /** By busybox in the container, as its resolv.conf says. */
  const lookUp = async (name: string, type = 'A') => {
    const said = await podman('exec', 'one', 'busybox', 'nslookup', `-type=${type}`, name).catch(String);
    return /(?:Address|name):?\s(?:= )?(\S+)\s*$/i.exec(said)?.[1] ?? /NXDOMAIN|SERVFAIL/.exec(said)?.[0];
  };
  for (const name of ['two', 'TWO.dns.podman', 'db', 'db.dns.podman']) {
    t.equal(await lookUp(name), two?.A, name);
    t.equal(await lookUp(name, 'AAAA'), two?.AAAA, `${name} by IPv6`);
  }
  t.match(await podman('exec', 'one', 'busybox', 'nslookup', two?.A ?? ''), /name = two\.dns\.podman/);
  t.equal(await lookUp('nobody.dns.podman'), 'NXDOMAIN');
  t.equal(await lookUp('world.example'), '192.0.2.99', "the rest is asked of the host's resolver");

  // By TCP, from the container's namespace.
  const { SandboxKey } = (await inspect('container', 'one')).NetworkSettings;
  const ask = async (name: string) => {
    const query = dns.streamEncode({ type: 'query', id: 7, questions: [{ type: 'A', name }] });
    const octal = [...query].map((byte) => `\\${byte.toString(8).padStart(3, '0')}`).join('');
    const length = "$((16#$(timeout 10 head -c 2 <&3 | od -An -tx1 | tr -d ' ')))";
    const read = `timeout 10 head -c ${length} <&3 | od -An -v -tx1`;
    const script = `exec 3<>/dev/tcp/10.79.0.1/53; printf '${octal}' >&3; ${read}`;
    const { stdout } = await execIn(host.seenFromMachine(SandboxKey), 'bash', ['-c', script]);
    return dns.decode(Buffer.from(stdout.replace(/\s/g, ''), 'hex')).answers;
  };
  t.match(await ask('two'), [{ type: 'A', data: two?.A }], 'by TCP');
  t.match(await ask('world.example'), [{ type: 'A', data: '192.0.2.99' }], 'by TCP, of others');

  await agent.signal('KILL');
  await agent.ended();
  await startAgent(host, { bin: pluginsUnderTest(), name: 'agent-2' });
  await until('the next agent answers', async () => (await lookUp('db')) === two?.A);
  await podman('rm', '--force', '--time', '0', 'Two');
  await until('the name is gone', async () => (await lookUp('two.dns.podman')) === 'NXDOMAIN');
  await podman('rm', '--force', '--time', '0', 'one');
  const left = (await readdir(join(host.dirs.run, 'names'))).filter((name) => name.endsWith('.json'));
  t.same(left, []);
});
