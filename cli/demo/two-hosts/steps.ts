/** What the demonstration of hosts does and shows, step by step. */
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { ClusterNetwork } from '../../../cluster/network.ts';
import { CniError, ErrorCode } from '../../../cni/errors.ts';
import type { Result } from '../../../cni/types.ts';
import { parseResult } from '../../../cni/versions.ts';
import type { NetworkList } from '../../../runtime/conflist.ts';
import { knownVersion } from '../../../runtime/version.ts';
import { table } from '../../table.ts';
import type { Lab } from '../lab.ts';
import { linksOf, mentions, natState } from '../leftovers.ts';
import type { Progress } from '../progress.ts';
import { joined, type RegistryKind } from './agents.ts';
import { captured, carries, layerTable } from './capture.ts';
import type { ClusterLab } from './lab.ts';
import { added, type HostState, stateOf } from './leftovers.ts';
import { figures } from './measure.ts';
import type { Container } from './traffic.ts';

/** Everything that the steps share. */
export interface Demo {
  cluster: ClusterLab;
  progress: Progress;
  list: NetworkList;
  network: ClusterNetwork;
  weft: string;
  registry: RegistryKind;
}

export const conflistOf = (lab: Lab, host: string, { name }: NetworkList): string =>
  join(lab.folders(host).conf, `10-${name}.conflist`);

export async function showMembers({ cluster, progress, list, registry }: Demo, where: string): Promise<void> {
  const summaries = await joined(cluster, list.name);
  for (const [host, { subnets, mtu, sessions }] of summaries) {
    const bgp = sessions === undefined ? '' : `, ${sessions.length} BGP sessions established`;
    progress.check(
      subnets.length > 0,
      `${host} holds ${subnets.join(' and ')}`,
      `MTU of containers ${mtu}${bgp}`,
    );
  }
  if (registry === 'file')
    progress.quote(['', `$ cat ${where}`, ...readFileSync(where, 'utf8').trim().split('\n')]);
}

export async function attachAll(demo: Demo): Promise<Container[]> {
  const { cluster, progress, list, weft } = demo;
  progress.title(`ADD: weft net add ${list.name} NETNS --id ID`);
  const containers: Container[] = [];
  for (const host of cluster.hosts) {
    for (const name of host.containers) {
      const netns = cluster.lab.netns(name);
      const stdout = await cluster.lab.must(
        host.name,
        weft,
        'net',
        'add',
        list.name,
        netns,
        '--id',
        name,
        '--json',
      );
      const result: Result = parseResult(JSON.parse(stdout), knownVersion(list), {
        name: 'result',
        code: ErrorCode.decoding,
      });
      const addresses = result.ips.map(({ address }) => address.replace(/\/\d+$/, ''));
      progress.check(addresses.length > 0, `${name} on ${host.name} has ${addresses.join(' and ')}`);
      containers.push({ name, host, addresses });
    }
  }
  return containers;
}

/** The first container of the first host, and the first of the second. */
function pair(containers: readonly Container[]): [Container, Container] {
  const [from] = containers;
  const to = containers.find(({ host }) => host !== from?.host);
  if (from === undefined || to === undefined)
    throw new CniError(ErrorCode.internal, 'wanted containers on two hosts');
  return [from, to];
}

export async function showPacket(
  { cluster, progress, network }: Demo,
  containers: readonly Container[],
): Promise<void> {
  const [from, to] = pair(containers);
  const [source = '', target = ''] = [from.addresses[0], to.addresses[0]];
  progress.title(`A packet on the wire, as host1 sends it: ping ${from.name} → ${to.name}`);
  const name = target.includes(':') ? 'ICMPv6' : 'ICMP';
  const { layers, length } = await captured(
    cluster.lab,
    from.host.name,
    network.vxlan?.port ?? 0,
    (found) => carries(found, source, target, name),
    () => cluster.lab.run(from.name, 'ping', ['-n', '-c', '1', '-w', '5', target]),
  );
  progress.quote(layerTable(layers));
  const isTunnelled = layers.some(({ part }) => part === 'tunnel');
  progress.check(
    isTunnelled === (network.vxlan !== undefined),
    isTunnelled
      ? 'encapsulated: the wire knows the hosts alone'
      : 'not encapsulated: the wire sees the containers',
    `${length} bytes`,
  );
}

export async function showFigures(
  { cluster, progress }: Demo,
  containers: readonly Container[],
): Promise<void> {
  const [from, to] = pair(containers);
  progress.title('How fast: one TCP stream, the best of two runs; the shortest of a hundred round trips');
  const [hosts, between] = await figures(cluster.lab, [
    { from: from.host.name, to: to.host.name, address: to.host.v4 },
    { from: from.name, to: to.name, address: to.addresses[0] ?? '' },
  ]);
  const row = (what: string, { throughput, roundTrip }: typeof hosts): string[] => [
    ...[what, `${(throughput / 1e9).toFixed(1)} Gbit/s`, (throughput / hosts.throughput).toFixed(2)],
    ...[`${roundTrip.toFixed(3)} ms`, (roundTrip / hosts.roundTrip).toFixed(2)],
  ];
  progress.quote(
    table([
      ['', 'TCP', 'RATIO', 'ROUND TRIP', 'RATIO'],
      row(`${from.host.name} → ${to.host.name}`, hosts),
      row(`${from.name} → ${to.name}`, between),
    ]),
  );
}

export async function detachAll(
  { cluster, progress, list, weft }: Demo,
  containers: readonly Container[],
): Promise<void> {
  progress.title('DEL, and the hosts leave the network');
  for (const { name, host } of containers) {
    const args = ['net', 'del', list.name, cluster.lab.netns(name), '--id', name];
    const { status, stdout, stderr } = await cluster.lab.run(host.name, weft, args);
    progress.check(
      status === 0,
      status === 0 ? stdout.trim() : `DEL ${name}`,
      status === 0 ? '' : stderr.trim(),
    );
  }
}

/** The conflist goes first: whoever has it is a member. */
export async function leave({ cluster: { lab }, progress, list, weft }: Demo, host: string): Promise<void> {
  rmSync(conflistOf(lab, host, list));
  const tries = 10;
  for (let n = 1; ; n += 1) {
    const { status, stdout, stderr } = await lab.run(host, weft, ['network', 'leave', list.name]);
    // The agent may not have seen yet that the file is gone.
    if (status !== 0 && n < tries) continue;
    progress.check(status === 0, `${host}: ${(status === 0 ? stdout : stderr).trim()}`);
    return;
  }
}

export async function expectNothingLeft(
  { cluster, progress, registry }: Demo,
  before: ReadonlyMap<string, HostState>,
  attached: readonly Container[],
): Promise<void> {
  const addresses = attached.flatMap((container) => container.addresses);
  for (const { name, containers } of cluster.hosts) {
    const { bridges } = await linksOf(cluster.lab, name);
    const nat = await natState(cluster.lab, name);
    const left = [
      ...added(before.get(name) ?? new Map(), await stateOf(cluster, name), bridges),
      ...nat.filter((line) => addresses.some((address) => mentions(line, address))),
    ];
    const stays = bridges.map((bridge) => `${bridge} stays for the next container`).join();
    const what = `nothing is left on ${name}: no link, route, neighbour, FDB entry, NAT, lease`;
    progress.check(left.length === 0, what, left.length === 0 ? stays : `left: ${left.join('; ')}`);
    for (const container of containers) {
      const others = (await linksOf(cluster.lab, container)).others.filter((link) => link !== 'lo');
      progress.check(others.length === 0, `no link in ${container} but lo`, others.join(', '));
    }
  }
  if (registry !== 'file') return;
  const text = readFileSync(join(cluster.lab.folder, 'registry.yaml'), 'utf8');
  const names = cluster.hosts.map(({ name }) => name).filter((name) => text.includes(name));
  progress.check(names.length === 0, 'no host in the registry', names.join(', '));
}
