/** Broken hosts: a tunnel to another host, as a network between hosts has it, broken in one typical way after the other. */
import t from 'tap';
import { readClocks } from '../../../cli/doctor/clocks.ts';
import { probeMembers } from '../../../cli/doctor/probe.ts';
import { listLinks } from '../../../netlink/link.ts';
import { openDoor } from '../../../netlink/namespace.ts';
import { realAmbient } from '../../../runtime/ambient.ts';
import { execIn } from '../../support/host.ts';
import { batch } from '../trace-lab.ts';
import { type Broken, holdTo, makeLab } from './lab.ts';

const MAC = '02:00:00:00:02:00';
const FDB = `${MAC} dev vx0 dst 198.51.100.2 self permanent`;
const FAR = '10.9.2.2';

const CASES: readonly Broken[] = [
  {
    name: 'no FDB entry',
    break: `bridge fdb del ${MAC} dev vx0 dst 198.51.100.2`,
    mend: `bridge fdb add ${FDB}`,
    code: 'tunnel-fdb-missing',
    what: /vx0 does not know behind which host 02:00:00:00:02:00 \(10\.9\.2\.0\) is/,
    trace: { from: 'web', to: FAR, says: /vx0 does not know which host has 02:00:00:00:02:00/ },
  },
  {
    name: 'no neighbour',
    break: 'ip neigh del 10.9.2.0 dev vx0',
    mend: `ip neigh replace 10.9.2.0 lladdr ${MAC} dev vx0 nud permanent`,
    code: 'tunnel-neighbour-missing',
    what: /vx0 leads to 10\.9\.2\.0\/24 by 10\.9\.2\.0, and nobody knows the MAC/,
    trace: { from: 'web', to: FAR, says: /10\.9\.2\.0/ },
  },
  {
    name: 'the tunnel down',
    break: 'ip link set vx0 down',
    mend: `ip link set vx0 up; ip neigh replace 10.9.2.0 lladdr ${MAC} dev vx0 nud permanent; ip route replace 10.9.2.0/24 via 10.9.2.0 dev vx0 onlink`,
    code: 'link-down',
    what: /tunnel vx0 is down/,
    trace: { from: 'web', to: FAR, says: /uplink|no route/ },
  },
  {
    name: 'no room for the tunnel on its way out',
    break: 'ip link set uplink mtu 1400',
    mend: 'ip link set uplink mtu 1500',
    code: 'mtu-mismatch',
    what: /containers on pods0 send packets of 1450 bytes, and (uplink|vx0), by which they leave, takes 1400/,
    severity: 'warning',
    trace: { from: 'web', to: FAR, size: 1450, says: /1350/ },
  },
];

t.test('a tunnel', async (t) => {
  const lab = await makeLab(t, 1450);
  await batch(
    lab.host.netns,
    'link add vx0 mtu 1450 address 02:00:00:00:01:00 type vxlan id 42 dstport 4789 local 198.51.100.1 dev uplink nolearning',
    'link set vx0 alias "weft farnet"',
    'addr add 10.9.1.0/32 dev vx0',
    'link set vx0 up',
    `neigh add 10.9.2.0 lladdr ${MAC} dev vx0 nud permanent`,
    'route add 10.9.2.0/24 via 10.9.2.0 dev vx0 onlink',
  );
  await lab.host.exec('bridge', ['fdb', 'add', ...FDB.split(' ')]);
  await holdTo(t, lab, CASES);

  // A link further on is narrower than the tunnel's packets.
  const namespace = await openDoor().open(lab.host.netns);
  t.teardown(() => namespace.close());
  const members = [{ host: 'far', self: false, addresses: ['198.51.100.2'], subnets: ['10.9.2.0/24'] }];
  const membership = {
    network: 'farnet',
    host: 'near',
    where: '',
    kept: true,
    reachable: true,
    joined: true,
  };
  const asked = [
    { ...membership, subnets: ['10.9.1.0/24'], mtu: 1450, device: 'vx0', members, problems: [] },
  ];
  const [links] = await namespace.send(listLinks());
  const probe = () =>
    probeMembers(asked, namespace, links.ok ? links.value : [], realAmbient({ ...lab.host.env }));
  const expected = { network: 'farnet', host: 'far', address: '198.51.100.2', size: 1500 };
  t.same(await probe(), [{ ...expected, fits: true }]);
  const [clock] = await readClocks(asked, namespace, Date.now);
  t.match(clock, { network: 'farnet', host: 'far', address: '198.51.100.2' });
  t.ok(Math.abs(clock?.ahead ?? Number.NaN) < 5000, 'one machine has one clock');
  await execIn(lab.outside, 'ip', ['link', 'set', 'uplink', 'mtu', '1400']);
  t.same(await probe(), [{ ...expected, fits: false }]);
});
