/** The networks between hosts of one agent, with what they tell to log and metrics. */
import type { Logger } from 'pino';
import { openRegistry } from '../../cluster/open-registry.ts';
import type { Registry } from '../../cluster/registry.ts';
import type { Ambient } from '../../cni/ambient.ts';
import { makeFolder } from '../../cni/folder.ts';
import { type Monitor, monitor } from '../../netlink/monitor.ts';
import { openDoor } from '../../netlink/namespace.ts';
import { bootId, recordFolder } from '../../plugins/record.ts';
import type { AgentEvents } from '../events.ts';
import { Records } from '../repair/records.ts';
import { Control } from './control.ts';
import { hostParts, type Speaker } from './host-parts.ts';
import type { HostNetworkHooks } from './network-options.ts';
import { Networks } from './networks.ts';
import type { NetworkSummary } from './summary.ts';

export interface ClusterOptions {
  ambient: Ambient;
  /** A file, `etcd://...`, ... */
  registry: string;
  /** This host's name in the registry. */
  node: string;
  /** Underlay addresses or links; empty: those by which the host reaches the outside. */
  addresses: readonly string[];
}

export interface Cluster {
  summaries(): Promise<NetworkSummary[]>;
  close(): Promise<void>;
}

/** RTM_NEWADDR, RTM_DELADDR (linux/rtnetlink.h). */
const ADDRESS_TYPES = [20, 21];
/** Where struct ifaddrmsg has the scope (linux/if_addr.h), and RT_SCOPE_UNIVERSE. */
const IFA_SCOPE = 3;
const GLOBAL = 0;
/** Milliseconds from a changed address to the look at what it means. */
const SETTLE = 250;

/** A registry whose location was understood; nothing has been asked yet. */
export interface PreparedCluster {
  /** Throws an Error with `code` when the host cannot be opened. */
  start(log: Logger, events: AgentEvents): Promise<Cluster>;
}

/** Throws RegistryError(invalid) when the registry's location is none. */
export async function prepareCluster(options: ClusterOptions): Promise<PreparedCluster> {
  const { ambient } = options;
  const running: { networks?: Networks } = {};
  const registry = await openRegistry(options.registry, {
    env: ambient.env,
    hooks: {
      renewed: (_, validUntil) => running.networks?.renewed(validUntil),
      restored: (network, member) => running.networks?.expired(network, member),
      gone: (network) => running.networks?.expired(network, undefined),
    },
  });
  return { start: (log, events) => start(options, registry, running, { log, events }) };
}

async function start(
  { ambient, node, addresses }: ClusterOptions,
  registry: Registry,
  running: { networks?: Networks },
  { log, events }: { log: Logger; events: AgentEvents },
): Promise<Cluster> {
  const door = openDoor();
  const host = await door.open();
  const speakers = new Map<string, Promise<Speaker>>();
  const folder = recordFolder(ambient.paths.cacheDir);
  // What is not there cannot be watched: the first containers would be told of late.
  makeFolder(folder, 0o700);
  const boot = bootId();
  const networks = new Networks({
    ...{ registry, paths: ambient.paths, host: node, addresses, now: ambient.now, recordFolder: folder },
    parts: hostParts({
      ...{ door, host, ambient },
      speaker: (daemon) => {
        const known = speakers.get(daemon) ?? openSpeaker(daemon, ambient, log);
        speakers.set(daemon, known);
        return known;
      },
    }),
    records: new Records(folder),
    isHere: (record) => record.boot === boot && record.host === host.identity,
    hooks: hooksFor(log, events),
    fault: (file, error) => {
      if (error === undefined) log.info({ file }, 'the conflist can be understood again');
      else log.error({ file, error }, 'the conflist cannot be understood: what it said before stays');
    },
  });
  running.networks = networks;
  const control = await Control.open(ambient.paths.runDir, networks);
  const addressesChange = await watchAddresses(() => networks.look()).catch(() => undefined);
  log.info({ registry: registry.where, node }, 'networks between hosts are looked after');
  return {
    summaries: () => networks.summaries(),
    close: async () => {
      control.close();
      addressesChange?.close();
      await closeAll(networks, registry, speakers);
      host.close();
    },
  };
}

async function closeAll(
  networks: Networks,
  registry: Registry,
  speakers: ReadonlyMap<string, Promise<Speaker>>,
): Promise<void> {
  const ending = networks.close();
  // What waits for an answer of the registry ends with it.
  await registry.close();
  await ending;
  for (const speaker of speakers.values()) await speaker.then((one) => one.close()).catch(() => {});
}

function hooksFor(log: Logger, events: AgentEvents): HostNetworkHooks {
  return {
    corrected: (network, what) => {
      log.warn({ network, what }, 'put back');
      events.emit({ event: 'corrected', kind: 'network', count: what.length });
    },
    problem: (network, kind, words) => {
      if (words === undefined) log.info({ network, kind }, 'the problem has ended');
      else log.error({ network, kind, problem: words }, 'the network is not as it should be');
    },
    told: (network, words, more, level = 'info') => log[level]({ network, ...more }, words),
  };
}

async function openSpeaker(daemon: 'bird' | 'frr', ambient: Ambient, log: Logger): Promise<Speaker> {
  if (daemon === 'bird') {
    const { BgpController } = await import('../../cluster/bgp/bird.ts');
    return new BgpController({ runDir: ambient.paths.runDir, log });
  }
  throw new Error(`bgp.daemon is ${daemon}, which this agent cannot drive: wanted bird`);
}

/** Each container's link gets a link-local address: those are not looked at. */
async function watchAddresses(changed: () => void): Promise<Monitor<'address'>> {
  const host = await openDoor().open();
  const stream = await monitor(host, ['address'], (_, { type, payload }) =>
    ADDRESS_TYPES.includes(type) && payload[IFA_SCOPE] === GLOBAL ? ('address' as const) : undefined,
  );
  host.close();
  let soon: NodeJS.Timeout | undefined;
  const listen = async () => {
    for await (const _ of stream) {
      soon ??= setTimeout(() => {
        soon = undefined;
        changed();
      }, SETTLE);
    }
    clearTimeout(soon);
  };
  void listen();
  return stream;
}
