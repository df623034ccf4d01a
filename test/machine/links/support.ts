/** What the tests of links share: a trunk to another place, and the reference plugins beside ours. */
import assert from 'node:assert/strict';
import path from 'node:path';
import type { CallOptions, World } from '../../plugins/world.ts';
import { type Container, execIn, ip } from '../../support/host.ts';

// biome-ignore lint/suspicious/noExplicitAny: JSON of other programs, whose shape the assertions are about
export type Json = any;

export const batch = (netns: string, ...lines: string[]) =>
  execIn(netns, 'ip', ['-batch', '-'], { input: `${lines.join('\n')}\n` });

/** Where the other end of the trunk is, in each of its VLANs. */
export const FAR = { v4: '10.9.0.100', v6: 'fd00:9::100' } as const;

/**
 * `lan0` on the host, wired to `lan1` in a namespace that has a link `far<id>` in each of the VLANs. Each has FAR's addresses, and a VRF
 * of its own, so that only its MAC tells which one answers.
 */
export async function addTrunk(
  { host, container }: World,
  vlans: readonly number[],
  mtu = 1500,
): Promise<Container> {
  const far = await container();
  const peer = `peer name lan1 mtu ${mtu} netns ${path.basename(far.netns)}`;
  await batch(host.netns, `link add lan0 mtu ${mtu} up type veth ${peer}`);
  await batch(
    far.netns,
    'link set lan1 up',
    ...vlans.flatMap((id) => [
      `link add vrf${id} up type vrf table ${1000 + id}`,
      `link add link lan1 name far${id} address ${farMac(id)} type vlan id ${id}`,
      `link set far${id} master vrf${id}`,
      `link set far${id} up`,
      `addr add ${FAR.v4}/24 dev far${id}`,
      `addr add ${FAR.v6}/64 dev far${id} nodad`,
    ]),
  );
  return far;
}

export const farMac = (vlan: number) =>
  `02:00:00:00:${(vlan >> 8).toString(16).padStart(2, '0')}:${(vlan & 255).toString(16).padStart(2, '0')}`;

/** The MAC that a container knows for an address: who answered it. */
export async function whoHas(netns: string, address: string, ...more: string[]): Promise<string | undefined> {
  const found = await ip(netns, 'neigh', 'show', address, ...more);
  return found.find(({ lladdr }) => lladdr)?.lladdr;
}

/** An answer without what is empty: the reference says `"dns": {}`. */
export const filled = (result: Json): Json =>
  Object.fromEntries(Object.entries(result).filter(([, value]) => JSON.stringify(value) !== '{}'));

/** What is different each time that a link is made, and the queue's length, which the reference does not set. */
const FLEETING = ['ifindex', 'link_index', 'ifalias', 'stats64', 'link_netnsid', 'txqlen'];

/** A link as `ip -j -d link` shows it, without what is different each time. */
export async function seen(netns: string, name: string, ...also: string[]): Promise<Json> {
  const [link] = await ip(netns, '-d', 'link', 'show', name);
  for (const key of [...FLEETING, ...also]) delete link[key];
  return link;
}

/** Runs one of Debian's reference plugins on the world's host; must succeed. */
export async function reference(
  { host }: World,
  command: string,
  config: { type: string },
  { container, ifname = 'eth0', prevResult }: CallOptions & { container: Container },
): Promise<Json> {
  const { stdout } = await host.exec(`/usr/lib/cni/${config.type}`, [], {
    env: {
      CNI_COMMAND: command,
      CNI_PATH: '/usr/lib/cni',
      CNI_CONTAINERID: container.id,
      CNI_NETNS: container.netns,
      CNI_IFNAME: ifname,
    },
    input: JSON.stringify({ ...config, ...(prevResult ? { prevResult } : {}) }),
    mayFail: true,
  });
  const answer = stdout === '' ? undefined : JSON.parse(stdout);
  assert.equal(answer?.code, undefined, `reference ${config.type} ${command}: ${stdout}`);
  return answer;
}

export interface Sides {
  theirs: Json;
  ours: Json;
}

/**
 * ADD, a look, DEL, by the reference plugin and then by ours, in one container: what each answered and what `look` saw. The
 * configuration's addresses must be the same each time (ipam.type `static`).
 */
export async function bothWays(
  world: World,
  config: { type: string },
  options: CallOptions & { container: Container },
  look: (result: Json) => Promise<Json>,
): Promise<Sides> {
  const { container } = options;
  const result = await reference(world, 'ADD', config, options);
  const theirs = { result: filled(result), seen: await look(result) };
  await reference(world, 'DEL', config, { ...options, prevResult: options.prevResult ?? result });
  const own = await world.add(config, container, options);
  const ours = { result: filled(own), seen: await look(own) };
  // What the reference made is checked and removed by ours, too.
  await world.ok('DEL', config, options);
  return { theirs, ours };
}

/** Addresses that are the same at each ADD. */
export const STATIC = {
  type: 'static',
  addresses: [{ address: '10.9.0.2/24', gateway: '10.9.0.1' }, { address: 'fd00:9::2/64' }],
  routes: [{ dst: '192.0.2.0/24' }, { dst: '2001:db8:9::/48', gw: 'fd00:9::1' }],
} as const;

/** Addresses and routes of a namespace's link, as other programs see them, in an order of their own. */
export async function addressing(netns: string, dev: string, ...vrf: string[]): Promise<Json> {
  const addresses = (await ip(netns, 'addr', 'show', dev))[0].addr_info
    .filter(({ scope }: Json) => scope === 'global')
    .map(({ local, prefixlen }: Json) => `${local}/${prefixlen}`)
    .sort();
  const routes = [
    ...(await ip(netns, 'route', 'show', ...vrf)),
    ...(await ip(netns, '-6', 'route', 'show', ...vrf)),
  ]
    .filter((route) => route.dev === dev && !route.dst.startsWith('fe80') && !route.dst.startsWith('ff00'))
    .map(({ dst, gateway, prefsrc, scope }) => ({ dst, gateway, prefsrc, scope }))
    .sort((a, b) => (a.dst < b.dst ? -1 : 1));
  return { addresses, routes };
}
