/** `weft doctor` as people and scripts run it: what it prints, its exit status, and what --fix does. */
import { join } from 'node:path';
import t from 'tap';
import { conflist, makeLab, net } from '../inspect/broken-hosts/lab.ts';
import { exec, leases, links, makeHost, nft } from '../support/host.ts';
import { pluginsUnderTest } from '../support/plugins.ts';

const WEFT = join(pluginsUnderTest(), 'weft');

t.test('a host without anything of weft is healthy', async (t) => {
  const host = await makeHost(t);
  const { status, stdout } = await host.exec(WEFT, ['doctor'], { mayFail: true });
  t.equal(status, 0, stdout);
  t.match(stdout, /^this host is healthy/m);
  const usage = await host.exec(WEFT, ['doctor', '--fix'], { mayFail: true });
  t.equal(usage.status, 2, 'nobody is there to be asked');
  t.match(usage.stderr, /--fix asks before it changes anything.*--yes/);
});

t.test('what is safe is mended, and nothing before it is asked for', async (t) => {
  const { host, web } = await makeLab(t);
  const doctor = async (...flags: string[]) => {
    const { status, stdout } = await host.exec(WEFT, ['doctor', '--json', ...flags], { mayFail: true });
    const { findings, fixed = [], failed = [] } = JSON.parse(stdout);
    const codes = (all: { code: string; severity: string }[]) =>
      all.flatMap(({ code, severity }) => (severity === 'note' ? [] : [code])).sort();
    return { status, codes: codes(findings), fixed: codes(fixed), failed };
  };
  t.match(await doctor(), { status: 0, codes: [] }, 'healthy');

  // A container ends, and its runtime never calls DEL.
  conflist(host, 'shortnet', [
    {
      ...{
        type: 'bridge',
        bridge: 'short0',
        isDefaultGateway: true,
        ipMasq: true,
        ipMasqBackend: 'nftables',
      },
      ipam: { type: 'host-local', ranges: [[{ subnet: '10.89.0.0/24' }]] },
    },
  ]);
  const name = `${host.name}-short`;
  await exec('ip', ['netns', 'add', name]);
  try {
    await net(host, 'add', 'shortnet', `/run/netns/${name}`, '--id', 'short');
  } finally {
    await exec('ip', ['netns', 'del', name]);
  }
  const left = await doctor();
  t.equal(left.status, 3, 'only warnings');
  t.same(left.codes, ['attachment-left-behind', 'nat-without-container']);
  t.same(await doctor(), left, 'looking changes nothing');

  // Somebody flushes the rules, and takes a link down.
  const [end = ''] = (await links(host.netns)).filter((link) => link.startsWith('veth'));
  await host.exec('nft', ['flush', 'ruleset']);
  await host.exec('ip', ['link', 'set', end, 'down']);
  const broken = await host.exec(WEFT, ['doctor'], { mayFail: true });
  t.equal(broken.status, 1, 'packets are lost');
  t.match(broken.stdout, /^error .* \[rules-missing\]$/m);
  t.match(broken.stdout, new RegExp(`^ +mend: ip link set ${end} up$`, 'm'));
  t.match(broken.stderr, /errors? found: packets are lost/);

  const fixed = await doctor('--fix', '--yes');
  t.same(
    { ...fixed, fixed: [...new Set(fixed.fixed)] },
    {
      status: 0,
      codes: [],
      fixed: ['attachment-left-behind', 'link-down', 'rules-missing'],
      failed: [],
    },
  );
  t.match(
    await nft(host.netns),
    /10\.88\.0\.2 counter packets \d+ bytes \d+ comment "web eth0"/,
    'its element is back',
  );
  t.same(
    (await leases(host)).filter((lease) => lease.startsWith('shortnet')),
    [],
    'the lease is given back',
  );
  await net(host, 'check', 'podnet', web, '--id', 'web');
});
