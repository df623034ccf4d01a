/** `weft demo two-hosts`: a network between hosts, from nothing to nothing, with everything shown that makes it work. */
import { chmodSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Backend, ClusterNetwork } from '../../../cluster/network.ts';
import { CniError, ErrorCode } from '../../../cni/errors.ts';
import type { Result } from '../../../cni/types.ts';
import { parseResult } from '../../../cni/versions.ts';
import { loadNetworkFile } from '../../../runtime/conf-dir.ts';
import type { NetworkList } from '../../../runtime/conflist.ts';
import { knownVersion } from '../../../runtime/version.ts';
import { UsageError, type WeftContext } from '../../context.ts';
import { table } from '../../table.ts';
import { interrupted } from '../interruption.ts';
import type { Program } from '../lab.ts';
import { Progress } from '../progress.ts';
import { joined, type RegistryKind, startAgents, startRegistry } from './agents.ts';
import { captured, carries, layerTable } from './capture.ts';
import { ClusterLab, OUTSIDE } from './lab.ts';
import { added, stateOf } from './leftovers.ts';
import { figures } from './measure.ts';
import { workings } from './show.ts';
import { type Container, reachAll, serveEverywhere } from './traffic.ts';

export interface TwoHostsFlags {
  backend: Backend;
  hosts: number;
  registry: RegistryKind;
  keep?: boolean;
}

interface Demo {
  cluster: ClusterLab;
  progress: Progress;
  list: NetworkList;
  network: ClusterNetwork;
  weft: string;
  flags: TwoHostsFlags;
}

export async function demoTwoHosts(
  this: WeftContext,
  flags: TwoHostsFlags,
  file?: string,
): Promise<Error | undefined> {
  const started = this.ambient.now();
  const weft = join(this.home, 'weft');
  if (!existsSync(weft)) {
    throw new CniError(ErrorCode.program, `there is no executable ${weft}: run "make build" first`);
  }
  const { list, network } = await readNetwork(file ?? exampleOf(this.home, flags.backend));
  const progress = new Progress(this.terminal);
  // From before the first namespace: an interruption meanwhile is seen when the lab stands.
  const interruption = interrupted(this.terminal);
  const cluster = await ClusterLab.open(this.ambient, this.home, {
    hosts: flags.hosts,
    needs: needsOf(network, flags),
  }).catch((error) => {
    interruption.forget();
    throw error;
  });
  const demo: Demo = { cluster, progress, list, network, weft, flags };
  let done = false;
  try {
    await Promise.race([show(demo), interruption.promise]);
    done = true;
  } finally {
    interruption.forget();
    if (flags.keep && done) leaveStanding(demo);
    else await takeAway(demo);
  }
  const seconds = ((this.ambient.now() - started) / 1000).toFixed(1);
  const { failed, passed } = progress;
  if (failed > 0) return new CniError(ErrorCode.checkFailed, `${failed} of ${failed + passed} checks failed`);
  progress.title(`All ${passed} checks passed in ${seconds} s`);
  return undefined;
}

function exampleOf(home: string, backend: Backend): string {
  const example = resolve(home, '../../examples', `${backend}.conflist`);
  if (existsSync(example)) return example;
  throw new UsageError(`the example ${example} is not here: give a CONFLIST to show`);
}

async function readNetwork(file: string): Promise<{ list: NetworkList; network: ClusterNetwork }> {
  const { clusterNetworkOf } = await import('../../../plugins/cluster-network.ts');
  const list = await loadNetworkFile(file);
  knownVersion(list);
  for (const plugin of list.plugins) {
    const network = clusterNetworkOf({ ...plugin, name: list.name });
    if (network !== undefined) return { list, network };
  }
  throw new CniError(
    ErrorCode.invalidConfig,
    `${file} has no network between hosts: wanted a plugin of type vxlan or routed`,
  );
}

function needsOf({ bgp }: ClusterNetwork, { registry }: TwoHostsFlags): Program[] {
  return [
    'bridge',
    'tcpdump',
    'iperf3',
    ...(bgp ? ['bird' as const] : []),
    ...(registry === 'etcd' ? ['etcd' as const] : []),
  ];
}

async function show(demo: Demo): Promise<void> {
  const { cluster, progress, list, weft, flags } = demo;
  drawing(demo);
  progress.title(`The network ${list.name} (${list.file ?? ''})`);
  progress.quote(list.json.trim().split('\n'));
  const before = new Map<string, Map<string, string[]>>();
  for (const { name } of cluster.hosts) {
    writeFileSync(join(cluster.lab.folders(name).conf, `10-${list.name}.conflist`), list.json);
    before.set(name, await stateOf(cluster, name));
  }
  const registry = await startRegistry(cluster, flags.registry);
  progress.title(`Agents: weft agent --registry ${registry} --node HOST`);
  const agents = await startAgents(cluster, weft, registry);
  await showMembers(demo, registry);
  const containers = await attachAll(demo);
  progress.title('Packets');
  await serveEverywhere(cluster, containers);
  await reachAll(cluster, progress, containers);
  progress.title('What makes it work, on host1');
  progress.quote(await workings(cluster.lab, 'host1', demo.network));
  await showPacket(demo, containers);
  await showFigures(demo, containers);
  if (flags.keep) return;
  await detachAll(demo, containers);
  for (const [host, agent] of agents) {
    await cluster.lab.must(host, weft, 'network', 'leave', list.name);
    await agent.stop('SIGTERM');
  }
  await expectNothingLeft(demo, before);
}

function drawing({ cluster: { lab, hosts }, progress }: Demo): void {
  progress.line(`Simulated hosts in ${lab.folder}: the network of this machine is not touched`);
  const rows = hosts.map(({ name, v4, v6, containers }) => [
    containers.join(', '),
    '──',
    name,
    v4,
    v6,
    '──┐',
  ]);
  const right = table([...rows, ['', '', 'outside', OUTSIDE.v4, OUTSIDE.v6, '──┘ wire']]);
  progress.quote(right);
}

async function showMembers({ cluster, progress, list, flags }: Demo, registry: string): Promise<void> {
  const summaries = await joined(cluster, list.name);
  for (const [host, { subnets, mtu, sessions }] of summaries) {
    const bgp = sessions === undefined ? '' : `, ${sessions.length} BGP sessions established`;
    progress.check(
      subnets.length > 0,
      `${host} holds ${subnets.join(' and ')}`,
      `MTU of containers ${mtu}${bgp}`,
    );
  }
  if (flags.registry === 'file')
    progress.quote(['', `$ cat ${registry}`, ...readFileSync(registry, 'utf8').trim().split('\n')]);
}

async function attachAll(demo: Demo): Promise<Container[]> {
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

async function showPacket(
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

async function showFigures({ cluster, progress }: Demo, containers: readonly Container[]): Promise<void> {
  const [from, to] = pair(containers);
  progress.title('How fast: one TCP stream for a second, a hundred round trips');
  const hosts = await figures(cluster.lab, from.host.name, to.host.name, to.host.v4);
  const between = await figures(cluster.lab, from.name, to.name, to.addresses[0] ?? '');
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

async function detachAll(
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

async function expectNothingLeft(
  { cluster, progress, flags }: Demo,
  before: ReadonlyMap<string, ReadonlyMap<string, readonly string[]>>,
): Promise<void> {
  for (const { name, containers } of cluster.hosts) {
    const left = added(before.get(name) ?? new Map(), await stateOf(cluster, name));
    const what = `nothing is left on ${name}: no link, route, rule, neighbour, FDB entry, lease`;
    progress.check(left.length === 0, what, left.length === 0 ? '' : `left: ${left.join('; ')}`);
    for (const container of containers) {
      const links = JSON.parse(await cluster.lab.must(container, 'ip', '-json', 'link')) as {
        ifname: string;
      }[];
      const others = links.map(({ ifname }) => ifname).filter((ifname) => ifname !== 'lo');
      progress.check(others.length === 0, `no link in ${container} but lo`, others.join(', '));
    }
  }
  if (flags.registry !== 'file') return;
  const text = readFileSync(join(cluster.lab.folder, 'registry.yaml'), 'utf8');
  const names = cluster.hosts.map(({ name }) => name).filter((name) => text.includes(name));
  progress.check(names.length === 0, 'no host in the registry', names.join(', '));
}

async function takeAway({ cluster: { lab, hosts }, progress }: Demo): Promise<void> {
  for (const { name } of hosts) await lab.endPid(join(lab.folders(name).run, 'bird', 'bird.pid'));
  await lab.close();
  progress.check(!existsSync(lab.folder), 'simulated hosts are taken away', lab.folder);
}

/** A script that takes everything away, because there is more than a person wants to type. */
function leaveStanding({ cluster: { lab, hosts }, progress, weft }: Demo): void {
  const remove = join(lab.folder, 'remove');
  const script = [
    '#!/bin/sh',
    `kill -KILL ${lab.pids.join(' ')} 2>/dev/null`,
    `for pid in ${lab.folder}/*/run/bird/bird.pid; do [ -f "$pid" ] && kill -KILL "$(cat "$pid")"; done`,
    `umount ${lab.folder}/ns/* && rm -r ${lab.folder}`,
    '',
  ];
  writeFileSync(remove, script.join('\n'));
  chmodSync(remove, 0o700);
  const [one] = hosts;
  const enter = (place: string) => `nsenter --net=${lab.netns(place)}`;
  progress.title('The simulated hosts are left standing (--keep)');
  progress.quote([
    `source ${lab.folder}/host1/environment       # weft's folders of host1`,
    `${enter('host1')} ${weft} status       # the host, its networks, its agent`,
    `${enter('host1')} bash       # a shell on the host; its agent's log: ${lab.folder}/host1/agent.log`,
    `${enter(one?.containers[0] ?? '')} bash       # a container`,
    `${enter('host2')} tcpdump -n -i uplink       # what the wire sees`,
    `${remove}       # take everything away`,
  ]);
}
