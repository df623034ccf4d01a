/** The agent's renewal of DHCP leases, with what it tells to log and metrics. */
import type { Logger } from 'pino';
import type { Ambient } from '../../cni/ambient.ts';
import { expiryOf, type Lease } from '../../ipam/dhcp/lease.ts';
import { leaseFolder, renewedLock } from '../../ipam/dhcp/store.ts';
import { dhcpHost } from '../../plugins/dhcp-host.ts';
import { watchFolder } from '../cluster/watch-folder.ts';
import type { AgentEvents } from '../events.ts';
import { type Attempt, Renewer } from './renewer.ts';

/** Milliseconds: a lease that ADD has just got is not due for some time. */
const SETTLE = 20;

export interface Renewal {
  /** For metrics: how many leases there are, by network and state. */
  states(): { network: string; state: LeaseState; count: number }[];
  close(): Promise<void>;
}

export type LeaseState = 'bound' | 'expired' | 'lost';

/** Begins at once; the agent holds the run folder already, so that nobody else renews its leases. */
export async function startRenewal(ambient: Ambient, log: Logger, events: AgentEvents): Promise<Renewal> {
  const host = dhcpHost();
  const folder = leaseFolder(ambient.paths.runDir);
  const release = await ambient.lock(renewedLock(folder));
  const renewer = new Renewer({
    ...{ folder, host, lock: (path) => ambient.lock(path) },
    hooks: {
      attempted: (attempt) => {
        events.emit({ event: 'lease', outcome: attempt.outcome });
        tell(log, attempt);
      },
      failed: (error) => log.warn({ error: String(error) }, 'the DHCP leases could not be looked at'),
    },
  });
  renewer.look();
  const stopWatching = watchFolder(folder, () => renewer.look(), SETTLE);
  return {
    states: () => countStates(renewer.leases(), host.now()),
    async close() {
      stopWatching();
      await renewer.close();
      release();
    },
  };
}

const WORDS = {
  unanswered: ['warn', 'no DHCP server answers: the lease was not renewed, and is asked for again'],
  expired: ['error', 'DHCP lease expired: no server answers, its container keeps the address'],
  lost: ['error', 'DHCP address lost: its container uses what may be given to others'],
  gone: ['debug', 'the container of a DHCP lease is gone'],
  failed: ['warn', 'the DHCP lease could not be asked for'],
} as const;

function tell(log: Logger, { lease, outcome, words, repeated }: Attempt): void {
  const { network, containerId, ifname, address, server } = lease;
  const what = { network, containerId, ifname, address, server, ...(words !== '' && { words }) };
  if (outcome !== 'renewed') {
    const [level, message] = WORDS[outcome];
    log[repeated ? 'debug' : level](what, message);
  } else if (lease.lost !== undefined) log.warn(what, "DHCP address is its container's again");
  else if (words !== '')
    log.warn(what, 'DHCP lease renewed; what the server changed, the container does not learn');
  else log.debug(what, 'DHCP lease renewed');
}

function countStates(leases: readonly Lease[], now: number): ReturnType<Renewal['states']> {
  const counts = new Map<string, { network: string; state: LeaseState; count: number }>();
  for (const lease of leases) {
    const state = lease.lost !== undefined ? 'lost' : now > expiryOf(lease) ? 'expired' : 'bound';
    const key = `${lease.network} ${state}`;
    const found = counts.get(key) ?? { network: lease.network, state, count: 0 };
    counts.set(key, { ...found, count: found.count + 1 });
  }
  return [...counts.values()];
}
