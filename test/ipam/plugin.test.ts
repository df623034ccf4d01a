/** host-local and static as executables, seen through the protocol: environment and text in, text out. */
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import t from 'tap';
import type { PluginVerbs } from '../../cni/plugin.ts';
import { runPlugin } from '../../cni/skel.ts';
import { hostLocalPlugin } from '../../ipam/host-local/plugin.ts';
import { parseResolvConf } from '../../ipam/resolv-conf.ts';
import { staticPlugin } from '../../ipam/static/plugin.ts';
import { leaseFiles, NETWORK, type World, world } from './support.ts';

interface Call {
  status: number;
  // biome-ignore lint/suspicious/noExplicitAny: tests look into answers of every kind
  answer: any;
}

async function call<C>(
  plugin: PluginVerbs<C>,
  w: World,
  command: string,
  config: object,
  env: Record<string, string> = {},
): Promise<Call> {
  const ambient = {
    ...w.ambient,
    env: {
      CNI_COMMAND: command,
      CNI_CONTAINERID: 'c1',
      CNI_IFNAME: 'eth0',
      // As people do who try an IPAM by hand: it has no business with the namespace.
      CNI_NETNS: '/dev/null',
      CNI_PATH: '/opt/cni/bin',
      ...env,
    },
    input: async () => JSON.stringify({ cniVersion: '1.1.0', name: NETWORK, type: 'other', ...config }),
  };
  const { status, stdout } = await runPlugin(plugin, ambient);
  return { status, answer: stdout === '' ? undefined : JSON.parse(stdout) };
}

t.test('host-local: ADD answers without interfaces, in the version asked for', async (t) => {
  const w = world(t);
  const resolvConf = path.join(w.dir, 'resolv.conf');
  writeFileSync(resolvConf, 'nameserver 10.1.0.1\nsearch a b\n');
  const routes = [{ dst: '0.0.0.0/0', mtu: 1400, advmss: 1360, priority: 5, table: 0, scope: 0 }];
  const ipam = {
    type: 'host-local',
    ranges: [[{ subnet: '10.1.0.0/24' }], [{ subnet: 'fd00::/64' }]],
    routes,
    resolvConf,
  };
  t.same((await call(hostLocalPlugin, w, 'ADD', { ipam })).answer, {
    cniVersion: '1.1.0',
    ips: [
      { address: '10.1.0.2/24', gateway: '10.1.0.1' },
      { address: 'fd00::2/64', gateway: 'fd00::1' },
    ],
    routes,
    dns: { nameservers: ['10.1.0.1'], search: ['a', 'b'] },
  });
  t.equal((await call(hostLocalPlugin, w, 'CHECK', { ipam, prevResult: {} })).status, 0);
  t.equal((await call(hostLocalPlugin, w, 'STATUS', { ipam })).status, 0);
  const again = await call(hostLocalPlugin, w, 'ADD', { ipam });
  t.equal(again.answer.code, 104, 'a foreign plugin would undo what a second ADD adopts');
  t.equal(leaseFiles(w).length, 2);
  t.equal((await call(hostLocalPlugin, w, 'DEL', { ipam })).status, 0);
  t.same(leaseFiles(w), []);
  const old = await call(
    hostLocalPlugin,
    w,
    'ADD',
    { ipam, cniVersion: '0.2.0' },
    { CNI_ARGS: 'IP=10.1.0.9' },
  );
  t.match(old.answer, {
    cniVersion: '0.2.0',
    ip4: { ip: '10.1.0.9/24', gateway: '10.1.0.1' },
    ip6: { ip: 'fd00::3/64' },
  });
  const gc = { ipam, 'cni.dev/valid-attachments': [{ containerID: 'c2', ifname: 'eth0' }] };
  t.equal((await call(hostLocalPlugin, w, 'GC', gc)).status, 0);
  t.same(leaseFiles(w), []);
});

t.test('host-local: errors name field, finding and wish', async (t) => {
  const w = world(t);
  const add = async (ipam: object | undefined, env?: Record<string, string>) =>
    (await call(hostLocalPlugin, w, 'ADD', { ipam }, env)).answer;
  t.match(await add(undefined), { code: 7, msg: /ipam: missing/ });
  t.match(await add({ type: 'host-local' }), { code: 7, msg: /there are no ranges/ });
  const good = { type: 'host-local', subnet: '10.1.0.0/24' };
  t.match(await add({ ...good, resolvConf: '/nonexistent' }), {
    code: 5,
    msg: /ipam\.resolvConf: \/nonexistent cannot be read/,
  });
  t.match(await add(good, { CNI_ARGS: 'IP=10.9.0.1' }), { code: 7, msg: /10\.9\.0\.1 is in no range/ });
  t.match(await add(good, { CNI_ARGS: 'IP=x' }), { code: 4 });
  t.match(await add(good, { CNI_ARGS: 'MAC=x' }), { code: 4 });
  t.throws(() => leaseFiles(w), 'nothing was made');
});

t.test('host-local: DEL and GC release whatever became of the configuration', async (t) => {
  const w = world(t);
  const ipam = { type: 'host-local', subnet: '10.1.0.0/24' };
  for (const broken of [
    { type: 'host-local' },
    { ...ipam, subnet: 'x' },
    { ...ipam, ranges: 7 },
    undefined,
  ]) {
    await call(hostLocalPlugin, w, 'ADD', { ipam });
    t.equal(leaseFiles(w).length, 1);
    const del = await call(hostLocalPlugin, w, 'DEL', { ipam: broken }, { CNI_NETNS: '' });
    t.equal(del.status, 0, JSON.stringify(del.answer));
    t.same(leaseFiles(w), []);
  }
});

t.test('static', async (t) => {
  const w = world(t);
  const ipam = {
    type: 'static',
    addresses: [{ address: '10.1.0.5/24', gateway: '10.1.0.1' }],
    dns: { domain: 'x' },
  };
  const add = await call(staticPlugin, w, 'ADD', { ipam }, { CNI_ARGS: 'GATEWAY=10.1.0.254' });
  t.same(add.answer, {
    cniVersion: '1.1.0',
    ips: [{ address: '10.1.0.5/24', gateway: '10.1.0.254' }],
    dns: { domain: 'x' },
  });
  for (const command of ['CHECK', 'DEL', 'STATUS']) {
    const prevResult = { cniVersion: '1.1.0', ips: [{ address: '10.1.0.5/24' }] };
    t.equal((await call(staticPlugin, w, command, { ipam, prevResult })).status, 0, command);
  }
  t.match((await call(staticPlugin, w, 'ADD', { ipam: { type: 'static', addresses: [{}] } })).answer, {
    code: 7,
  });
});

t.test('resolv.conf', async (t) => {
  t.same(
    parseResolvConf(
      '# c\n; d\nnameserver 1.1.1.1 # x\nnameserver ::1\nnameserver\n\toptions ndots:5  edns0\n',
    ),
    {
      nameservers: ['1.1.1.1', '::1'],
      options: ['ndots:5', 'edns0'],
    },
  );
  t.same(parseResolvConf('domain a\ndomain b\nsearch c d\nsearch e\r\nsortlist x\n'), {
    domain: 'b',
    search: ['c', 'd', 'e'],
  });
  t.same(parseResolvConf(''), {});
});

t.test(
  'host-local: an ADD says that it begins before the first lease, and only where there was none',
  async (t) => {
    const w = world(t);
    const seen: string[][] = [];
    const begins = () => void seen.push(leaseFiles(w));
    const announced = { ...w, ambient: { ...w.ambient, begins } };
    const ipam = { type: 'host-local', ranges: [[{ subnet: '10.1.0.0/24' }]] };
    const add = (id: string) => call(hostLocalPlugin, announced, 'ADD', { ipam }, { CNI_CONTAINERID: id });
    t.equal((await add('a')).status, 0);
    t.same(seen, [[]]);
    t.equal((await add('a')).answer.code, 104, 'what the first ADD made is not to be cleared away');
    t.equal(seen.length, 1);
    t.equal((await add('b')).status, 0);
    t.same(seen, [[], ['10.1.0.2']]);
  },
);
