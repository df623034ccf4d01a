/** One subnet stretched over hosts (L2): containers meet as on one switch, and nothing is flooded over the wire. */
import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import type { Endpoint, NetworkState } from '../../cluster/registry.ts';
import { exec, execIn, ip, type Teardown } from '../support/host.ts';
import { until } from '../support/until.ts';
import {
  container,
  makeWire,
  reaches,
  run,
  stateOf,
  tcp,
  vxlanNetwork,
  type Wire,
  type WiredHost,
} from './wire.ts';

const network = vxlanNetwork({ bridge: 'br42' });

interface Placed {
  netns: string;
  endpoints: Endpoint[];
}

/** A container with the addresses `.number`, and what the registry says of it. */
async function place(t: Teardown, host: WiredHost, number: number): Promise<Placed> {
  const mac = `02:00:00:00:00:0${number}`;
  const addresses = [`10.244.0.${number}`, `fd00:244::${number}`];
  const netns = await container(t, host, {
    addresses: [`${addresses[0]}/16`, `${addresses[1]}/48`],
    gateways: [],
    mac,
    mtu: 1450,
    master: 'br42',
  });
  return { netns, endpoints: addresses.map((address) => ({ address, mac, host: host.member.host })) };
}

/** What went over the wire while `act` ran, inner frames decoded: only what is in VXLAN. */
async function onWire(wire: Wire, t: Teardown, root: string, act: () => Promise<void>): Promise<string[]> {
  const file = `${root}/wire.pcap`;
  // Room for all that is sent, headers alone: nothing must be missed.
  const options = [
    '-Z',
    'root',
    '-U',
    '--immediate-mode',
    '-s',
    '256',
    '-B',
    '8192',
    '-i',
    'to1',
    '-w',
    file,
  ];
  const program = [`--net=${wire.netns}`, '--', 'tcpdump', ...options, 'udp', 'port', '4789'];
  const capture = spawn('nsenter', program, { stdio: ['ignore', 'ignore', 'pipe'] });
  t.teardown(() => void capture.kill('SIGKILL'));
  let words = '';
  capture.stderr.on('data', (data) => {
    words += data;
  });
  await until('tcpdump listens', async () => (await exec('stat', ['-c', '%s', file])).stdout !== '0');
  await act();
  // What was sent before the last packet is in the file when that is.
  const seen = await until('the last packet is in the file', async () => {
    const lines = (await exec('tcpdump', ['-n', '-r', file], { mayFail: true })).stdout.split('\n');
    return lines.some((line) => line.includes(`length ${LAST + 8}`)) && lines;
  });
  capture.kill('SIGINT');
  await until('tcpdump counts', () => words.includes('dropped by kernel'));
  if (!words.includes('\n0 packets dropped by kernel')) throw new Error(words);
  return seen;
}

/** Bytes in the packet that ends a capture. */
const LAST = 777;

const sendLast = (from: string, address: string) =>
  execIn(from, 'ping', ['-n', '-q', '-c', '1', '-w', '5', '-s', `${LAST}`, address]);

/** That an address does not answer within a second. */
async function isSilent(netns: string, address: string): Promise<boolean> {
  const args = ['-n', '-q', '-c', '2', '-i', '0.2', '-w', '1', address];
  return (await execIn(netns, 'ping', args, { mayFail: true })).status !== 0;
}

async function fdbOf(host: WiredHost): Promise<string> {
  return (await execIn(host.netns, 'bridge', ['fdb', 'show', 'dev', 'weft42'])).stdout;
}

t.test('containers of one stretched subnet', async (t) => {
  const wire = await makeWire(t);
  const hosts = [await wire.host(1), await wire.host(2), await wire.host(3)] as const;
  const members: NetworkState = stateOf(hosts);
  const all = await run(t, network, hosts, members);
  const placed = await Promise.all(hosts.map((host, i) => place(t, host, i + 1)));
  const endpoints = placed.flatMap((one) => one.endpoints);
  const update = (endpoints: readonly Endpoint[]) =>
    Promise.all(all.map(({ reconciler }) => reconciler.update({ ...members, endpoints })));
  const [one, two, three] = placed as [Placed, Placed, Placed];
  const root = await mkdtemp(join(tmpdir(), 'weft-t-'));
  t.teardown(() => rm(root, { recursive: true, force: true }));

  t.ok(await isSilent(one.netns, '10.244.0.2'), 'before the registry tells of them, nothing is known');
  const [told] = await update(endpoints);

  t.test('they reach each other, and no question after an address goes over the wire', async (t) => {
    await execIn(one.netns, 'ip', ['neigh', 'flush', 'all']);
    const seen = await onWire(wire, t, root, async () => {
      for (const address of ['10.244.0.2', '10.244.0.3', 'fd00:244::2', 'fd00:244::3']) {
        t.ok(await reaches(one.netns, address), address);
      }
      // Nobody has these: asked for on the own host, and nowhere else.
      t.ok(await isSilent(one.netns, '10.244.0.99'));
      t.ok(await isSilent(one.netns, 'fd00:244::99'));
      await tcp(one.netns, two.netns, '10.244.0.2');
      await sendLast(one.netns, '10.244.0.3');
    });
    t.match(seen.join('\n'), /10\.244\.0\.1 > 10\.244\.0\.2: ICMP echo request/, 'the capture sees inside');
    t.same(
      seen.filter((line) => /ARP|neighbor solicitation/.test(line)),
      [],
    );
    const [found] = await ip(one.netns, 'neigh', 'show', '10.244.0.2');
    t.equal(found.lladdr, '02:00:00:00:00:02', 'the answer is the true one');
  });

  t.test('each container costs one FDB entry, and one neighbour of each family', async (t) => {
    const [first] = hosts;
    t.match(await fdbOf(first), /02:00:00:00:00:02 dst 192\.0\.2\.2 self static/);
    t.match(await fdbOf(first), /02:00:00:00:00:02 master br42 static/);
    const neighbours = await ip(first.netns, 'neigh', 'show', 'dev', 'br42', 'nud', 'permanent');
    t.equal(neighbours.length, 4);
    t.equal(told?.changes, 6);
  });

  t.test('a container keeps address and MAC when it moves to another host', async (t) => {
    await exec('ip', ['netns', 'exec', two.netns.replace('/run/netns/', ''), 'ip', 'link', 'del', 'eth0']);
    const moved = await place(t, hosts[2], 2);
    await update([...one.endpoints, ...moved.endpoints, ...three.endpoints]);
    t.match(await fdbOf(hosts[0]), /02:00:00:00:00:02 dst 192\.0\.2\.3 self static/);
    t.notMatch(await fdbOf(hosts[2]), /02:00:00:00:00:02/);
    t.ok(await reaches(one.netns, '10.244.0.2'), 'without asking who has it');
    t.ok(await reaches(moved.netns, '10.244.0.1'));
    t.ok(await reaches(three.netns, 'fd00:244::2'), 'and on its new host');
  });

  t.test('what is unknown is not flooded, however the port is turned', async (t) => {
    const [first] = hosts;
    await execIn(first.netns, 'bridge', [
      'link',
      'set',
      'dev',
      'weft42',
      'flood',
      'on',
      'neigh_suppress',
      'off',
    ]);
    await until('the port is quiet again', async () => {
      const [{ linkinfo }] = (await ip(first.netns, '-d', 'link', 'show', 'weft42')) as [
        { linkinfo: { info_slave_data: Record<string, boolean> } },
      ];
      const { flood, neigh_suppress } = linkinfo.info_slave_data;
      return flood === false && neigh_suppress === true;
    });
    t.match(all[0]?.corrections.at(-1)?.what, ['settings of VXLAN device weft42']);
  });

  t.test('whatever is taken away comes back', async (t) => {
    const [first] = hosts;
    const printed = async () => {
      const port = await execIn(first.netns, 'bridge', ['link', 'show', 'dev', 'weft42']);
      const fdb = (await fdbOf(first)).split('\n').filter((line) => line.includes('02:00:00'));
      const neighbours = await execIn(first.netns, 'ip', [
        'neigh',
        'show',
        'dev',
        'br42',
        'nud',
        'permanent',
      ]);
      const words = [...fdb, ...neighbours.stdout.split('\n')].map((line) => line.trim()).sort();
      return [port.stdout.includes('master br42 state forwarding'), ...words].join('\n');
    };
    const before = await printed();
    t.match(before, /^true/);
    for (const damage of [
      'ip neigh flush dev br42 nud permanent',
      'bridge fdb del 02:00:00:00:00:03 dev weft42 master',
      'bridge fdb del 02:00:00:00:00:03 dev weft42 self',
      'ip link set weft42 nomaster',
      'ip link del weft42',
    ]) {
      await execIn(first.netns, 'sh', ['-c', damage]);
      await until(`put right: ${damage}`, async () => (await printed()) === before);
      t.ok(await reaches(one.netns, '10.244.0.3'), damage);
    }
    // With its ports, which are the containers': they are not made again, and the network must be there for new ones.
    await execIn(first.netns, 'ip', ['link', 'del', 'br42']);
    await until('the bridge is back', async () => (await printed()) === before);
  });

  t.test('a container that is gone is forgotten', async (t) => {
    await update(three.endpoints);
    t.notMatch(await fdbOf(hosts[0]), /02:00:00:00:00:02/);
    const neighbours = await ip(hosts[0].netns, 'neigh', 'show', 'dev', 'br42', 'nud', 'permanent');
    t.equal(neighbours.length, 2);
    t.same(
      all.flatMap(({ failures }) => failures),
      [],
    );
  });
});

t.test('a bridge that is there already is used, and stays', async (t) => {
  const wire = await makeWire(t);
  const host = await wire.host(1);
  await host.ip(
    'link add br42 address 02:00:00:00:00:77 type bridge',
    'neigh add 10.9.9.9 lladdr 02:00:00:00:00:99 dev br42 nud permanent',
  );
  const [one] = await run(t, network, [host], {
    ...stateOf([host]),
    endpoints: [{ address: '10.244.0.9', mac: '02:00:00:00:00:09', host: 'nobody' }],
  });
  t.match(await ip(host.netns, 'link', 'show', 'weft42'), [{ master: 'br42' }]);
  await one?.reconciler.remove();
  t.match(await ip(host.netns, 'link', 'show', 'br42'), [{ address: '02:00:00:00:00:77' }]);
  t.equal(
    (await ip(host.netns, 'neigh', 'show', 'dev', 'br42')).length,
    1,
    'neighbours of others are left alone',
  );
});
