/** A host with two containers on a bridge, an outside host, and servers: what packets are sent through. */
import { stat } from 'node:fs/promises';
import type { Test } from 'tap';
import { type Observation, type ObserveRequest, observe } from '../../inspect/observe/observe.ts';
import type { ObservedHop, Site } from '../../inspect/observe/request.ts';
import type { Ruleset } from '../../inspect/ruleset/model.ts';
import { readRuleset } from '../../inspect/ruleset/read.ts';
import { openDoor } from '../../netlink/namespace.ts';
import { realAmbient } from '../../runtime/ambient.ts';
import { execIn, type Host, makeHost, makeOutside } from '../support/host.ts';

export interface ObserveLab {
  host: Host;
  site: { host: Site; one: Site; two: Site; outside: Site };
  sites: readonly Site[];
}

export const ONE = { v4: '10.88.0.2', v6: 'fd00:88::2' } as const;
export const TWO = { v4: '10.88.0.3', v6: 'fd00:88::3' } as const;
export const GATEWAY = { v4: '10.88.0.1', v6: 'fd00:88::1' } as const;

export async function siteOf(path: string, host: string, container?: string): Promise<Site> {
  const { dev, ino } = await stat(path);
  const place = { host, namespace: `${dev}:${ino}`, ...(container === undefined ? {} : { container }) };
  return { place, path };
}

export function batch(netns: string, ...lines: string[]) {
  return execIn(netns, 'ip', ['-batch', '-'], { input: `${lines.join('\n')}\n` });
}

export async function makeLab(t: Test): Promise<ObserveLab> {
  const host = await makeHost(t);
  const outside = await makeOutside(t, host);
  await batch(
    host.netns,
    'link add br0 type bridge',
    `addr add ${GATEWAY.v4}/24 dev br0`,
    `addr add ${GATEWAY.v6}/64 dev br0 nodad`,
    'link set br0 up',
  );
  await execIn(host.netns, 'sysctl', ['-qw', 'net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1']);
  const sites = { host: await siteOf(host.netns, 'this host'), outside: await siteOf(outside, 'outside') };
  const containers: Site[] = [];
  for (const [name, { v4, v6 }] of [
    ['one', ONE],
    ['two', TWO],
  ] as const) {
    const { netns } = await host.container();
    const peer = netns.slice('/run/netns/'.length);
    await batch(
      host.netns,
      `link add v${name} type veth peer name eth0 netns ${peer}`,
      `link set v${name} up master br0`,
    );
    await batch(
      netns,
      `addr add ${v4}/24 dev eth0`,
      `addr add ${v6}/64 dev eth0 nodad`,
      'link set eth0 up',
      `route add default via ${GATEWAY.v4}`,
      `route add default via ${GATEWAY.v6}`,
    );
    containers.push(await siteOf(netns, 'this host', name));
  }
  const [one, two] = containers as [Site, Site];
  const site = { ...sites, one, two };
  return { host, site, sites: Object.values(site) };
}

/** What a namespace's rules are now, as the command reads them. */
export async function rulesetOf({ path }: Site): Promise<Ruleset> {
  const ns = await openDoor().open(path);
  try {
    return await readRuleset(ns, realAmbient({ PATH: '/usr/sbin:/usr/bin:/sbin:/bin' }));
  } finally {
    ns.close();
  }
}

/** Looks everywhere, with the host's rules; the probe comes from the first container where nothing else is said. */
export async function look(
  { site, sites }: ObserveLab,
  tuple: ObserveRequest['tuple'],
  more: Partial<ObserveRequest> = {},
): Promise<Observation> {
  const ruleset = await rulesetOf(site.host);
  const known = sites.map((each) => (each === site.host ? { ...each, ruleset } : each));
  const request = { tuple, rewritten: [], sites: known, sender: site.one, seconds: 20, ...more };
  return await observe(request, { door: openDoor(), pid: process.pid });
}

/** One line a hop. */
export function lines(hops: readonly ObservedHop[], way: 'there' | 'back' = 'there'): string[] {
  return hops
    .filter((hop) => hop.way === way)
    .map(
      (hop) => `${hop.place.container ?? hop.place.host}: ${hop.words.replace(/\d{4,5}(?= →|$)/, 'PORT')}`,
    );
}
