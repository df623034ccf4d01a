import t from 'tap';
import { runPlugin } from '../../cni/skel.ts';
import { loadPlugin } from '../../plugins/registry.ts';
import { type Ground, makeGround } from '../runtime/fake-plugins.ts';
import { weft } from './weft.ts';

const IPAM = { type: 'host-local', ranges: [[{ subnet: '10.1.0.0/24' }], [{ subnet: 'fd00:1::/64' }]] };
const BRIDGE = { type: 'bridge', bridge: 'br9', isDefaultGateway: true, ipMasq: true, ipam: IPAM };

/** A plan touches nothing: every way to do something is closed. */
function ground(t: Parameters<typeof makeGround>[0]): Ground {
  const made = makeGround(t);
  const closed = async (): Promise<never> => {
    throw new Error('a plan touches nothing');
  };
  return { ...made, ambient: { ...made.ambient, lock: closed, run: closed, hostId: () => 'test-host' } };
}

function list(...plugins: object[]) {
  return { cniVersion: '1.0.0', name: 'podnet', plugins };
}

t.test('a chain as lines', async (t) => {
  const g = ground(t);
  const file = g.write('p.conflist', list(BRIDGE, { type: 'limiter' }, { type: 'loopback' }));
  const { status, out, err } = await weft(
    g.ambient,
    'plan',
    file,
    '--id',
    'web',
    '--netns',
    '/run/netns/web',
  );
  t.same({ status, err }, { status: 0, err: '' });
  const lines = out.split('\n');
  t.equal(lines[0], '# ADD eth0 of container web to network podnet');
  for (const wanted of [
    '# bridge (plugin 1 of 3)',
    'ip addr add 10.1.0.1/24 dev br9',
    'ip -n web addr add 10.1.0.2/24 dev eth0',
    'ip -n web -6 addr add fd00:1::2/64 dev eth0 nodad',
    'ip -n web route add default via 10.1.0.1 dev eth0',
    'sysctl -w net/ipv4/ip_forward=1',
    '# limiter (plugin 2 of 3)',
    "# limiter is not one of weft's plugins: what it does is its own affair",
    '# loopback (plugin 3 of 3)',
    'ip -n web link set lo up',
  ]) {
    t.ok(lines.includes(wanted), wanted);
  }
  t.match(out, /^nft 'add element inet weft masquerade4 \{ 10\.1\.0\.2 /m);
});

t.test('a network between hosts, as on the host that holds the first part', async (t) => {
  const g = ground(t);
  const pools = [{ prefix: '10.244.0.0/16' }, { prefix: 'fd00:244::/48', hostLength: 72 }];
  const addresses = async (plugin: object) => {
    const file = g.write('p.conflist', list({ ...plugin, pools }));
    const { status, out, err } = await weft(g.ambient, 'plan', file);
    t.same({ status, err }, { status: 0, err: '' });
    t.match(
      out,
      /^# addresses are those of a host that holds the first part of the pool, the MTU is (what fits|1400, or what fits where that is less):/m,
    );
    t.match(out, /ip daddr 10\.244\.0\.0\/16 return/);
    return [...out.matchAll(/ addr add (\S+) dev eth0/g)].map(([, address]) => address);
  };
  t.same(await addresses({ type: 'vxlan', mtu: 1400 }), ['10.244.0.2/24', 'fd00:244::2/72']);
  t.same(await addresses({ type: 'routed' }), ['10.244.0.1/32', 'fd00:244::1/128']);
  const file = g.write('p.conflist', list({ type: 'vxlan', mode: 'l3' }));
  const { status, err } = await weft(g.ambient, 'plan', file);
  t.match({ status, err }, { status: 1, err: /pool: missing, wanted the prefix of all containers/ });
});

t.test('asked addresses, backend, YAML, single plugin, standard input', async (t) => {
  const g = ground(t);
  const conf = { cniVersion: '0.4.0', name: 'one', ...BRIDGE, ipMasqBackend: 'iptables' };
  const single = g.write('one.conf', conf);
  const { out } = await weft(g.ambient, 'plan', single, '--arg', 'IP=10.1.0.77', '--ifname', 'net1');
  t.match(out, /addr add 10\.1\.0\.77\/24 dev net1/);
  t.match(out, /^ipset create /m);
  t.notMatch(out, /^nft/m);
  const yaml = g.write(
    'y.yaml',
    'cniVersion: 1.0.0\nname: y\nplugins: [{type: ptp, ipam: {type: static, addresses: [{address: 10.9.0.5/24, gateway: 10.9.0.1}]}}]\n',
  );
  t.match((await weft(g.ambient, 'plan', yaml)).out, /addr add 10\.9\.0\.5/);
  const piped = { ...g.ambient, input: async () => JSON.stringify(conf) };
  t.equal((await weft(piped, 'plan', '-', '--arg', 'IP=10.1.0.77', '--ifname', 'net1')).out, out);
});

t.test('fields that do nothing are warned of, with what may be meant', async (t) => {
  const g = ground(t);
  const file = g.write(
    'odd.conflist',
    list(
      {
        ...{
          ...BRIDGE,
          isGatway: true,
          ISGATEWAY: true,
          MTU: 1400,
          vlanTrunk: [{ minid: 1, maxID: 5, idd: 3 }],
        },
        dns: { nameserver: [] },
        ipam: {
          type: 'host-local',
          ranges: [[{ subnet: '10.1.0.0/24', rangestart: '10.1.0.9', range_end: '' }]],
          nonsense: 1,
        },
      },
      { type: 'limiter', anything: true },
    ),
  );
  const { status, out, err } = await weft(g.ambient, 'plan', file);
  t.equal(status, 0);
  t.match(out, 'ip addr add 10.1.0.1/24 dev br9');
  t.same(err.split('\n'), [
    'weft: warning: plugins[0].isGatway: bridge has no such field: did you mean isGateway?',
    'weft: warning: plugins[0].vlanTrunk[0].idd: bridge has no such field: did you mean id?',
    'weft: warning: plugins[0].dns.nameserver: bridge has no such field: did you mean nameservers?',
    'weft: warning: plugins[0].ipam.ranges[0][0].range_end: host-local has no such field: did you mean rangeEnd?',
    'weft: warning: plugins[0].ipam.nonsense: host-local has no such field',
    '',
  ]);
});

t.test('an IPAM that is not ours is named', async (t) => {
  const g = ground(t);
  const file = g.write('d.conflist', list({ type: 'bridge', ipam: { type: 'dhcp' } }));
  const { out, status } = await weft(g.ambient, 'plan', file);
  t.equal(status, 0);
  t.match(out, /# addresses and routes come from dhcp, which says them only when it is run/);
  t.match(out, /^ip link add cni0/m);
});

t.test('JSON has steps, lines and the result', async (t) => {
  const g = ground(t);
  const { out } = await weft(g.ambient, 'plan', g.write('p.conflist', list(BRIDGE)), '--json');
  const plan = JSON.parse(out);
  t.match(plan, { network: 'podnet', cniVersion: '1.0.0', plugins: [{ type: 'bridge', notes: [] }] });
  t.ok(plan.plugins[0].plan.some(({ kind }: { kind: string }) => kind === 'masquerade'));
  t.match(plan.plugins[0].result, {
    cniVersion: '1.0.0',
    ips: [{ address: '10.1.0.2/24', gateway: '10.1.0.1' }, { address: 'fd00:1::2/64' }],
  });
});

t.test('what a plugin refuses is refused in its words', async (t) => {
  const g = ground(t);
  for (const change of [
    { bridge: 7 },
    { bridge: 'a-name-that-is-too-long' },
    { hairpinMode: true, promiscMode: true },
    { ipam: { type: 'host-local' } },
    { ipam: { type: 'host-local', subnet: '10.1.0.1/24' } },
    { ipam: { type: 'host-local', subnet: '10.1.0.0/24', gateway: '10.2.0.1' } },
    { ipam: { type: 'host-local', ranges: [[{ subnet: '10.1.0.0/24' }], [{ subnet: '10.1.0.0/25' }]] } },
  ]) {
    const plugin = { ...BRIDGE, ...change };
    const planned = await weft(g.ambient, 'plan', g.write('bad.conflist', list(plugin)), '--json');
    t.equal(planned.status, 1, JSON.stringify(change));
    const { code, msg } = JSON.parse(planned.out);
    const real = await fromPlugin(g, { cniVersion: '1.0.0', name: 'podnet', ...plugin });
    t.same({ code, msg }, real, msg);
    t.match(planned.err, msg);
  }
});

/** The error of the plugin itself, which comes before it opens any namespace. */
async function fromPlugin(g: Ground, conf: object): Promise<{ code: number; msg: string }> {
  const open = async (): Promise<never> => {
    throw new Error('refused too late');
  };
  const env = {
    CNI_COMMAND: 'ADD',
    CNI_CONTAINERID: 'example',
    CNI_IFNAME: 'eth0',
    CNI_NETNS: '/run/netns/example',
    CNI_PATH: '/nonexistent',
  };
  const namespace = { path: undefined, identity: '', fd: -1, close: () => {} };
  const opened = { ...namespace, send: async () => [{ ok: false }] };
  const door = { open: async () => opened };
  const verbs = await loadPlugin('bridge', { door: door as never });
  const { stdout } = await runPlugin(
    verbs,
    { ...g.ambient, env, input: async () => JSON.stringify(conf), run: open },
    { look: () => ({ state: 'other' }) },
  );
  const { code, msg } = JSON.parse(stdout);
  return { code, msg };
}

t.test('a version that is not known is refused', async (t) => {
  const g = ground(t);
  const file = g.write('v.conflist', { ...list(BRIDGE), cniVersion: '9.0.0' });
  t.match(await weft(g.ambient, 'plan', file), {
    status: 1,
    err: /cniVersion: found "9\.0\.0", wanted one of 0\.1\.0/,
  });
});
