/** What is printed is what is done: the lines of a plan, typed by a person, make what the plugin makes. */
import t from 'tap';
import { renderCommands } from '../../firewall/nftables-ruleset.ts';
import { render } from '../../plan/engine.ts';
import { bridge } from '../../plugins/bridge/bridge.ts';
import type { BridgeConf } from '../../plugins/bridge/schema.ts';
import type { Definition } from '../../plugins/definition.ts';
import { type PluginConf, planFor } from '../../plugins/definition.ts';
import { hostDevice } from '../../plugins/host-device/host-device.ts';
import { macvlan } from '../../plugins/macvlan/macvlan.ts';
import { ptp } from '../../plugins/ptp/ptp.ts';
import { tap } from '../../plugins/tap/tap.ts';
import { execIn, ip } from '../support/host.ts';
import { BRIDGE, makeWorld } from './world.ts';

const ROUTES = [
  { dst: '0.0.0.0/0' },
  { dst: '::/0' },
  { dst: '192.0.2.0/24', mtu: 1300, advmss: 1200, priority: 77 },
  { dst: '198.51.100.0/24', gw: '10.1.0.1', table: 100 },
];

/** Links, addresses and routes of a namespace, without what differs from one making to the next. */
async function state(netns: string): Promise<string> {
  const volatile =
    /"(?:ifindex|link_index|link_netnsid|valid_life_time|preferred_life_time|stats64|txqlen|operstate|\w+_timer)":[^,}]+,?/g;
  const parts = await Promise.all([
    ip(netns, '-d', 'link'),
    ip(netns, 'addr', 'show', 'scope', 'global'),
    ip(netns, 'route', 'show', 'table', 'all'),
    ip(netns, '-6', 'route', 'show', 'table', 'all', 'type', 'unicast'),
  ]);
  const rows = parts.flatMap((part) => part.map((row) => JSON.stringify(row).replace(volatile, '')));
  return rows
    .filter((row) => !/"dst":"(?:fe80|ff00)/.test(row))
    .map((row) => row.replace(/"info_data":\{.*?\},?/, ''))
    .sort()
    .join('\n');
}

const CONFIGS: [object, Definition<PluginConf>][] = [
  [{ ...BRIDGE, mtu: 1400, hairpinMode: true }, bridge],
  [{ ...BRIDGE, name: 'p', type: 'ptp', mtu: 1400 }, ptp],
  [{ ...BRIDGE, name: 'm', type: 'macvlan', master: 'lan0', mtu: 1400 }, macvlan],
  [{ ...BRIDGE, name: 't', type: 'tap', bridge: '', owner: 7, mtu: 1400 }, tap],
  [{ ...BRIDGE, name: 'd', type: 'host-device', device: 'lan1' }, hostDevice],
];

/** Links for those that stand on the host's. */
const LAN = 'link add lan0 address 02:00:00:00:00:01 up type veth peer name lan1 address 02:00:00:00:00:02';

for (const [config, definition] of CONFIGS) {
  t.test(`${definition.type}: the lines make what the plugin makes`, async (t) => {
    const full = { ...config, ipam: { ...BRIDGE.ipam, routes: ROUTES } } as unknown as BridgeConf;
    const [done, typed] = [await makeWorld(t), await makeWorld(t)];
    const [a, b] = [await done.container(), await typed.container()];
    for (const { host } of [done, typed]) await execIn(host.netns, 'ip', LAN.split(' '));
    const { ips, routes } = await done.add(full, a);
    const attachment = { network: full.name, containerId: a.id, ifname: 'eth0', netns: b.netns };
    const plan = planFor(
      definition,
      { config: full, attachment, args: {}, hostId: 'test-host' },
      { ips: ips.map(({ interface: _, ...one }: { interface: number }) => one), routes, dns: {} },
    );
    for (const line of render(plan, { netns: b.netns, masquerade: renderCommands })) {
      await execIn(typed.host.netns, 'sh', ['-ec', line]);
    }
    t.same(await state(b.netns), await state(a.netns), 'container');
    t.same(await state(typed.host.netns), await state(done.host.netns), 'host');
  });
}
