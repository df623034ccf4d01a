/** What `weft nat` knows: everything that rewrites addresses on a host, for whom, and the connections that it rewrites now. */
import { CniError, ErrorCode } from '../../cni/errors.ts';
import type { Connection } from '../../netlink/conntrack.ts';
import type { Container } from '../containers.ts';
import type { Sketch, Snapshot } from '../host/snapshot.ts';
import type { Gathered } from '../path/gather.ts';
import { liveConnections } from './live.ts';
import type { Translation } from './translation.ts';
import { translationsOf } from './translations.ts';

export interface NatEntry extends Translation {
  /** The container that it is for: that of its owner, else the one that has the address. */
  container?: Container;
  connections: readonly Connection[];
}

export interface NatView {
  host: Snapshot;
  /** The host's namespace, and those that have a link to it; a machine may have other hosts, simulated ones, too. */
  near: readonly Sketch[];
  /** Those in them, and those that were written down. */
  containers: readonly Container[];
  entries: readonly NatEntry[];
}

/** Throws CniError(io) where the rules may not be read, and an Error where the namespace cannot be. */
export async function gatherNat(
  gathered: Pick<Gathered, 'here' | 'namespaces' | 'containers' | 'snapshot'>,
): Promise<NatView> {
  const host = await gathered.snapshot(gathered.here);
  const refused = host.ruleset.unread.find((words) => /not permitted|must be root|denied/i.test(words));
  if (refused !== undefined) {
    throw new CniError(
      ErrorCode.io,
      'the rules of this host cannot be read: run as root (CAP_NET_ADMIN)',
      refused,
    );
  }
  return natView(host, gathered.namespaces, gathered.containers);
}

/** The same from what was read already. */
export function natView(
  host: Snapshot,
  namespaces: ReadonlyMap<string, Sketch>,
  containers: readonly Container[],
): NatView {
  const translations = translationsOf(host.ruleset);
  const live = liveConnections(translations, host.connections);
  const near = [...namespaces.values()].filter(
    ({ identity, peers }) => identity === host.identity || [...peers.values()].includes(host.identity),
  );
  const nearby = new Set(near.map(({ identity }) => identity));
  const known = containers.filter(
    ({ namespace = '', networks }) =>
      networks.length > 0 || (nearby.has(namespace) && namespace !== host.identity),
  );
  const holders = new Map(
    containers.flatMap((one) => one.addresses.map((address) => [address, one] as const)),
  );
  const byId = new Map(known.map((one) => [one.id, one]));
  const entries = translations.map((translation, i): NatEntry => {
    const container =
      byId.get(translation.owner.containerId ?? '') ?? holders.get(containerAddress(translation) ?? '');
    return { ...translation, ...(container ? { container } : {}), connections: live[i] ?? [] };
  });
  return { host, near, containers: known, entries };
}

/** The one address that a translation is made for: where it sends packets, or whose it hides. */
export function containerAddress({ kind, to, sources, destinations }: Translation): string | undefined {
  if (kind === 'dnat') return to?.address;
  if (kind === 'redirect') return undefined;
  return sources.length === 1
    ? sources[0]
    : sources.length === 0 && destinations.length === 1
      ? destinations[0]
      : undefined;
}

/** `c1`, `default/web`; undefined where it is for no container. */
export function containerWords({ container, owner }: NatEntry): string | undefined {
  return container?.name ?? owner.containerId ?? container?.id;
}
