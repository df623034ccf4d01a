import { readdir } from 'node:fs/promises';
import t from 'tap';
import { exec, type Host, links, makeHost, makeOutside, OUTSIDE, ping } from './host.ts';
import { until } from './until.ts';

t.test('a simulated host reaches the outside, holds containers, and leaves nothing', async (t) => {
  let host: Host | undefined;
  await t.test('while it lives', async (t) => {
    host = await makeHost(t);
    await makeOutside(t, host);
    t.strictSame(await links(host.netns), ['lo', 'uplink']);
    t.ok(await ping(host.netns, OUTSIDE.v4));
    t.ok(await ping(host.netns, OUTSIDE.v6));

    const container = await host.container();
    t.strictSame(await links(container.netns), ['lo']);
    const seen = await host.exec('readlink', ['-f', container.netns]);
    t.equal(seen.stdout, container.netns, 'a namespace made later is seen inside');

    await host.daemon('sleeper', 'sleep', ['infinity']);
    const { stdout } = await host.exec('ps', ['-e', '-o', 'comm=']);
    t.match(stdout, /^sleep$/m);
    t.notMatch(stdout, /node/, 'it sees no process of the machine');
  });
  if (!host) throw new Error('there was no host');
  const { root, netns } = host;
  await t.rejects(readdir(root), { code: 'ENOENT' });
  await t.rejects(readdir(netns), { code: 'ENOENT' });
  const { stdout } = await exec('ps', ['-e', '-o', 'args=']);
  t.notOk(stdout.includes(root), 'no process is left');
});

t.test('waiting in vain says for what', async (t) => {
  await t.rejects(
    until('the sun to rise', () => false, 1),
    { message: 'waited 1 ms in vain: the sun to rise' },
  );
});
