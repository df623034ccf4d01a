/** Links in containers: whatever fails during ADD, nothing is left of it; and what an ADD asks of the kernel. */
import t from 'tap';
import { openDoor } from '../../netlink/namespace.ts';
import { execIn, leases, links } from '../support/host.ts';
import { type Failure, failingDoor } from './failing-door.ts';
import { makeWorld } from './world.ts';

const COMMON = {
  cniVersion: '1.1.0',
  name: 'inside',
  ipam: {
    type: 'host-local',
    ranges: [[{ subnet: '10.5.0.0/24' }], [{ subnet: 'fd00:5::/64' }]],
    routes: [{ dst: '0.0.0.0/0' }],
  },
};
/** What the kernel may have done in part when it says no; a link that it could not make whole, it takes away itself. */
const IN_PART = /^change/;

/** `asks`: what an ADD asks of the kernel, at most; more would be a step back. */
const CASES = [
  { config: { ...COMMON, type: 'macvlan', master: 'lan0' }, asks: 11 },
  { config: { ...COMMON, type: 'tap' }, asks: 6 },
  { config: { ...COMMON, type: 'host-device', device: 'lan0' }, asks: 10 },
];

for (const { config, asks } of CASES) {
  t.test(`${config.type}: a failure at any point is undone`, async (t) => {
    const world = await makeWorld(t);
    const h = world.host.netns;
    await execIn(h, 'ip', 'link add lan0 up type veth peer name lan1'.split(' '));
    const container = await world.container();
    const attempt = async (n: number, failure: Failure): Promise<boolean> => {
      const door = failingDoor(openDoor(), n, failure);
      const answer = await world.call('ADD', config, { container, door });
      if (door.asked.length < n) {
        t.equal(answer.status, 0);
        t.ok(n - 1 <= asks, `ADD asks ${n - 1} things of the kernel`, { asked: door.asked });
        return false;
      }
      const name = `${failure} at ${n}: ${door.asked[n - 1]}`;
      t.not(answer.status, 0, name);
      t.same(await world.hostLinks(), ['lan0', 'lan1'], `${name}: host`);
      t.same(await links(container.netns), ['lo'], `${name}: container`);
      t.same(await leases(world.host), [], `${name}: leases`);
      const again = failure === 'refused' && IN_PART.test(door.asked[n - 1] ?? '');
      return again ? await attempt(n, 'half done') : true;
    };
    let n = 1;
    while (await attempt(n, 'refused')) n += 1;
    t.same(await links(container.netns), ['eth0', 'lo']);
  });
}
