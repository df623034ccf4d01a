/** `weft demo two-hosts`: a network between hosts, from nothing to nothing, with everything shown that makes it work. */
import { chmodSync, existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Backend, ClusterNetwork } from '../../../cluster/network.ts';
import { CniError, ErrorCode } from '../../../cni/errors.ts';
import { loadNetworkFile } from '../../../runtime/conf-dir.ts';
import type { NetworkList } from '../../../runtime/conflist.ts';
import { knownVersion } from '../../../runtime/version.ts';
import type { WeftContext } from '../../context.ts';
import { table } from '../../table.ts';
import { exampleNetwork } from '../example.ts';
import { interrupted } from '../interruption.ts';
import type { Program } from '../lab.ts';
import { Progress } from '../progress.ts';
import { type RegistryKind, startAgents, startRegistry } from './agents.ts';
import { ClusterLab, OUTSIDE } from './lab.ts';
import { type HostState, stateOf } from './leftovers.ts';
import { workings } from './show.ts';
import {
  attachAll,
  conflistOf,
  type Demo,
  detachAll,
  expectNothingLeft,
  leave,
  showFigures,
  showMembers,
  showPacket,
} from './steps.ts';
import { reachAll, serveEverywhere } from './traffic.ts';

export interface TwoHostsFlags {
  backend: Backend;
  hosts: number;
  registry: RegistryKind;
  keep?: boolean;
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
  const { list, network } = await readNetwork(
    file === undefined ? await exampleNetwork(this.home, flags.backend) : await loadNetworkFile(file),
  );
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
  const demo: Demo = { cluster, progress, list, network, weft, registry: flags.registry };
  let done = false;
  try {
    await Promise.race([show(demo, flags), interruption.promise]);
    done = true;
  } finally {
    if (flags.keep && done) leaveStanding(demo);
    else await takeAway(demo);
    // Only now: who is told twice to end must not leave half of it behind.
    interruption.forget();
  }
  const seconds = ((this.ambient.now() - started) / 1000).toFixed(1);
  const { failed, passed } = progress;
  if (failed > 0) return new CniError(ErrorCode.checkFailed, `${failed} of ${failed + passed} checks failed`);
  progress.title(`All ${passed} checks passed in ${seconds} s`);
  return undefined;
}

async function readNetwork(list: NetworkList): Promise<{ list: NetworkList; network: ClusterNetwork }> {
  const { clusterNetworkOf } = await import('../../../plugins/cluster-network.ts');
  knownVersion(list);
  for (const plugin of list.plugins) {
    const network = clusterNetworkOf({ ...plugin, name: list.name });
    if (network !== undefined) return { list, network };
  }
  throw new CniError(
    ErrorCode.invalidConfig,
    `${list.file ?? list.name} has no network between hosts: wanted a plugin of type vxlan or routed`,
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

async function show(demo: Demo, { keep }: TwoHostsFlags): Promise<void> {
  const { cluster, progress, list, weft } = demo;
  drawing(demo);
  progress.title(`The network ${list.name} (${list.file ?? ''})`);
  progress.quote(list.json.trim().split('\n'));
  const before = new Map<string, HostState>();
  for (const { name } of cluster.hosts) {
    writeFileSync(conflistOf(cluster.lab, name, list), list.json);
    before.set(name, await stateOf(cluster, name));
  }
  const registry = await startRegistry(cluster, demo.registry);
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
  if (keep) return;
  await detachAll(demo, containers);
  for (const { name } of cluster.hosts) await leave(demo, name);
  await Promise.all([...agents.values()].map((agent) => agent.stop('SIGTERM')));
  await expectNothingLeft(demo, before, containers);
}

function drawing({ cluster: { lab, hosts }, progress }: Demo): void {
  progress.line(`Simulated hosts in ${lab.folder}: the network of this machine is not touched`);
  const rows = hosts.map(({ name, v4, v6, containers }, i) => [
    ...[containers.join(', '), '──', name, v4, v6],
    i === 0 ? '──┐' : '──┤',
  ]);
  progress.quote(table([...rows, ['', '', 'outside', OUTSIDE.v4, OUTSIDE.v6, '──┘ wire']]));
}

async function takeAway({ cluster, progress }: Demo): Promise<void> {
  const { lab } = cluster;
  await cluster.close();
  progress.check(!existsSync(lab.folder), 'simulated hosts are taken away', lab.folder);
}

/** A script that takes everything away, because there is more than a person wants to type. */
function leaveStanding({ cluster: { lab, hosts }, progress, weft }: Demo): void {
  lab.keep();
  const remove = join(lab.folder, 'remove');
  const script = [
    '#!/bin/sh',
    `kill -KILL ${lab.pids.join(' ')} 2>/dev/null`,
    `for pid in ${lab.folder}/*/run/bird/bird.pid; do [ -f "$pid" ] && kill -KILL "$(cat "$pid")"; done`,
    `for pin in ${lab.folder}/ns/*; do umount "$pin" 2>/dev/null; done`,
    `rm -r ${lab.folder}`,
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
