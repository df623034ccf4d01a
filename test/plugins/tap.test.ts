import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { exec, execIn, ip, leases, links } from '../support/host.ts';
import { L2, makeWorld, type World } from './world.ts';

const TAP = {
  cniVersion: '1.1.0',
  name: 'vms',
  type: 'tap',
  ipam: {
    type: 'host-local',
    ranges: [[{ subnet: '10.7.0.0/24' }], [{ subnet: 'fd00:7::/64' }]],
    routes: [{ dst: '192.0.2.0/24' }],
  },
};

const show = async (netns: string, name = 'eth0') => (await ip(netns, '-d', 'link', 'show', name))[0];

/**
 * A program that opens a tap link by its name, as a virtual machine does, and says to whom the first IPv4 packet is. struct ifreq has 40 bytes; TUNSETIFF is 0x400454ca, IFF_TAP 2, IFF_NO_PI 0x1000, IFF_MULTI_QUEUE 0x100.
 */
const PROGRAM = `
use strict;
use Fcntl;
my ($name, $node, $queues, $read) = @ARGV;
my @taps;
for (1 .. $queues) {
  sysopen(my $tap, $node, O_RDWR) or exit 2;
  my $flags = 0x1002 | ($queues > 1 ? 0x100 : 0);
  ioctl($tap, 0x400454ca, pack('a16 s x22', $name, $flags)) or exit 1;
  push @taps, $tap;
}
$| = 1;
print "open $>\\n";
while ($read) {
  sysread($taps[0], my $frame, 2000) or exit 3;
  next unless unpack('x12 n', $frame) == 0x800;
  print unpack('x30 H8', $frame), "\\n";
  last;
}
`;

/** Opens a tap in a container as a user without any capability. The node is one of the test's own: on most hosts all may open it. */
async function openAs(world: World, netns: string, uid: number, gid: number, queues = 1) {
  const { root } = world.host;
  const [program, node] = [join(root, 'open.pl'), join(root, 'tun')];
  await writeFile(program, PROGRAM);
  await exec('mknod', ['-m', '666', node, 'c', '10', '200'], { mayFail: true });
  await exec('chmod', ['755', root]);
  return await execIn(
    netns,
    'setpriv',
    [`--reuid=${uid}`, `--regid=${gid}`, '--clear-groups', 'perl', program, 'eth0', node, `${queues}`],
    { mayFail: true },
  );
}

t.test('a program of the owner opens the link by its name', async (t) => {
  const world = await makeWorld(t);
  const a = await world.container();
  const config = { ...TAP, owner: 12345, group: 2345, mtu: 1400, mac: '0A:00:00:00:07:01' };
  const result = await world.add(config, a);
  const link = await show(a.netns);
  t.match(link, {
    address: '0a:00:00:00:07:01',
    mtu: 1400,
    ifalias: `weft vms ${a.id} eth0`,
    linkinfo: {
      info_kind: 'tun',
      info_data: { type: 'tap', pi: false, persist: true, user: '12345', group: '2345', multi_queue: false },
    },
  });
  t.ok(link.flags.includes('UP'));
  t.same(result.interfaces, [{ name: 'eth0', mac: link.address, mtu: 1400, sandbox: a.netns }]);
  t.equal((await openAs(world, a.netns, 12345, 2345)).stdout, 'open 12345');
  t.equal((await openAs(world, a.netns, 12345, 1)).status, 1, 'the owner, but not of the group');
  t.equal((await openAs(world, a.netns, 4711, 4711)).status, 1, 'nobody else');
  t.equal((await openAs(world, a.netns, 12345, 2345)).stdout, 'open 12345', 'it stays when its program ends');
  t.same((await ip(a.netns, 'route', 'show', '192.0.2.0/24')).length, 1);

  await world.ok('CHECK', config, { container: a, prevResult: result });
  const other = await world.call('CHECK', { ...config, owner: 7 }, { container: a, prevResult: result });
  t.match(other.json, { code: 101, msg: /owner of tap eth0 in the container: wanted 7, found 12345/ });
  for (const _ of [1, 2]) await world.ok('DEL', config, { container: a });
  t.same(await links(a.netns), ['lo']);
  t.same(await leases(world.host), []);

  await world.add(config, a);
  await world.ok('DEL', config, { container: { id: a.id, netns: '' } });
  t.same(await leases(world.host), [], 'addresses are free without the namespace, too');
});

t.test('what the container sends arrives at the program', async (t) => {
  const world = await makeWorld(t);
  const a = await world.container();
  const ipam = { type: 'static', addresses: [{ address: '10.7.0.2/24' }] };
  await world.add({ ...TAP, ipam }, a);
  await execIn(a.netns, 'ip', [
    ...['neigh', 'add', '10.7.0.9', 'lladdr', '0a:00:00:00:07:09', 'dev', 'eth0', 'nud', 'permanent'],
  ]);
  await writeFile(join(world.host.root, 'open.pl'), PROGRAM);
  const script = `
    ping -i 0.2 -w 20 10.7.0.9 >/dev/null & sender=$!
    perl "$1" eth0 /dev/net/tun 1 read; status=$?
    kill $sender; wait; exit $status`;
  const { stdout } = await execIn(a.netns, 'sh', ['-c', script, 'sh', join(world.host.root, 'open.pl')]);
  t.same(stdout.split('\n'), ['open 0', '0a070009'], 'the packet is for 10.7.0.9');
});

t.test('several queues, a bridge in the container, no addresses', async (t) => {
  const world = await makeWorld(t);
  const [a, b] = [await world.container(), await world.container()];
  const { ipam: _, ...bare } = { ...TAP, multiQueue: true, owner: 12345 };
  const result = await world.add(bare, a);
  t.same(result.ips ?? [], []);
  t.match(await show(a.netns), { linkinfo: { info_data: { multi_queue: true } } });
  t.equal((await openAs(world, a.netns, 12345, 1, 3)).stdout, 'open 12345');
  await world.ok('CHECK', bare, { container: a, prevResult: result });
  await world.ok('DEL', bare, { container: a });

  const bridged = { ...TAP, ipam: {}, bridge: 'br0' };
  const early = await world.call('ADD', bridged, { container: b });
  t.match(early.json, { code: 7, msg: /wanted a bridge br0 in the container, found nothing/ });
  await execIn(b.netns, 'ip', ['link', 'add', 'br0', 'type', 'bridge']);
  const added = await world.add(bridged, b);
  t.match(await show(b.netns), { master: 'br0' });
  await world.ok('CHECK', bridged, { container: b, prevResult: added });
  await execIn(b.netns, 'ip', ['link', 'set', 'eth0', 'nomaster']);
  const check = await world.call('CHECK', bridged, { container: b, prevResult: added });
  t.match(check.json, { code: 101, msg: /wanted port of br0/ });
  await world.ok('DEL', bridged, { container: b });
  t.same(await links(b.netns), ['br0', 'lo']);
});

t.test('STATUS, refusals, and what a failed ADD leaves', async (t) => {
  const world = await makeWorld(t);
  const c = await world.container();
  await world.ok('STATUS', TAP);
  const selinux = { ...TAP, selinuxContext: 'system_u:system_r:container_t:s0' };
  t.match((await world.call('ADD', selinux, { container: c })).json, {
    code: 2,
    msg: /selinuxContext: found/,
  });
  const high = { ...TAP, mtu: 65535, mac: '0a:00:00:00:07:02' };
  t.match(
    (await world.call('ADD', high, { container: c })).json,
    { code: 100 },
    'the kernel has a limit of its own',
  );
  t.same(await links(c.netns), ['lo']);
  t.same(await leases(world.host), []);
  await world.add({ ...L2, bridge: 'br0' }, c);
  t.match((await world.call('ADD', TAP, { container: c })).json, {
    code: 104,
    msg: /has a link eth0 already/,
  });
  await world.ok('DEL', TAP, { container: c });
  t.same(await links(c.netns), ['eth0', 'lo'], 'the DEL that follows leaves what is not its own');
  await world.ok('DEL', { ...L2, bridge: 'br0' }, { container: c });
});

t.test('GC takes links of attachments that nobody knows any more, in namespaces that live on', async (t) => {
  const world = await makeWorld(t);
  const [a, b] = [await world.container(), await world.container()];
  await world.add(TAP, a);
  await world.add(TAP, b);
  const valid = [{ containerID: a.id, ifname: 'eth0' }];
  const { log } = await world.ok('GC', { ...TAP, 'cni.dev/valid-attachments': valid });
  t.match(log.join('\n'), `removed link eth0 of ${b.id}`);
  t.same(await links(a.netns), ['eth0', 'lo']);
  t.same(await links(b.netns), ['lo']);
  t.same(await leases(world.host), ['vms/10.7.0.2', 'vms/fd00:7::2']);
});
