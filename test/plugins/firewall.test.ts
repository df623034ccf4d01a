/** Who reaches whom through a host that forwards nothing by itself, by packets; and whose rules come first. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import t, { type Test } from 'tap';
import { render } from '../../plan/engine.ts';
import { firewall } from '../../plugins/firewall/firewall.ts';
import type { FirewallConf } from '../../plugins/firewall/schema.ts';
import { realAmbient } from '../../runtime/ambient.ts';
import {
  type Container,
  exec,
  execIn,
  firewallLines,
  makeOutside,
  OUTSIDE,
  ping,
  UPLINK,
} from '../support/host.ts';
import { BRIDGE, makeWorld, type World } from './world.ts';

const MASQUERADED = { ...BRIDGE, ipMasq: true };
const config = (more: object = {}) => ({
  ...{ cniVersion: '1.1.0', name: BRIDGE.name, type: 'firewall', backend: '', ...more },
});
const BOTH = ['iptables', 'ip6tables'] as const;

/** As Docker leaves a host. */
async function dropForwarding({ host }: World): Promise<void> {
  for (const program of BOTH) await execIn(host.netns, program, ['-P', 'FORWARD', 'DROP']);
}

interface Wired {
  container: Container;
  prevResult: { ips: { address: string }[] };
  addresses: string[];
}

async function wire(world: World, bridge: object = MASQUERADED): Promise<Wired> {
  const container = await world.container();
  const prevResult = await world.add(bridge, container);
  const addresses = prevResult.ips.map(({ address }: { address: string }) => address.split('/')[0]);
  return { container, prevResult, addresses };
}

/** Three packets, and a second for the last: who is to be kept out shall not be waited for as long as who is to be let through. */
async function pingBriefly(netns: string, address: string): Promise<boolean> {
  const args = ['-n', '-q', '-c', '3', '-i', '0.2', '-W', '1', address];
  return (await execIn(netns, 'ping', args, { mayFail: true })).status === 0;
}

/** Which of the addresses answer, looked at in the way that fits what is expected. */
const reaches = (from: Wired, addresses: readonly string[], expected: readonly boolean[]) =>
  Promise.all(
    addresses.map((address, i) => (expected[i] ? ping : pingBriefly)(from.container.netns, address)),
  );
const OUT = [OUTSIDE.v4, OUTSIDE.v6];
const YES = [true, true];
const NO = [false, false];

t.test('a host that forwards nothing: containers, ports, and the administrator', async (t) => {
  const world = await makeWorld(t);
  const outside = await makeOutside(t, world.host);
  const host = world.host.netns;
  await dropForwarding(world);
  const [a, b] = [await wire(world), await wire(world)];
  t.same(await reaches(a, OUT, NO), NO, 'nothing is forwarded');
  const options = { container: a.container, prevResult: a.prevResult };
  t.same((await world.ok('ADD', config(), options)).json, a.prevResult, 'the result is passed on');
  t.same(await reaches(a, OUT, YES), YES);
  await world.ok('CHECK', config(), options);
  await world.ok('STATUS', config());
  const once = await firewallLines(host, a.container.id);
  await world.ok('ADD', config(), options);
  t.same(await firewallLines(host, a.container.id), once, 'an ADD may be repeated');
  t.same(await reaches(b, OUT, NO), NO, 'one that did not ask is not let through');

  await serve(t, a.container);
  t.equal(await ask(outside, 1), '', 'no port is published');
  const ports = {
    ...{ cniVersion: '1.1.0', name: BRIDGE.name, type: 'portmap' },
    runtimeConfig: { portMappings: [{ hostPort: 8080, containerPort: 80 }] },
  };
  await world.ok('ADD', ports, options);
  t.equal(await ask(outside), 'hello', 'who asks from outside for a published port');

  await execIn(host, 'iptables', ['-A', 'CNI-ADMIN', '-d', OUTSIDE.v4, '-j', 'DROP']);
  t.same(await reaches(a, OUT, [false, true]), [false, true], 'what the administrator says comes first');
  await world.ok('ADD', config({ iptablesAdminChainName: 'MINE' }), {
    ...{ container: b.container, prevResult: b.prevResult },
  });
  t.same(await reaches(b, OUT, [false, true]), [false, true], 'also of another network');
  const order = await execIn(host, 'iptables', ['-S', 'WEFT-FORWARD']);
  const targets = [...order.stdout.matchAll(/-j (\S+)/g)].map(([, target]) => target);
  t.same(targets, ['MINE', 'CNI-ADMIN', 'WEFT-ISOLATION', 'ACCEPT', 'ACCEPT'], 'constant, by ipset');

  await execIn(host, 'ip6tables', ['-F', 'FORWARD']);
  t.match((await world.call('CHECK', config(), options)).json, {
    code: 101,
    msg: /rule "-A FORWARD .* -j WEFT-FORWARD" in ip6tables table filter/,
  });
  await world.ok('ADD', config(), options);
  await world.ok('CHECK', config(), options);

  await world.ok('DEL', config(), { container: { id: a.container.id, netns: '' } });
  t.same(
    (await firewallLines(host, a.container.id)).filter(
      (line) => !/portmap|ports|own/.test(line) && /FORWARD|state/.test(line),
    ),
    [],
  );
  const let6 = async () => (await firewallLines(host, 'weft_let6')).filter((line) => /^add/.test(line));
  t.equal((await let6()).length, 1);
  const gc = { ...config(), 'cni.dev/valid-attachments': [] };
  await world.ok('GC', { ...gc, name: 'other' });
  t.match(await let6(), [b.container.id]);
  await world.ok('GC', gc);
  t.same(await let6(), []);
  await world.ok('DEL', config(), { container: b.container, prevResult: b.prevResult });
});

t.test('a host that forwards everything: nothing of iptables is touched', async (t) => {
  const world = await makeWorld(t);
  await makeOutside(t, world.host);
  const host = world.host.netns;
  const a = await wire(world);
  const options = { container: a.container, prevResult: a.prevResult };
  await world.ok('ADD', config(), options);
  t.same(await reaches(a, OUT, YES), YES);
  const elements = await firewallLines(host, a.container.id);
  t.equal(elements.filter((line) => line.includes(`"${BRIDGE.name} ${a.container.id} eth0"`)).length, 2);
  const tables = async () => (await execIn(host, 'nft', ['list', 'tables'])).stdout;
  t.notMatch(await tables(), /ip6? filter/);

  const rule = ['add', 'rule', 'inet', 'weft-forward', 'admin', 'ip', 'daddr', OUTSIDE.v4, 'drop'];
  await execIn(host, 'nft', rule);
  t.same(await reaches(a, OUT, [false, true]), [false, true], 'what the administrator says comes first');
  await execIn(host, 'nft', ['flush', 'chain', 'inet', 'weft-forward', 'forward']);
  t.match((await world.call('CHECK', config(), options)).json, {
    code: 101,
    msg: /rules of the administrator/,
  });
  await world.ok('ADD', config(), options);
  await world.ok('CHECK', config(), options);
  t.match((await firewallLines(host, OUTSIDE.v4)).join(), 'drop', 'and stays when ours is installed anew');

  await dropForwarding(world);
  t.match((await world.call('CHECK', config(), options)).json, { code: 101, msg: /ip6tables/ });
  await world.ok('ADD', config(), options);
  await world.ok('CHECK', config(), options);
  // The configuration says another backend by now.
  const bare = { id: a.container.id, netns: '' };
  await world.ok('DEL', config({ backend: 'iptables' }), { container: bare });
  const left = async () =>
    (await firewallLines(host, a.container.id)).filter((line) => line.includes(`"${BRIDGE.name} `));
  t.same(await left(), []);

  await world.ok('ADD', config({ backend: 'iptables', ingressPolicy: 'same-bridge' }), options);
  t.equal((await left()).length, 2);
  await world.ok('DEL', config({ backend: 'nftables' }), options);
  t.same(await left(), []);
  await world.ok('ADD', config({ backend: 'nftables' }), options);
  t.notOk((await left()).some((line) => line.includes('weft_let')));
  await world.ok('CHECK', config({ backend: 'nftables' }), options);
  await world.ok('STATUS', config({ backend: 'nftables' }));
  await world.ok('GC', { ...config(), 'cni.dev/valid-attachments': [] });
  t.same(await left(), []);
});

for (const backend of ['', 'iptables']) {
  t.test(`bridges apart, and containers of one bridge apart, by "${backend}"`, async (t) => {
    const world = await makeWorld(t);
    await makeOutside(t, world.host);
    const other = {
      ...{ ...MASQUERADED, name: 'othernet', bridge: 'br1' },
      ipam: {
        ...{ type: 'host-local', routes: BRIDGE.ipam.routes },
        ranges: [[{ subnet: '10.2.0.0/24' }], [{ subnet: 'fd00:2::/64' }]],
      },
    };
    const [a, b] = [await wire(world), await wire(world)];
    const [c, d] = [await wire(world, other), await wire(world, other)];
    const add = (wired: Wired, more: object) =>
      world.ok('ADD', config({ backend, ...more }), {
        ...{ container: wired.container, prevResult: wired.prevResult },
      });
    await add(a, { ingressPolicy: 'same-bridge' });
    t.same(await reaches(a, c.addresses, YES), YES, 'the other bridge has no policy');
    const apart = { backend, name: other.name, ingressPolicy: 'isolated' };
    await add(c, apart);
    await add(d, apart);
    const answers = await Promise.all([
      reaches(a, c.addresses, NO),
      reaches(c, a.addresses, NO),
      reaches(c, d.addresses, NO),
      reaches(a, b.addresses, YES),
      reaches(a, OUT, YES),
      reaches(c, OUT, YES),
    ]);
    t.same(answers, [NO, NO, NO, YES, YES, YES], 'apart: a from c, c from a, and c from d beside it');
    const options = { container: c.container, prevResult: c.prevResult };
    await world.ok('CHECK', config(apart), options);
    await world.ok('STATUS', config(apart));
    const [file = '', ...args] =
      backend === ''
        ? ['nft', 'flush', 'set', 'inet', 'weft-forward', 'links-apart']
        : ['iptables', '-F', 'WEFT-ISOLATION-2'];
    await execIn(world.host.netns, file, args);
    const { json } = await world.call('CHECK', config(apart), options);
    t.match(json, { code: 101, msg: backend === '' ? /"br1" \. "br1"/ : /-o br1 .*-j DROP/ });
    await add(c, apart);
    await world.ok('CHECK', config(apart), options);
    if (backend !== '') return;

    const links = async () =>
      (await firewallLines(world.host.netns, 'br1')).filter((line) => line.includes('"br1" . "br1"')).length;
    await world.ok('DEL', config(apart), options);
    t.equal(await links(), 2, 'another container of the bridge needs them');
    await world.ok('DEL', config(apart), { container: { id: d.container.id, netns: '' } });
    t.equal(await links(), 0);
  });
}

t.test('what the reference let through is checked, and goes', async (t) => {
  const world = await makeWorld(t);
  const a = await wire(world);
  const conf = { ...config(), cniVersion: '1.0.0' };
  const input = JSON.stringify({ ...conf, prevResult: { ...a.prevResult, cniVersion: '1.0.0' } });
  await execIn(world.host.netns, '/usr/lib/cni/firewall', [], {
    input,
    env: {
      ...{ CNI_COMMAND: 'ADD', CNI_CONTAINERID: a.container.id, CNI_NETNS: a.container.netns },
      ...{ CNI_IFNAME: 'eth0', CNI_PATH: '/usr/lib/cni', PATH: '/usr/sbin:/usr/bin:/sbin:/bin' },
    },
  });
  const left = async () =>
    (await firewallLines(world.host.netns, 'CNI-FORWARD')).filter((line) => line.includes('ACCEPT'));
  t.equal((await left()).length, 4);
  await world.ok('CHECK', conf, { container: a.container, prevResult: a.prevResult });
  await world.ok('DEL', conf, { container: a.container, prevResult: a.prevResult });
  t.same(await left(), []);
  t.match((await world.call('CHECK', conf, { container: a.container, prevResult: a.prevResult })).json, {
    code: 101,
  });
});

t.test('what cannot be meant, and the plan as a person would type it', async (t) => {
  const world = await makeWorld(t);
  const a = await wire(world);
  const add = async (more: object, prevResult: unknown = a.prevResult) =>
    (await world.call('ADD', config(more), { container: a.container, prevResult })).json;
  const bus = { env: { DBUS_SYSTEM_BUS_ADDRESS: `unix:path=${world.host.root}/none` } };
  const asked = { container: a.container, prevResult: a.prevResult, ...bus };
  const firewalld = { backend: 'firewalld' };
  t.match((await world.call('ADD', config(firewalld), asked)).json, { code: 105, msg: /start it/ });
  t.match((await world.call('STATUS', config(firewalld), bus)).json, { code: 50, msg: /start it/ });
  t.match(await add({ backend: 'nftables', iptablesAdminChainName: 'MINE' }), { code: 2, msg: /"admin"/ });
  t.match(await add({ backend: 'ufw' }), { code: 7, msg: /backend/ });
  t.match(await add({ ingressPolicy: 'closed' }), { code: 7, msg: /ingressPolicy/ });
  t.match(await add({ ingressPolicy: 'same-bridge' }, { ...a.prevResult, interfaces: [] }), {
    ...{ code: 7, msg: /named no link of the host/ },
  });
  t.same(await firewallLines(world.host.netns, 'WEFT-FORWARD', 'let4'), []);

  const attachment = { containerId: 'c1', ifname: 'eth0', network: 'net', netns: '/run/netns/c1' };
  const prevResult = {
    interfaces: [{ name: 'br0' }, { name: 'veth1' }, { name: 'eth0', sandbox: attachment.netns }],
    ips: [{ address: '10.1.0.2/24', interface: 2 }],
    ...{ routes: [], dns: {} },
  };
  const { paths } = realAmbient({});
  const linesOf = (more: object) => {
    const conf = config({ ingressPolicy: 'isolated', ...more }) as FirewallConf;
    const plan = firewall.plan({ config: conf, attachment, prevResult, args: {}, paths });
    return render(plan, { netns: attachment.netns, masquerade: () => [] });
  };
  const expect = (lines: readonly string[], wanted: readonly string[]) => {
    for (const line of wanted) t.ok(lines.includes(line), line);
  };
  const port = 'ip link set veth1 type bridge_slave isolated on';
  expect(linesOf({ backend: 'iptables' }), [
    'iptables -N WEFT-FORWARD',
    'iptables -I FORWARD -m comment --comment "weft: containers" -j WEFT-FORWARD',
    'iptables -A WEFT-FORWARD -m comment --comment "weft: rules of the administrator" -j CNI-ADMIN',
    'iptables -A WEFT-ISOLATION-2 -o br0 -m comment --comment "weft: isolated br0" -j DROP',
    'iptables -A WEFT-FORWARD -s 10.1.0.2/32 -m comment --comment "net c1 eth0" -j ACCEPT',
    port,
  ]);
  expect(linesOf({ backend: 'firewalld', firewalldZone: 'pods' }), [
    `nft 'add rule inet weft-forward forward jump admin comment "weft/1 rules of the administrator"'`,
    `nft 'add element inet weft-forward let4 { 10.1.0.2 comment "net c1 eth0" }'`,
    `nft 'add element inet weft-forward links-isolated { "br0" . "br0" }'`,
    'firewall-cmd --zone=pods --add-source=10.1.0.2/32',
    port,
  ]);
});

/** Answers on TCP port 80. */
async function serve(t: Test, { netns }: Container): Promise<void> {
  const script = `require('node:net').createServer((s) => s.on('error', () => {}).end('hello\\n')).listen(80, () => console.log('ready'))`;
  const child = spawn('nsenter', [`--net=${netns}`, '--', process.execPath, '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = once(child, 'exit');
  t.teardown(async () => {
    child.kill('SIGKILL');
    await ended;
  });
  for await (const _ of createInterface({ input: child.stdout })) return;
  throw new Error('the server ended');
}

/** What the server says; empty when nobody answers within so many seconds. */
async function ask(netns: string, seconds = 10): Promise<string> {
  const script = 'exec 3<>"/dev/tcp/$0/8080" && cat <&3';
  const args = [
    `--net=${netns}`,
    '--',
    'timeout',
    String(seconds),
    'bash',
    '--norc',
    '-c',
    script,
    UPLINK.v4,
  ];
  return (await exec('nsenter', args, { mayFail: true })).stdout.trim();
}
