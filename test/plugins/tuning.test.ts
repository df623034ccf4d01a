/** What a container's link and settings are like, as `ip` and /proc show it, and that DEL puts it back. */
import { existsSync } from 'node:fs';
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { render } from '../../plan/engine.ts';
import type { TuningConf } from '../../plugins/tuning/schema.ts';
import { sysctlPath } from '../../plugins/tuning/sysctl.ts';
import { tuning } from '../../plugins/tuning/tuning.ts';
import { realAmbient } from '../../runtime/ambient.ts';
import { type Container, exec, execIn, ip, ping } from '../support/host.ts';
import { BRIDGE, makeWorld, type World } from './world.ts';

const MAC = '0a:58:0a:01:00:63';

interface Seen {
  mac: string;
  mtu: number;
  flags: string[];
  queue: number;
  somaxconn: string;
  arpFilter: string;
  tcp: string;
}

const setting = async (netns: string, key: string) =>
  (await execIn(netns, 'cat', [`/proc/sys/net/${key}`])).stdout.trim();

async function see({ netns }: Container): Promise<Seen> {
  const [link] = await ip(netns, 'link', 'show', 'eth0');
  return {
    ...{ mac: link.address, mtu: link.mtu, queue: link.txqlen },
    flags: link.flags.filter((flag: string) => ['PROMISC', 'ALLMULTI'].includes(flag)).sort(),
    somaxconn: await setting(netns, 'core/somaxconn'),
    arpFilter: await setting(netns, 'ipv4/conf/eth0/arp_filter'),
    tcp: await setting(netns, 'ipv4/tcp_rmem'),
  };
}

const config = (world: World, more: object) => ({
  ...{ cniVersion: '1.1.0', name: BRIDGE.name, type: 'tuning', dataDir: join(world.host.root, 'kept') },
  ...more,
});

const EVERYTHING = {
  sysctl: {
    'net.core.somaxconn': '500',
    'net.ipv4.conf.IFNAME.arp_filter': '1',
    'net.ipv4.tcp_rmem': '4096 90000 600000',
  },
  ...{ mac: MAC, mtu: 1400, promisc: true, allmulti: true, txQLen: 77 },
};

t.test('everything is set, checked, and put back', async (t) => {
  const world = await makeWorld(t);
  const container = await world.container();
  const prevResult = await world.add(BRIDGE, container);
  const before = await see(container);
  const conf = config(world, EVERYTHING);
  const options = { container, prevResult };
  const { json } = await world.ok('ADD', conf, options);
  t.match(
    json.interfaces.find(({ name }: { name: string }) => name === 'eth0'),
    { mac: MAC, mtu: 1400 },
  );
  t.same(json.ips, prevResult.ips);
  const during = {
    ...{ mac: MAC, mtu: 1400, flags: ['ALLMULTI', 'PROMISC'], queue: 77 },
    ...{ somaxconn: '500', arpFilter: '1', tcp: '4096\t90000\t600000' },
  };
  t.same(await see(container), during);
  t.ok(await ping(world.host.netns, json.ips[0].address.split('/')[0]), 'neighbours know the new MAC');
  t.ok(await ping(world.host.netns, json.ips[1].address.split('/')[0]));
  const now = { container, prevResult: json };
  await world.ok('CHECK', conf, now);
  await world.ok('CHECK', BRIDGE, now);
  await world.ok('STATUS', conf);
  await world.ok('ADD', conf, options);
  t.same(await see(container), during, 'an ADD may be repeated');

  await execIn(container.netns, 'ip', ['link', 'set', 'eth0', 'mtu', '1300', 'promisc', 'off']);
  await execIn(container.netns, 'sh', ['-c', 'echo 400 > /proc/sys/net/core/somaxconn']);
  t.match((await world.call('CHECK', conf, now)).json, {
    code: 101,
    msg: /MTU of eth0 in the container: wanted 1400, found 1300; promiscuous mode .*somaxconn.* wanted 500, found 400/,
  });

  await world.ok('DEL', config(world, {}), options);
  t.same(await see(container), before, 'as before the first ADD, whatever the configuration says by now');
  t.same(await readdir(conf.dataDir), []);
  await world.ok('DEL', conf, { container: { id: container.id, netns: '' } });
});

t.test('arguments of the runtime, and nothing to do', async (t) => {
  const world = await makeWorld(t);
  const container = await world.container();
  const prevResult = await world.add(BRIDGE, container);
  const before = await see(container);
  const plain = config(world, { sysctl: {}, mac: '', mtu: 0, promisc: false });
  t.same((await world.ok('ADD', plain, { container, prevResult })).json, prevResult, 'as Podman writes it');
  t.notOk(existsSync(plain.dataDir), 'nothing is kept');
  t.same(await see(container), before);

  const seen = async (more: object, args?: string) => {
    const options = { container, prevResult, ...(args && { args }) };
    await world.ok('ADD', config(world, more), options);
    const now = await see(container);
    await world.ok('DEL', config(world, more), options);
    return now;
  };
  const upper = { mac: '0A:58:0A:01:00:01' };
  t.match(await seen(upper), { mac: '0a:58:0a:01:00:01' });
  t.match(await seen(upper, 'MAC=0a:58:0a:01:00:02'), { mac: '0a:58:0a:01:00:02' });
  const args = { cni: { mac: '0a:58:0a:01:00:03', mtu: 1290, sysctl: { 'net.core.somaxconn': '300' } } };
  t.match(await seen({ ...upper, args }), { mac: '0a:58:0a:01:00:03', mtu: 1290, somaxconn: '300' });
  const runtimeConfig = { mac: '0a:58:0a:01:00:04' };
  t.match(await seen({ ...upper, args, runtimeConfig }), { mac: '0a:58:0a:01:00:04' });
  t.same(await see(container), before);
});

t.test('what fails leaves nothing, GC forgets, the allow list holds', async (t) => {
  const world = await makeWorld(t);
  const container = await world.container();
  const prevResult = await world.add(BRIDGE, container);
  const before = await see(container);
  const add = async (more: object) =>
    (await world.call('ADD', config(world, more), { container, prevResult })).json;
  t.match(await add({ ...EVERYTHING, sysctl: { 'net.core.somaxconn': '300', 'net.no.such': '1' } }), {
    msg: /the kernel has no net\/no\/such in the container/,
  });
  t.match(await add({ ...EVERYTHING, sysctl: { 'net.core.somaxconn': 'many' } }), { code: 5 });
  t.same(await see(container), before);
  for (const key of ['kernel.hostname', 'net/../kernel/hostname', 'net', 'net.core..somaxconn']) {
    t.match(await add({ sysctl: { [key]: '1' } }), { code: 7, msg: /wanted a setting of the network/ }, key);
  }
  t.match(await add({ mac: 'ff:ff:ff:ff:ff:ff' }), { code: 7, msg: /mac/ });

  const folder = join(world.host.dirs.conf, '..', 'tuning');
  await mkdir(folder);
  await writeFile(join(folder, 'allowlist.conf'), '^net\\.ipv4\\.conf\\..*\n\n  somaxconn$\n');
  await world.ok('ADD', config(world, { sysctl: { 'net.core.somaxconn': '300' } }), {
    container,
    prevResult,
  });
  t.match(await see(container), { somaxconn: '300' });
  t.match(await add(EVERYTHING), { code: 7, msg: /net\.ipv4\.tcp_rmem is not allowed .*allowlist\.conf/ });
  await writeFile(join(folder, 'allowlist.conf'), 'net\n(\n');
  t.match(await add(EVERYTHING), { code: 7, msg: /allowlist\.conf, line 2: \( is no regular expression/ });

  const valid = (ids: string[]) => ids.map((containerID) => ({ containerID, ifname: 'eth0' }));
  const gc = (conf: object, ids: string[]) =>
    world.ok('GC', { ...conf, 'cni.dev/valid-attachments': valid(ids) });
  const conf = config(world, {});
  await gc(conf, [container.id]);
  await gc({ ...conf, name: 'other' }, []);
  t.same(await readdir(conf.dataDir), [`${container.id}_eth0.json`]);
  await gc(conf, []);
  t.same(await readdir(conf.dataDir), []);
});

t.test('what the reference kept is restored, and the other way round', async (t) => {
  const world = await makeWorld(t);
  const container = await world.container();
  const prevResult = await world.add(BRIDGE, container);
  const before = await see(container);
  const conf = {
    ...config(world, { mac: MAC, mtu: 1400, promisc: true, allmulti: true }),
    cniVersion: '1.0.0',
  };
  const reference = (command: string) =>
    exec('/usr/lib/cni/tuning', [], {
      input: JSON.stringify({ ...conf, prevResult: { ...prevResult, cniVersion: '1.0.0' } }),
      env: {
        ...{ CNI_COMMAND: command, CNI_CONTAINERID: container.id, CNI_NETNS: container.netns },
        ...{ CNI_IFNAME: 'eth0', CNI_PATH: '/usr/lib/cni' },
      },
    });
  await reference('ADD');
  t.match(await see(container), { mac: MAC, mtu: 1400 });
  await world.ok('CHECK', conf, { container, prevResult });
  await world.ok('DEL', conf, { container, prevResult });
  t.same(await see(container), before);
  await world.ok('ADD', conf, { container, prevResult });
  await reference('DEL');
  t.same(await see(container), before);
  t.same(await readdir(conf.dataDir), []);
});

t.test('names of settings, and the plan as a person would type it', async (t) => {
  t.equal(sysctlPath('net.ipv4.conf.IFNAME.arp_filter', 'eth0.100'), 'net/ipv4/conf/eth0.100/arp_filter');
  t.equal(sysctlPath('net/ipv4/conf/eth0.100/arp_filter', 'eth0'), 'net/ipv4/conf/eth0.100/arp_filter');
  const attachment = { containerId: 'c1', ifname: 'eth0', network: 'net', netns: '/run/netns/c1' };
  const { paths } = realAmbient({});
  const conf = { cniVersion: '1.1.0', name: 'net', type: 'tuning', ...EVERYTHING } as TuningConf;
  const plan = tuning.plan({ config: conf, attachment, prevResult: undefined, args: {}, paths });
  t.match(plan[0], { file: '/run/cni/tuning/c1_eth0.json' });
  t.same(render(plan, { netns: attachment.netns, masquerade: () => [] }), [
    `ip -n c1 link set eth0 address ${MAC}`,
    'ip -n c1 link set eth0 mtu 1400',
    'ip -n c1 link set eth0 promisc on',
    'ip -n c1 link set eth0 allmulticast on',
    'ip -n c1 link set eth0 txqueuelen 77',
    'ip netns exec c1 sysctl -w net/core/somaxconn=500',
    'ip netns exec c1 sysctl -w net/ipv4/conf/eth0/arp_filter=1',
    "ip netns exec c1 sysctl -w 'net/ipv4/tcp_rmem=4096 90000 600000'",
  ]);
});
