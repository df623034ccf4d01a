/** A host with two containers on a bridge and an outside host; predictions about it, and what packets really do. */

import { parseDestination } from '../../cli/trace/parse.ts';
import { questionFor } from '../../cli/trace/question.ts';
import { listContainers } from '../../inspect/containers.ts';
import { type Gathered, gather } from '../../inspect/path/gather.ts';
import type { Prediction } from '../../inspect/path/predict.ts';
import type { Question } from '../../inspect/path/world.ts';
import { readRuleset } from '../../inspect/ruleset/read.ts';
import { openDoor } from '../../netlink/namespace.ts';
import { realAmbient } from '../../runtime/ambient.ts';
import type { Teardown } from '../support/host.ts';
import { execIn, type Host, makeHost, makeOutside, OUTSIDE, UPLINK } from '../support/host.ts';
import { until } from '../support/until.ts';

export const ONE = { v4: '10.88.0.2', v6: 'fd00:88::2' } as const;
export const TWO = { v4: '10.88.0.3', v6: 'fd00:88::3' } as const;
export const GATEWAY = { v4: '10.88.0.1', v6: 'fd00:88::1' } as const;
export { OUTSIDE, UPLINK };

export interface TraceLab {
  host: Host;
  one: string;
  two: string;
  outside: string;
}

export function batch(netns: string, ...lines: string[]) {
  return execIn(netns, 'ip', ['-batch', '-'], { input: `${lines.join('\n')}\n` });
}

export async function makeLab(t: Teardown): Promise<TraceLab> {
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
  const containers: string[] = [];
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
    containers.push(netns);
  }
  await settled(host.netns);
  const [one = '', two = ''] = containers;
  return { host, outside, one, two };
}

/** Waits until all ports of a namespace's bridges pass frames on: the kernel sees a carrier some time after it is there. */
export async function settled(netns: string): Promise<void> {
  await until('all ports forward', async () => {
    const ports = JSON.parse((await execIn(netns, 'bridge', ['-j', 'link'])).stdout || '[]') as {
      state: string;
    }[];
    return ports.every(({ state }) => state === 'forwarding');
  });
}

/** Reads everything, as the command does on this host. */
export async function gatherAt(
  host: Host,
  hosts: ReadonlyMap<string, string> = new Map(),
): Promise<Gathered> {
  const ambient = realAmbient({ ...host.env });
  return await gather({
    door: openDoor(),
    here: host.netns,
    readRuleset: (ns) => readRuleset(ns, ambient),
    hosts,
    containers: (namespaces) => listContainers(host.dirs.cache, namespaces),
  });
}

export interface Foreseen extends Prediction {
  question: Question;
  gathered: Gathered;
}

/** What `weft trace FROM TO --predict-only` knows. */
export async function foresee(
  host: Host,
  from: string,
  to: string,
  more: { family?: 4 | 6; size?: number; sourcePort?: number; hosts?: ReadonlyMap<string, string> } = {},
): Promise<Foreseen> {
  const { hosts, ...rest } = more;
  const gathered = await gatherAt(host, hosts);
  const question = await questionFor(gathered, { from, to: parseDestination(to), ...rest });
  return { question, gathered, ...(await gathered.predict(question)) };
}

/** `delivered`, or `delivered/lost` where the answer is lost. */
export function outcome({ there, back }: Prediction): string {
  return back === undefined || back.outcome === 'delivered'
    ? there.outcome
    : `${there.outcome}/${back.outcome}`;
}

/** Whether an echo request is answered within so many seconds. */
export async function pings(
  from: string,
  address: string,
  seconds: number,
  ...more: string[]
): Promise<boolean> {
  const limit = seconds < 1 ? ['-c', '1', '-W', `${seconds}`] : ['-c', '1', '-w', `${seconds}`, '-i', '0.2'];
  return (
    (await execIn(from, 'ping', ['-n', '-q', ...limit, ...more, address], { mayFail: true })).status === 0
  );
}
