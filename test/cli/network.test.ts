/** `weft network` where there is little to show: no agent, no network, a wrong command line. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { writeSaved } from '../../agent/cluster/saved.ts';
import { makeGround } from '../runtime/fake-plugins.ts';
import { weft } from './weft.ts';

const NO_AGENT = 'no agent looks after networks between hosts';

function saved(cacheDir: string) {
  const member = { host: 'alpha', addresses: ['192.0.2.1'], subnets: ['10.244.3.0/24'] };
  const vxlan = { vni: 7, port: 4789, device: 'weft.7', directRoutes: false, checksumOffload: true };
  writeSaved(cacheDir, {
    network: {
      name: 'podnet',
      backend: 'vxlan',
      pools: [{ prefix: '10.244.0.0/16', blockLength: 24 }],
      vxlan,
    },
    ...{ host: 'alpha', addresses: member.addresses, registry: 'file /srv/hosts.yaml', written: Date.now() },
    state: { members: [member, { ...member, host: 'beta', subnets: ['10.244.4.0/24'] }], endpoints: [] },
  });
}

/** Returns its path. */
function conflist(confDir: string): string {
  const file = join(confDir, '10-podnet.conflist');
  mkdirSync(confDir, { recursive: true });
  const vxlan = { type: 'vxlan', vni: 7, pool: '10.244.0.0/16' };
  writeFileSync(file, JSON.stringify({ cniVersion: '1.1.0', name: 'podnet', plugins: [vxlan] }));
  return file;
}

t.test('nothing there', async (t) => {
  const { ambient } = makeGround(t);
  t.match(await weft(ambient, 'network', 'list'), {
    status: 0,
    out: '',
    err: /^this host has no network between hosts\nno agent looks after/,
  });
  t.same(JSON.parse((await weft(ambient, 'network', 'list', '--json')).out), []);
  t.match(await weft(ambient, 'network', 'show', 'podnet'), {
    status: 1,
    err: /no network between hosts is called "podnet" here: there is none/,
  });
  t.match(await weft(ambient, 'network', 'leave', 'podnet'), {
    status: 1,
    err: /is no member of a network podnet/,
  });
});

t.test('without an agent: what the last one knew', async (t) => {
  const { ambient } = makeGround(t);
  saved(ambient.paths.cacheDir);
  const listed = await weft(ambient, 'network', 'list');
  t.match(
    listed.out,
    /podnet +vxlan +10\.244\.3\.0\/24 +2 +0 +not asked \(last seen .* ago\) +not joined: no agent/,
  );
  t.match(listed.err, NO_AGENT);
  const shown = await weft(ambient, 'network', 'show', 'podnet', '--no-probe');
  t.match(shown.out, /network +podnet: vxlan, VNI 7, 10\.244\.0\.0\/16/);
  t.match(shown.out, /registry +file \/srv\/hosts\.yaml: not asked: no agent runs \(last seen .* ago\)\n/);
  t.match(shown.out, /conflist +removed: "weft network leave"/);
  const file = conflist(ambient.paths.confDir);
  t.match((await weft(ambient, 'network', 'show', 'podnet', '--no-probe')).out, `conflist   ${file}\n`);
  t.match(shown.out, /alpha \(this\) .*\nbeta +192\.0\.2\.1 +10\.244\.4\.0\/24 .*\?$/m);
  t.match(await weft(ambient, 'network', 'leave', 'podnet'), {
    status: 2,
    err: /no agent runs: give --registry.*\(it was file \/srv\/hosts\.yaml\)/,
  });
  t.match((await weft(ambient, '__complete', 'network', 'show', 'p')).out, /^podnet\t/);
});

t.test('a conflist that no agent took up', async (t) => {
  const { ambient } = makeGround(t);
  const file = conflist(ambient.paths.confDir);
  t.match(await weft(ambient, 'network', 'list'), {
    status: 0,
    out: /podnet +vxlan +- +0 +0 +not asked +not joined: no agent\n/,
    err: /^no agent looks after networks between hosts \(weft agent --registry \.\.\.\)\n$/,
  });
  const { status, out } = await weft(ambient, 'network', 'show', 'podnet');
  t.equal(status, 0);
  t.match(out, /registry +not asked: no agent runs\n/);
  t.match(out, `conflist   ${file}\n`);
  t.match(out, /problem: not joined: no agent \(weft agent --registry \.\.\.\)\n/);
});

t.test('a damaged memory is as none', async (t) => {
  const { ambient } = makeGround(t);
  mkdirSync(join(ambient.paths.cacheDir, 'weft', 'networks'), { recursive: true });
  writeFileSync(join(ambient.paths.cacheDir, 'weft', 'networks', 'podnet.known'), '{"format":');
  t.same(JSON.parse((await weft(ambient, 'network', 'list', '--json')).out), []);
});

t.test('another host is struck out of a registry by name, and only on purpose', async (t) => {
  const { ambient } = makeGround(t);
  mkdirSync(ambient.paths.cacheDir, { recursive: true });
  const registry = join(ambient.paths.cacheDir, 'hosts.yaml');
  writeFileSync(
    registry,
    'networks:\n  podnet:\n    hosts:\n      beta:\n        addresses: [192.0.2.2]\n        subnets: [10.244.4.0/24]\n',
  );
  const leave = (...words: string[]) => weft(ambient, 'network', 'leave', 'podnet', ...words);
  t.match(await leave('--node', 'beta'), {
    status: 2,
    err: /--node names a host of a registry: give --registry/,
  });
  t.match(await leave('--node', '-x', '--registry', registry), { status: 2 });
  t.match(await leave('--node', 'gamma', '--registry', registry), {
    status: 1,
    err: /no host gamma is a member of podnet in .*: there is beta/,
  });
  t.match(await leave('--node', 'beta', '--registry', registry), {
    status: 1,
    err: /--force strikes it out/,
  });
  t.match(await leave('--node', 'beta', '--registry', registry, '--force'), {
    status: 0,
    out: 'beta is no member of podnet any more\n',
  });
  t.match(await leave('--node', 'beta', '--registry', registry), { status: 1, err: /there is none/ });
  t.match(await leave('--registry', 'mysql://x'), { status: 1 });
});

t.test('who this host is goes with a registry', async (t) => {
  const { ambient } = makeGround(t);
  t.match(await weft(ambient, 'agent', '--node', 'alpha'), { status: 2, err: /give --registry, too/ });
  t.match(await weft(ambient, 'agent', '--registry', 'x.yaml'), {
    status: 2,
    err: /found "x\.yaml", wanted an absolute path/,
  });
  t.match(await weft(ambient, 'agent', '--registry', '/srv/x', '--node', 'a b'), { status: 2 });
  t.match(await weft(ambient, 'agent', '--registry', '/srv/x', '--address', '192.0.2.1/24'), { status: 2 });
});
