/** What the reference's macvlan and host-device made, ours checks and takes away, and the other way round. */
import t from 'tap';
import { type Container, execIn, ip, leases, links } from '../support/host.ts';
import { makeWorld, type World } from './world.ts';

const IPAM = { type: 'host-local', subnet: '10.5.0.0/24' };
const CONFIGS = [
  { cniVersion: '1.0.0', name: 'over', type: 'macvlan', master: 'lan0', ipam: IPAM },
  { cniVersion: '1.0.0', name: 'over', type: 'host-device', device: 'lan1', ipam: IPAM },
];
type Config = (typeof CONFIGS)[number];

/** The reference's plugin; its answer. */
async function reference(
  { host }: World,
  command: string,
  config: Config,
  { id, netns }: Container,
  prevResult?: object,
) {
  const { stdout } = await host.exec(`/usr/lib/cni/${config.type}`, [], {
    env: {
      ...{ CNI_COMMAND: command, CNI_CONTAINERID: id, CNI_NETNS: netns, CNI_IFNAME: 'eth0' },
      CNI_PATH: '/usr/lib/cni',
    },
    input: JSON.stringify({ ...config, ...(prevResult && { prevResult }) }),
  });
  return stdout === '' ? undefined : JSON.parse(stdout);
}

for (const config of CONFIGS) {
  t.test(config.type, async (t) => {
    const world = await makeWorld(t);
    const h = world.host.netns;
    await execIn(h, 'ip', 'link add lan0 up type veth peer name lan1'.split(' '));
    const before = await world.hostLinks();
    const c = await world.container();
    const clean = async (who: string) => {
      t.same(await links(c.netns), ['lo'], who);
      t.same(await world.hostLinks(), before, `${who}: the host has what it had`);
      t.same(await leases(world.host), [], `${who}: no lease`);
    };

    const theirs = await reference(world, 'ADD', config, c);
    await world.ok('CHECK', config, { container: c, prevResult: theirs });
    await world.ok('DEL', config, { container: c, prevResult: theirs });
    await clean('ours took away what the reference made');

    const ours = await world.add(config, c);
    await execIn(h, 'ip', ['link', 'set', 'lan0', 'up']);
    t.match(await ip(c.netns, 'link', 'show', 'eth0'), [{ address: ours.interfaces[0].mac }]);
    await reference(world, 'CHECK', config, c, ours);
    await reference(world, 'DEL', config, c, ours);
    await clean('the reference took away what ours made');
  });
}
