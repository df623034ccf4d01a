/** Agents of several hosts and one registry: containers reach each other, whatever happens to agents, hosts and registry. */
import t from 'tap';
import { weftIsMissing } from '../support/plugins.ts';
import { conflist, makeLab, members, reach, seenAs, WORLD } from './cluster-lab.ts';

const skip = await weftIsMissing();

for (const [title, plugin] of [
  ['vxlan', { type: 'vxlan' }],
  ['routed', { type: 'routed' }],
  [
    'vxlan-l2',
    { type: 'vxlan', mode: 'l2', pools: [{ prefix: '10.244.0.0/16' }, { prefix: 'fd00:244::/64' }] },
  ],
] as const) {
  t.test(`${title}: two hosts, both directions, no NAT between them`, { skip }, async (t) => {
    const lab = await makeLab(t);
    const [a, b] = await members(lab, 2, conflist(plugin));
    if (!a || !b) return;
    const [one, two] = [await a.add(), await b.add()];
    await reach(one, two);
    t.equal(await seenAs(one.netns, two.netns, two.v4), one.v4);
    t.equal(await seenAs(two.netns, one.netns, one.v6), two.v6);
    t.equal(await seenAs(one.netns, lab.wire, WORLD.v4), a.v4, 'to the world by the name of the host');
    t.equal(one.mtu, { vxlan: 1450, routed: 1500, 'vxlan-l2': 1450 }[title]);
    const third = await a.add();
    await reach(one, third);
    await reach(third, two);
  });
}
