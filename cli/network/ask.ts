/** Asks the agent of this host for its networks between hosts; without one, what the last agent wrote down. */
import { controlSocket } from '../../agent/cluster/control.ts';
import { leasedAddresses } from '../../agent/cluster/leased.ts';
import { readSaved, savedNetworks } from '../../agent/cluster/saved.ts';
import { type NetworkSummary, summarize } from '../../agent/cluster/summary.ts';
import { wantedNetworks } from '../../agent/cluster/wanted.ts';
import type { ClusterNetwork } from '../../cluster/network.ts';
import type { Paths } from '../../cni/ambient.ts';
import { CniError, ErrorCode } from '../../cni/errors.ts';
import { readMembership } from '../../ipam/cluster/membership.ts';

/** Milliseconds. An answer takes a few; leaving waits for the registry. */
const PATIENCE = 5000;
const LEAVING = 60_000;

export interface Asked {
  /** Whether an agent answered that looks after networks between hosts. */
  running: boolean;
  networks: NetworkSummary[];
}

/** Why the registry was not asked: nobody but an agent asks it. */
export const NO_AGENT_RUNS = 'no agent runs';

/**
 * Without an agent: what the last one wrote down, and what the conflists name besides, which has no members then.
 * Throws CniError: notAvailable when an agent is there and cannot be asked, io when the folder of conflists cannot be read.
 */
export async function askNetworks(paths: Paths): Promise<Asked> {
  const answer = await ask(paths.runDir, 'GET', '/networks', PATIENCE);
  if (answer !== undefined) return { running: true, networks: answer as NetworkSummary[] };
  const { networks: wanted } = await wantedNetworks(paths.confDir);
  const known = savedNetworks(paths.cacheDir).flatMap(
    (name) => fromFiles(paths, name, wanted.get(name)?.file) ?? [],
  );
  const unknown = [...wanted].filter(([name]) => !known.some((one) => one.name === name));
  return {
    running: false,
    networks: [...known, ...unknown.map(([name, { network, file }]) => neverJoined(name, network, file))],
  };
}

/** False when there is no agent to ask. Throws CniError(notAvailable) with the agent's words. */
export async function askToLeave(paths: Paths, name: string, force: boolean): Promise<boolean> {
  const path = `/networks/${encodeURIComponent(name)}/leave${force ? '?force' : ''}`;
  return (await ask(paths.runDir, 'POST', path, LEAVING)) !== undefined;
}

function fromFiles(paths: Paths, name: string, file: string | undefined): NetworkSummary | undefined {
  const saved = readSaved(paths.cacheDir, name);
  if (saved === undefined) return undefined;
  const { network, host, registry, state, written } = saved;
  const membership = readMembership(paths.cacheDir, name);
  return summarize({
    ...{ name, host, file, network, state, seen: written },
    registry: { where: registry, reachable: false, since: written, error: NO_AGENT_RUNS },
    joined: false,
    member: state.members.find((member) => member.host === host),
    mtu: membership?.mtu,
    device: membership?.device,
    leases: leasedAddresses(paths.dataDir, name).length,
    corrections: 0,
    problems: membership?.problem === undefined ? [] : [membership.problem],
    sessions: undefined,
    validUntil: membership?.validUntil,
  });
}

/** A conflist that no agent took up: nothing can be attached to it. */
function neverJoined(name: string, network: ClusterNetwork, file: string): NetworkSummary {
  return summarize({
    ...{ name, host: '', file, network, state: { members: [], endpoints: [] }, seen: undefined },
    registry: { where: '', reachable: false, since: 0, error: NO_AGENT_RUNS },
    ...{ joined: false, member: undefined, mtu: undefined, device: undefined, leases: 0, corrections: 0 },
    problems: ['not joined: no agent (weft agent --registry ...)'],
    ...{ sessions: undefined, validUntil: undefined },
  });
}

/** Undefined when nobody listens. */
async function ask(runDir: string, method: string, path: string, timeout: number): Promise<unknown> {
  const { request } = await import('node:http');
  const socketPath = controlSocket(runDir);
  const { status, text } = await new Promise<{ status: number; text: string }>((resolve, reject) => {
    const asked = request(
      { socketPath, path, method, headers: { Host: 'agent' }, agent: false, timeout },
      (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('error', reject);
        response.on('end', () =>
          resolve({ status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString('utf8') }),
        );
      },
    );
    asked.on('timeout', () => asked.destroy(new Error(`no answer within ${timeout / 1000} seconds`)));
    asked.on('error', reject);
    asked.end();
  }).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT' || error.code === 'ECONNREFUSED') return { status: 0, text: '' };
    throw new CniError(
      ErrorCode.notAvailable,
      `the agent at ${socketPath} cannot be asked: ${error.message}`,
    );
  });
  if (status === 0) return undefined;
  const body: unknown = JSON.parse(text);
  if (status === 200) return body;
  throw new CniError(ErrorCode.notAvailable, String((body as { error?: unknown } | null)?.error ?? text));
}
