/** The hosts' agents, the registry they share, and what they say. */
import { join } from 'node:path';
import type { NetworkSummary } from '../../../agent/cluster/summary.ts';
import { CniError, ErrorCode } from '../../../cni/errors.ts';
import { askNetworks } from '../../network/ask.ts';
import type { Daemon } from '../daemon.ts';
import { type ClusterHost, type ClusterLab, OUTSIDE } from './lab.ts';

export type RegistryKind = 'file' | 'etcd';

/** Milliseconds: a BGP session takes one or two seconds, a busy machine its time. */
const PATIENCE = 60_000;
const STEP = 50;

/** Starts the registry where it is a server; returns what agents are told of it. */
export async function startRegistry({ lab }: ClusterLab, kind: RegistryKind): Promise<string> {
  if (kind === 'file') return join(lab.folder, 'registry.yaml');
  const url = `http://${OUTSIDE.v4}:2379`;
  const peer = 'http://127.0.0.1:2380';
  await lab.daemon('outside', 'etcd.log', /ready to serve client requests/, [
    ...['etcd', '--name', 'demo', '--data-dir', join(lab.folder, 'etcd')],
    ...['--listen-client-urls', url, '--advertise-client-urls', url],
    ...[
      '--listen-peer-urls',
      peer,
      '--initial-advertise-peer-urls',
      peer,
      '--initial-cluster',
      `demo=${peer}`,
    ],
  ]);
  return `etcd://${OUTSIDE.v4}:2379`;
}

/** One agent on each host, all at once. */
export async function startAgents(
  { lab, hosts }: ClusterLab,
  weft: string,
  registry: string,
): Promise<Map<string, Daemon>> {
  const started = await Promise.all(
    hosts.map(async ({ name }) => {
      const command = [weft, 'agent', '--registry', registry, '--node', name];
      return [name, await lab.daemon(name, `${name}/agent.log`, /"listening"/, command)] as const;
    }),
  );
  return new Map(started);
}

/** Waits until every host has a subnet and knows all others, and BGP sessions stand. Throws CniError with what an agent says. */
export async function joined(cluster: ClusterLab, network: string): Promise<Map<string, NetworkSummary>> {
  const summaries = await Promise.all(
    cluster.hosts.map(async (host) => [host.name, await joinedOne(cluster, host, network)] as const),
  );
  return new Map(summaries);
}

async function joinedOne(
  cluster: ClusterLab,
  { name }: ClusterHost,
  network: string,
): Promise<NetworkSummary> {
  const { leases: dataDir, run: runDir, cache: cacheDir, conf: confDir } = cluster.lab.folders(name);
  const paths = { dataDir, runDir, cacheDir, confDir };
  let summary: NetworkSummary | undefined;
  for (let waited = 0; waited < PATIENCE; waited += STEP) {
    summary = (await askNetworks(paths)).networks.find((one) => one.name === network);
    const knowsAll = summary?.members.length === cluster.hosts.length;
    if (summary?.joined && knowsAll && isSpeaking(summary) && summary.mtu && summary.problems.length === 0)
      return summary;
    await new Promise((resolve) => setTimeout(resolve, STEP));
  }
  const words = summary === undefined ? 'its agent does not answer' : JSON.stringify(summary);
  throw new CniError(ErrorCode.program, `${name} did not join network ${network}`, words);
}

/** Whether all sessions stand that there will be: with all other hosts, or, where it speaks with reflectors, with these. */
function isSpeaking({ sessions, members }: NetworkSummary): boolean {
  if (sessions === undefined) return true;
  const peers = new Set(sessions.map(({ peer }) => peer));
  const others = members.filter(({ self }) => !self).map(({ host }) => host);
  const isMesh = others.some((name) => peers.has(name));
  // What is not configured yet has no session: none at all would do otherwise.
  if (peers.size === 0 || (isMesh && !others.every((name) => peers.has(name)))) return false;
  return sessions.every(({ established }) => established);
}
