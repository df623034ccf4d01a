/** `weft net` and `weft plan` with the executables of dist/bin, on a simulated host. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { cachedResults, execIn, firewallLines, leases, links, makeHost, ping } from '../support/host.ts';

const WEFT = join(import.meta.dirname, '../../dist/bin/weft');
const NETWORK = {
  cniVersion: '1.1.0',
  name: 'podnet',
  plugins: [
    {
      type: 'bridge',
      bridge: 'pod0',
      isDefaultGateway: true,
      ipMasq: true,
      capabilities: { mac: true },
      ipam: { type: 'host-local', ranges: [[{ subnet: '10.78.0.0/24' }], [{ subnet: 'fd78::/64' }]] },
    },
  ],
};

t.test('a network from a file name to nothing left', async (t) => {
  const host = await makeHost(t);
  writeFileSync(join(host.dirs.conf, '10-podnet.conflist'), JSON.stringify(NETWORK));
  const weft = (...args: string[]) => host.exec(WEFT, ['net', ...args], { mayFail: true });
  const [red, blue] = [await host.container(), await host.container()];

  t.match(await weft('list'), { status: 0, stdout: /podnet +1\.1\.0 +bridge/ });
  t.match(await weft('status', 'podnet'), { status: 0, stdout: 'podnet is ready' });
  t.match(await weft('version', 'podnet'), { status: 0, stdout: /^bridge +0\.1\.0 .* 1\.1\.0$/ });

  // By the name that `ip netns` knows, then by path.
  const added = await weft('add', 'podnet', red.id, '--json', '--cap', 'mac="02:00:00:00:00:07"');
  t.equal(added.status, 0, added.stderr);
  t.match(JSON.parse(added.stdout), {
    cniVersion: '1.1.0',
    ips: [{ address: '10.78.0.2/24' }, { address: 'fd78::2/64' }],
  });
  t.match(await weft('add', 'podnet', blue.netns), {
    status: 0,
    stdout: /address +10\.78\.0\.3\/24 +gateway/,
  });
  t.ok(await ping(red.netns, '10.78.0.3'));
  t.ok(await ping(blue.netns, 'fd78::2'));
  t.match(await cachedResults(host), [`podnet-${red.id}-eth0`, `podnet-${blue.id}-eth0`]);

  t.match(await weft('add', 'podnet', red.id), { status: 1, stderr: /already/ }, 'a second time is refused');
  t.match(await weft('check', 'podnet', red.netns), { status: 0 }, 'and harms nothing');
  await execIn(red.netns, 'ip', ['addr', 'del', '10.78.0.2/24', 'dev', 'eth0']);
  t.match(await weft('check', 'podnet', red.id), { status: 1, stderr: /10\.78\.0\.2\/24/ });

  t.match(await weft('gc', 'podnet', '--valid', `${blue.id}/eth0`), { status: 0 });
  t.same(await links(red.netns), ['lo']);
  t.same(await leases(host), ['podnet/10.78.0.3', 'podnet/fd78::3']);
  t.match(await weft('check', 'podnet', blue.id), { status: 0 });
  t.match(await weft('del', 'podnet', '--id', blue.id), { status: 0 }, 'without naming the namespace');
  t.match(await weft('del', 'podnet', blue.id), { status: 0 }, 'and again');

  t.same(await links(blue.netns), ['lo']);
  t.same(await links(host.netns), ['lo', 'pod0']);
  t.same(await leases(host), []);
  t.same(await cachedResults(host), []);
  t.same(await firewallLines(host.netns, '10.78.0.2', '10.78.0.3', 'fd78::2', 'fd78::3'), []);
});

t.test('a plan is what ADD does', async (t) => {
  const host = await makeHost(t);
  const file = join(host.root, 'podnet.conflist');
  writeFileSync(file, JSON.stringify(NETWORK));
  const container = await host.container();
  const flags = ['--id', container.id, '--netns', container.netns];
  const { stdout } = await host.exec(WEFT, ['plan', file, ...flags, '--json']);
  const planned = JSON.parse(stdout).plugins[0];
  t.same(await links(host.netns), ['lo'], 'nothing is touched');
  const added = await host.exec(WEFT, ['net', 'add', file, container.netns, '--id', container.id, '--json']);
  const result = JSON.parse(added.stdout);
  for (const part of ['ips', 'routes']) t.same(planned.result[part], result[part], part);
  const names = (links: { name: string }[]) => links.map(({ name }) => name);
  t.same(names(planned.result.interfaces), names(result.interfaces));
  await host.exec(WEFT, ['net', 'del', file, container.netns, '--id', container.id]);
});

t.test('the lines of a plan work when a person types them', async (t) => {
  const host = await makeHost(t);
  const file = join(host.root, 'podnet.conflist');
  writeFileSync(file, JSON.stringify(NETWORK));
  const [red, blue] = [await host.container(), await host.container()];
  const addresses = ['10.78.0.2', '10.78.0.3'];
  for (const [i, { id, netns }] of [red, blue].entries()) {
    const args = ['plan', file, '--id', id, '--netns', netns, '--arg', `IP=${addresses[i]},fd78::${i + 2}`];
    const { stdout } = await host.exec(WEFT, args);
    // What is there already, as at the second container, is no error for a person.
    const run = await host.exec('bash', ['-c', i === 0 ? `set -e\n${stdout}` : stdout], { mayFail: i > 0 });
    if (i === 0) t.same(run, { status: 0, stdout: run.stdout, stderr: '' });
  }
  t.ok(await ping(red.netns, '10.78.0.3'));
  t.ok(await ping(blue.netns, 'fd78::2'));
  t.ok(await ping(red.netns, 'fd78::1'));
  const elements = await firewallLines(host.netns, '10.78.0.2', 'fd78::3');
  t.equal(elements.length, 2);
});
