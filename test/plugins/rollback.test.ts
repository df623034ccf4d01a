/** Whatever fails during ADD, nothing is left of it. */
import t from 'tap';
import { openDoor } from '../../netlink/namespace.ts';
import { firewallLines, leases, links } from '../support/host.ts';
import { join, ROUTED, VXLAN } from './cluster-world.ts';
import { type Failure, failingDoor } from './failing-door.ts';
import { BRIDGE, makeWorld } from './world.ts';

const PTP = { ...BRIDGE, name: 'ptpnet', type: 'ptp' };

const BACKEND = { ipMasqBackend: 'nftables' };
const MASQUERADING = { ...BRIDGE, ipMasq: true, ...BACKEND };
const BETWEEN_HOSTS = [VXLAN, ROUTED].map((config) => ({ ...config, ...BACKEND }));

for (const config of [BRIDGE, PTP, MASQUERADING, ...BETWEEN_HOSTS]) {
  t.test(
    `${config.type}${'ipMasq' in config ? ' with masquerade' : ''}: a failure at any point is undone`,
    async (t) => {
      const world = await makeWorld(t);
      join(world.host, config.name);
      const container = await world.container();
      /** False when the ADD ended before its n-th question. */
      const attempt = async (n: number, failure: Failure): Promise<boolean> => {
        const door = failingDoor(openDoor(), n, failure);
        const answer = await world.call('ADD', config, { container, door });
        if (door.asked.length < n) {
          t.equal(answer.status, 0, `ADD asks ${n - 1} things of the kernel`);
          return false;
        }
        const name = `${failure} at ${n}: ${door.asked[n - 1]}`;
        t.not(answer.status, 0, name);
        t.match(answer.json, { code: Number, msg: String }, name);
        t.same(await world.hostLinks(), [], `${name}: host`);
        t.same(await links(container.netns), ['lo'], `${name}: container`);
        t.same(await leases(world.host), [], `${name}: leases`);
        t.same(await firewallLines(world.host.netns, container.id), [], `${name}: masquerade`);
        const again = door.asked[n - 1]?.startsWith('create') && failure === 'refused';
        return again ? await attempt(n, 'half done') : true;
      };
      let n = 1;
      while (await attempt(n, 'refused')) n += 1;
      t.ok(n > 10);
    },
  );
}

t.test('what other containers use stays when an ADD fails', async (t) => {
  const world = await makeWorld(t);
  const [a, b] = [await world.container(), await world.container()];
  await world.add(BRIDGE, a);
  const before = await world.hostLinks();
  const door = failingDoor(openDoor(), 0);
  await world.add(BRIDGE, b, { door });
  await world.ok('DEL', BRIDGE, { container: b });
  for (const [i] of door.asked.entries()) {
    const failing = failingDoor(openDoor(), i + 1);
    const answer = await world.call('ADD', BRIDGE, { container: b, door: failing });
    t.not(answer.status, 0, `${failing.asked[i]}`);
    t.same(await world.hostLinks(), before);
  }
  const { stdout } = await world.host.exec('ip', ['-br', 'addr', 'show', 'br0']);
  t.match(stdout, /10\.1\.0\.1\/24.*fd00:1::1\/64/);
});
