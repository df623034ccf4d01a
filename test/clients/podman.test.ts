/** Podman with its CNI backend, which writes the configurations (version 0.4.0, four plugins in a chain) itself. */
import t from 'tap';
import {
  cachedResults,
  execIn,
  firewallLines,
  type Host,
  ip,
  leases,
  links,
  makeHost,
  makeOutside,
  OUTSIDE,
  ping,
  SILENCE,
  UPLINK,
} from '../support/host.ts';
import { calls, expectWay, fillBin } from '../support/plugins.ts';
import { until } from '../support/until.ts';
import { setUpPodman } from './podman.ts';

/** Programs that listen on a port of TCP. */
async function held({ netns }: Host, port: number): Promise<string> {
  return (await execIn(netns, 'ss', ['-Hltnp', `sport = :${port}`])).stdout;
}

t.test('podman', async (t) => {
  const host = await makeHost(t);
  const outside = await makeOutside(t, host);
  await fillBin(host, { record: true });
  const { podman, run, inspect } = await setUpPodman(t, host);
  const settings = async (name: string) => {
    const { Networks, SandboxKey } = (await inspect('container', name)).NetworkSettings;
    return { networks: Networks, netns: host.seenFromMachine(SandboxKey) };
  };
  const isPort = (name: string) => name.startsWith('veth') || name.startsWith('weft');
  const ports = async () => (await links(host.netns)).filter(isPort);
  const subnets = ['--subnet', '10.79.0.0/24', '--ipv6', '--subnet', 'fd00:79::/64'];

  await t.test('it asks every plugin for its version', async (t) => {
    await podman('network', 'create', '--disable-dns', ...subnets, 'blue');
    await podman(
      'network',
      'create',
      '--disable-dns',
      '--internal',
      '-o',
      'mtu=1400',
      '--subnet',
      '10.80.0.0/24',
      'inner',
    );
    t.match(await podman('network', 'ls', '--format', '{{.Name}}'), /^blue$/m, 'and takes the network');
    const asked = new Set((await calls(host)).filter((c) => c.command === 'VERSION').map((c) => c.type));
    t.strictSame([...asked].sort(), ['bridge', 'firewall', 'portmap', 'tuning']);
  });

  const one = await run('--name', 'one', '--network', 'blue', '--publish', '8080:80');

  await t.test('it reports what the plugin answered', async (t) => {
    const seen = await settings('one');
    t.match(seen.networks.blue, {
      IPAddress: '10.79.0.2',
      IPPrefixLen: 24,
      Gateway: '10.79.0.1',
      GlobalIPv6Address: 'fd00:79::2',
      GlobalIPv6PrefixLen: 64,
      IPv6Gateway: 'fd00:79::1',
    });
    const [eth0] = await ip(seen.netns, 'addr', 'show', 'dev', 'eth0');
    t.equal(seen.networks.blue.MacAddress, eth0.address, 'the MAC is the real one');
    t.match(
      eth0.addr_info.filter((info: { scope: string }) => info.scope === 'global'),
      [
        { local: '10.79.0.2', prefixlen: 24 },
        { local: 'fd00:79::2', prefixlen: 64 },
      ],
    );
    for (const address of ['10.79.0.2', 'fd00:79::2']) t.ok(await ping(host.netns, address), address);
    for (const address of [OUTSIDE.v4, OUTSIDE.v6]) t.ok(await ping(seen.netns, address), address);
  });

  await t.test('a port that another plugin of the chain publishes is reached from the outside', async (t) => {
    await podman('exec', '--detach', 'one', 'nc', '-ll', '-p', '80', '-e', 'echo', 'hello from within');
    const said = await until('the port answers', async () => {
      const ask = await execIn(outside, 'busybox', ['nc', '-w', '2', UPLINK.v4, '8080'], { mayFail: true });
      return ask.stdout;
    });
    t.equal(said, 'hello from within');
  });

  await t.test('a port that Podman itself holds by then', async (t) => {
    t.match(await held(host, 8080), /conmon/, 'for the container that it is published for');
    await podman('network', 'reload', 'one');
    const said = await until('the port answers again', async () => {
      const ask = await execIn(outside, 'busybox', ['nc', '-w', '2', UPLINK.v4, '8080'], { mayFail: true });
      return ask.stdout;
    });
    t.equal(said, 'hello from within');
  });

  await t.test('a static address and MAC', async (t) => {
    const mac = '02:11:22:33:44:55';
    const two = await run('--name', 'two', '--network', 'blue', '--ip', '10.79.0.50', '--mac-address', mac);
    const seen = await settings('two');
    t.match(seen.networks.blue, { IPAddress: '10.79.0.50', MacAddress: mac });
    const [eth0] = await ip(seen.netns, 'link', 'show', 'dev', 'eth0');
    t.equal(eth0.address, mac);
    const add = (await calls(host)).find(
      (c) => c.type === 'bridge' && c.containerId === two && c.command === 'ADD',
    );
    t.match(add?.args, /MAC=02:11:22:33:44:55;IP=10\.79\.0\.50/);
    t.ok((await leases(host)).includes('blue/10.79.0.50'));
    t.ok(
      (await execIn(seen.netns, 'ping', ['-c', '1', '-W', '3', '10.79.0.2'])).stdout,
      'it reaches its neighbour',
    );
    await t.rejects(
      run('--name', 'thief', '--network', 'blue', '--ip', '10.79.0.50'),
      { message: /10\.79\.0\.50/ },
      'not given twice',
    );
    await podman('rm', '--force', '--time', '0', 'two', 'thief');
    t.notOk((await leases(host)).includes('blue/10.79.0.50'));
    t.strictSame(await firewallLines(host.netns, two, '10.79.0.50'), []);
  });

  await t.test('an internal network has no way out', async (t) => {
    await run('--name', 'inside', '--network', 'inner');
    const seen = await settings('inside');
    t.match(seen.networks.inner, { IPAddress: '10.80.0.2' });
    t.strictSame(await ip(seen.netns, 'route', 'show', 'default'), []);
    t.match(
      await ip(seen.netns, 'link', 'show', 'dev', 'eth0'),
      [{ mtu: 1400 }],
      'with the MTU that was asked for',
    );
    await podman('rm', '--force', '--time', '0', 'inside');
  });

  await t.test('isolated networks do not reach each other', async (t) => {
    for (const [name, net] of [
      ['red', '10.81.0.0/24'],
      ['green', '10.82.0.0/24'],
    ] as const)
      await podman('network', 'create', '--disable-dns', '-o', 'isolate=true', '--subnet', net, name);
    await run('--name', 'first', '--network', 'red');
    await run('--name', 'second', '--network', 'green');
    const { netns } = await settings('first');
    t.notOk(await ping(netns, '10.82.0.2', SILENCE), 'from one to the other');
    t.ok(await ping(netns, '10.79.0.2'), 'one that is not isolated');
    t.ok(await ping(netns, OUTSIDE.v4));
    await podman('rm', '--force', '--time', '0', 'first', 'second');
    t.same(await firewallLines(host.netns, 'links-apart', '10.81.0.2', '"cni-podman2"'), [
      'set links-apart {',
      'iifname . iifname @links-apart oifname . oifname @links-apart iifname . oifname != @links-apart drop comment "weft/1 links apart"',
    ]);
    await podman('network', 'rm', 'red', 'green');
  });

  await t.test('removed, nothing is left', async (t) => {
    await podman('rm', '--force', '--time', '0', 'one');
    t.strictSame(await leases(host), []);
    t.strictSame(await cachedResults(host), []);
    t.strictSame(await ports(), []);
    t.strictSame(await firewallLines(host.netns, one, '10.79.0.2', 'fd00:79::2'), []);
    await podman('network', 'rm', 'blue', 'inner');
    t.strictSame(
      (await links(host.netns)).filter((name) => name !== 'lo' && name !== 'uplink'),
      [],
      'Podman took its bridges away',
    );
  });
  await expectWay(t, host);
});
