/** `weft status` on simulated hosts that are well, and that are not. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { startAgent } from '../support/agent.ts';
import { bridgeConflist, installConflist } from '../support/conflist.ts';
import { type Host, makeHost } from '../support/host.ts';
import { pluginsUnderTest, weftIsMissing } from '../support/plugins.ts';
import { until } from '../support/until.ts';

const BIN = pluginsUnderTest();
const WEFT = join(BIN, 'weft');
const skip = await weftIsMissing();

const status = (host: Host) => host.exec(WEFT, ['status'], { mayFail: true });

async function json(host: Host) {
  const { status, stdout } = await host.exec(WEFT, ['status', '--json'], { mayFail: true });
  const found = JSON.parse(stdout);
  t.equal(status, found.well ? 0 : 1, 'the exit status says the same');
  return found;
}

t.test('a host with nothing on it is well', { skip }, async (t) => {
  const host = await makeHost(t);
  t.match(await json(host), {
    well: true,
    problems: [],
    notes: [/there is no network in /, /no agent runs: plugins work/],
    agent: { state: 'absent' },
    networks: [],
  });
  t.match(await status(host), {
    status: 0,
    stdout: /^agent +not running[\s\S]*this host is well$/,
    stderr: '',
  });
});

t.test('a host at work: what it shows is what is there', { skip }, async (t) => {
  const host = await makeHost(t);
  await installConflist(host, bridgeConflist({ name: 'podnet' }));
  const agent = await startAgent(host, { bin: BIN });
  const { networks: before } = await json(host);
  t.match(before, [{ name: 'podnet', links: 0, masquerade: { rules: 'unneeded' } }]);
  const [red, blue] = [await host.container(), await host.container()];
  for (const { netns } of [red, blue]) await host.exec(WEFT, ['net', 'add', 'podnet', netns]);

  const found = await until('both requests are counted', async () => {
    const seen = await json(host);
    return seen.agent.requests.answered >= 2 && seen;
  });
  t.match(found, {
    well: true,
    agent: {
      state: 'running',
      pid: agent.pid,
      ours: true,
      requests: { answered: 2, failed: 0, underWay: 0, fallbacks: 0 },
    },
    networks: [
      {
        name: 'podnet',
        plugins: ['bridge'],
        links: 2,
        leases: [
          { family: 4, used: 2, free: 251 },
          { family: 6, used: 2 },
        ],
        masquerade: { rules: 'standing', missing: [] },
      },
    ],
    invalid: [],
    lastErrors: [],
  });
  t.ok(found.agent.memory > 1_000_000 && found.agent.uptime < 600);

  t.match(await host.exec(WEFT, ['net', 'add', 'podnet', red.netns], { mayFail: true }), { status: 1 });
  const { stdout } = await status(host);
  t.match(stdout, new RegExp(`agent +running: pid ${agent.pid}, weft \\d`));
  t.match(stdout, /podnet +bridge +2 +2\/251 +2\/1\.8e19 +\w+, stands/);
  t.match(stdout, /last errors:\n.* ago +bridge ADD +104 conflict/);
  t.match(stdout, /this host is well$/, 'an error that a caller was told does not make a host unwell');

  await host.exec('rm', [join(host.dirs.conf, '10-podnet.conflist')]);
  t.match((await json(host)).notes, [
    /no network/,
    /podnet has no configuration here, but 2 links and 4 leases/,
  ]);
});

t.test('masquerade by iptables, of IPv4 alone', { skip }, async (t) => {
  const host = await makeHost(t);
  const ranges = [[{ subnet: '10.88.0.0/16' }]];
  await installConflist(host, bridgeConflist({ name: 'old', ranges, extra: { ipMasqBackend: 'iptables' } }));
  const { netns } = await host.container();
  await host.exec(WEFT, ['net', 'add', 'old', netns]);
  const { problems, networks } = await json(host);
  t.match(
    { problems, networks },
    { problems: [], networks: [{ masquerade: { backend: 'iptables', rules: 'standing' } }] },
  );
});

t.test('what is wrong is named, and the exit status says so', { skip }, async (t) => {
  const host = await makeHost(t);
  const file = await installConflist(host, bridgeConflist({ name: 'podnet' }));
  const { netns } = await host.container();
  await host.exec(WEFT, ['net', 'add', 'podnet', netns]);
  t.same((await json(host)).problems, []);

  await host.exec('nft', ['flush', 'ruleset']);
  t.match((await json(host)).problems, [/network podnet: masquerade lacks rule .* somebody removed it/]);
  t.match((await status(host)).stdout, /nftables, RULES MISSING[\s\S]*problem: network podnet/);
  await host.exec(WEFT, ['net', 'del', 'podnet', netns]);
  t.same((await json(host)).problems, [], 'no container needs them any more');

  writeFileSync(join(host.dirs.conf, '20-broken.conflist'), '{"name": }');
  const { problems, invalid } = await json(host);
  t.match(problems, [/20-broken\.conflist:1:10: not JSON/]);
  t.match(invalid, [{ file: /20-broken/, error: /not JSON/ }]);
  await host.exec('rm', [join(host.dirs.conf, '20-broken.conflist')]);

  // One address for containers.
  const small = readFileSync(file, 'utf8')
    .replaceAll('podnet', 'tiny')
    .replace('10.77.0.0/24', '10.77.9.0/30');
  writeFileSync(
    join(host.dirs.conf, '30-tiny.conflist'),
    small.replace('weft0', 'weft1').replace('fd00:77::', 'fd00:79::'),
  );
  await host.exec(WEFT, ['net', 'add', 'tiny', netns]);
  t.same((await json(host)).problems, ['network tiny: no IPv4 address is free (1 is leased)']);
  await host.exec(WEFT, ['net', 'del', 'tiny', netns]);
  t.same((await json(host)).problems, []);
});

t.test('what one attachment lacks is named with it', { skip }, async (t) => {
  const host = await makeHost(t);
  await installConflist(host, bridgeConflist({ name: 'podnet' }));
  const [red, blue] = [await host.container(), await host.container()];
  for (const { netns } of [red, blue]) await host.exec(WEFT, ['net', 'add', 'podnet', netns]);
  t.same((await json(host)).problems, []);

  await host.exec('nft', ['delete', 'element', 'inet', 'weft', 'masquerade4', '{ 10.77.0.3 }']);
  t.same((await json(host)).problems, [
    `network podnet: eth0 of container ${blue.id} lacks element 10.77.0.3 in map inet weft masquerade4: the agent puts it back`,
  ]);
  await host.exec('nft', ['delete', 'element', 'inet', 'weft', 'masquerade4', '{ 10.77.0.2 }']);
  await host.exec('ip', ['addr', 'del', '10.77.0.1/24', 'dev', 'weft0']);
  // What the bridge lacks is told with whoever is looked at first.
  t.match((await json(host)).problems, [
    /lacks address 10\.77\.0\.1\/24 on weft0.*, and 1 more attachment of it/,
  ]);
  await startAgent(host, { bin: BIN });
  await until('the agent has put it back', async () => (await json(host)).well);
  await host.exec(WEFT, ['net', 'del', 'podnet', red.netns]);
  await host.exec(WEFT, ['net', 'del', 'podnet', blue.netns]);
  t.same((await json(host)).problems, []);
});

t.test('an agent that died, and one that nobody asks', { skip }, async (t) => {
  const host = await makeHost(t);
  const agent = await startAgent(host, { bin: BIN });
  t.same((await json(host)).problems, []);

  const other = join(host.root, 'other-build');
  await host.exec('cp', ['-r', BIN, other]);
  const stranger = await host.exec(join(other, 'weft'), ['status', '--json'], { mayFail: true });
  t.match(JSON.parse(stranger.stdout), { agent: { ours: false }, problems: [/another build/] });

  await agent.signal('KILL');
  await agent.ended();
  t.match(await json(host), { agent: { state: 'dead' }, problems: [/the agent has ended without removing/] });
  const next = await startAgent(host, { bin: BIN, name: 'next' });
  t.match(await json(host), { well: true, agent: { state: 'running', pid: next.pid } });
  await next.signal('TERM');
  await next.ended();
  t.match(await json(host), { well: true, agent: { state: 'absent' } });
});

t.test('a network between hosts that no agent took up', { skip }, async (t) => {
  const host = await makeHost(t);
  const plugins = [{ type: 'vxlan', pool: '10.244.0.0/16' }];
  writeFileSync(
    join(host.dirs.conf, '10-between.conflist'),
    JSON.stringify({ cniVersion: '1.1.0', name: 'between', plugins }),
  );
  t.match(await json(host), {
    well: false,
    problems: ['network between: not joined: no agent (weft agent --registry ...)'],
    between: [{ name: 'between', joined: false }],
  });
  const { status: code, stdout } = await status(host);
  t.equal(code, 1);
  t.match(stdout, /between +vxlan +- +0 +not asked +0\n/);
});

t.test('with iptables', { skip }, async (t) => {
  const host = await makeHost(t);
  const extra = { ipMasqBackend: 'iptables' };
  await installConflist(host, bridgeConflist({ name: 'podnet', extra }));
  const { netns } = await host.container();
  await host.exec(WEFT, ['net', 'add', 'podnet', netns]);
  t.match(await json(host), {
    well: true,
    networks: [{ masquerade: { backend: 'iptables', rules: 'standing' } }],
  });
  await host.exec('iptables', ['-t', 'nat', '-F', 'POSTROUTING']);
  t.match(await json(host), {
    well: false,
    networks: [{ masquerade: { rules: 'missing', missing: [/in iptables table nat/] } }],
  });
});
