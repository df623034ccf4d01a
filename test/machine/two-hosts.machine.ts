/** docs/networks.md, "On two real machines", as it is written there: a tunnel, plain routes, BGP, and a machine that dies. */
import t from 'tap';
import { until as untilWithin } from '../support/until.ts';
import { type Machine, machine, wire } from './machine.ts';

const NETWORKS = [
  { name: 'podnet', plugin: { type: 'vxlan', pool: '10.244.0.0/16' }, mtu: 1450 },
  { name: 'plain', plugin: { type: 'routed', pool: '10.245.0.0/16' }, mtu: 1500 },
  {
    name: 'spoken',
    plugin: { type: 'routed', backend: 'bgp', bgp: { asn: 64512 }, pool: '10.246.0.0/16' },
    mtu: 1500,
  },
] as const;
type Network = (typeof NETWORKS)[number];
/** Machines without KVM are slow. */
const until = (what: string, condition: () => Promise<boolean>) => untilWithin(what, condition, 300_000);
const REGISTRY = 'etcd://10.0.0.1:2379';

/** Its link to the other, as any machine in a rack has it, the conflists, and the agent. */
async function prepare(guest: Machine, address: string): Promise<void> {
  const conflists = NETWORKS.map(({ name, plugin }) => {
    const conflist = { cniVersion: '1.0.0', cniVersions: ['1.0.0', '1.1.0'], name, plugins: [plugin] };
    return `cat >/etc/cni/net.d/10-${name}.conflist <<'END'\n${JSON.stringify(conflist)}\nEND`;
  });
  await guest.exec(`ip addr add ${address}/24 dev eth0 && ip link set eth0 up && ip route add default via 10.0.0.254
    mkdir -p /opt/cni /etc/cni/net.d /usr/local/bin && rm -rf /opt/cni/bin /etc/cni/net.d/*
    cp -a dist/bin /opt/cni/bin && ln -sf /opt/cni/bin/weft /usr/local/bin/weft
    ${conflists.join('\n')}`);
}
const startAgent = (guest: Machine) =>
  guest.exec(`setsid weft agent --registry ${REGISTRY} </dev/null >/tmp/agent.log 2>&1 &`);

const members = async (guest: Machine, network: string) =>
  (await guest.exec(`weft network show ${network}`, { mayFail: true })).stdout.split('\n');
const ready = (guest: Machine, network: string, other: string) =>
  until(`${guest.name} reaches ${other}`, async () =>
    (await members(guest, network)).some((line) => line.startsWith(`${other} `) && /\d ms$/.test(line)),
  );

/** Attaches a container; its address. */
async function attach(guest: Machine, network: string): Promise<string> {
  const { stdout } = await guest.exec(`ip netns add ${network} && weft net add ${network} ${network} --json`);
  return JSON.parse(stdout).ips[0].address.split('/')[0];
}
const ping = async (guest: Machine, from: string, to: string, ...options: string[]) =>
  await guest.exec(`ip netns exec ${from} ping -n -c 1 -w 20 ${options.join(' ')} ${to}`, { mayFail: true });

const [left, right] = await wire(t);
const memory = 1536;
const twoAgain = () => machine(t, { name: 'two', memory, limit: 2400, wires: [right] });
const [one, two] = await Promise.all([
  machine(t, { name: 'one', memory, limit: 2400, wires: [left] }),
  twoAgain(),
]);
t.comment(`up after ${one.bootMs} and ${two.bootMs} ms`);
await Promise.all([prepare(one, '10.0.0.1'), prepare(two, '10.0.0.2')]);
await one.exec(`mkdir /tmp/etcd && setsid etcd --data-dir /tmp/etcd --listen-client-urls http://10.0.0.1:2379 \\
  --advertise-client-urls http://10.0.0.1:2379 </dev/null >/tmp/etcd.log 2>&1 &`);
await Promise.all([startAgent(one), startAgent(two)]);
/** Of the containers on one and on two. */
const addresses = new Map<Network, readonly [string, string]>();

for (const network of NETWORKS) {
  const { name, mtu } = network;
  t.test(`${name}: containers of both machines reach each other`, async (t) => {
    await Promise.all([ready(one, name, 'two'), ready(two, name, 'one')]);
    const [a, b] = await Promise.all([attach(one, name), attach(two, name)]);
    addresses.set(network, [a, b]);
    await until('the way is there', async () => (await ping(one, name, b)).status === 0);
    t.equal((await ping(two, name, a)).status, 0, 'and back');
    const whole = await ping(one, name, b, '-M do', `-s ${mtu - 28}`);
    t.equal(whole.status, 0, `packets of ${mtu} bytes pass`);
    const more = await ping(one, name, b, '-M do', `-s ${mtu - 27}`);
    t.match(more.stdout + more.stderr, new RegExp(`mtu=${mtu}|message too long`, 'i'), 'larger ones do not');
    const served = `ip netns exec ${name} setsid python3 -m http.server --directory /tmp/served 80 </dev/null >/dev/null 2>&1 &`;
    await two.exec(`mkdir -p /tmp/served && head -c 2000000 /dev/urandom >/tmp/served/file && ${served}`);
    const fetch = `curl -sS --retry 60 --retry-delay 1 --retry-connrefused http://${b}/file | sha256sum`;
    const { stdout } = await one.exec(`ip netns exec ${name} ${fetch}`);
    t.equal(
      stdout,
      (await two.exec('sha256sum </tmp/served/file')).stdout,
      'two megabytes arrive as they are',
    );
  });
}

t.test('a machine dies', async (t) => {
  await two.stop();
  for (const { name } of NETWORKS)
    t.equal(
      (await ping(one, name, '10.0.0.1')).status,
      0,
      `${name}: the other's containers are where they were`,
    );
  await until('it is seen', async () =>
    (await members(one, 'podnet')).some((line) => line.startsWith('two ') && !/\d ms$/.test(line)),
  );
  await one.exec('ip netns add late && weft net add podnet late');
  t.pass('new containers come');
  const lost = 'ip route show table all | grep -E "^10\\.24[456]\\."';
  for (const { name } of NETWORKS)
    await one.exec(`weft network leave ${name} --registry ${REGISTRY} --node two --force`);
  await until('its routes are gone', async () => {
    const { stdout } = await one.exec(lost, { mayFail: true });
    return [...addresses.values()].every(([, b]) => !stdout.includes(`${b.replace(/\.\d+$/, '')}.0/24`));
  });
});

t.test('and comes back', async (t) => {
  const back = await twoAgain();
  await prepare(back, '10.0.0.2');
  await startAgent(back);
  for (const [{ name }, [a]] of addresses) {
    await ready(back, name, 'one');
    await attach(back, name);
    await until(`${name}: reached again`, async () => (await ping(back, name, a)).status === 0);
  }
  t.match(await one.exec('weft status', { mayFail: true }), { status: 0, stdout: /this host is well$/ });
});
