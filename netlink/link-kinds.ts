/** Links that stand on others, or on nothing: macvlan, ipvlan, vlan, dummy, vrf (drivers/net, net/8021q). */
import type { Op } from './door.ts';
import { create, createElsewhere, type Link, type NewLink } from './link.ts';
import { tolerating } from './message.ts';

export type MacvlanMode = 'private' | 'vepa' | 'bridge' | 'passthru' | 'source';

/** linux/if_link.h, enum macvlan_mode. */
export const MACVLAN_MODES: Readonly<Record<MacvlanMode, number>> = {
  private: 1,
  vepa: 2,
  bridge: 4,
  passthru: 8,
  source: 16,
};

export type IpvlanMode = 'l2' | 'l3' | 'l3s';

/** linux/if_link.h, enum ipvlan_mode. */
export const IPVLAN_MODES: Readonly<Record<IpvlanMode, number>> = { l2: 0, l3: 1, l3s: 2 };

/** What a link is that stands on another. */
export type Stacked =
  | { type: 'macvlan'; mode: MacvlanMode; broadcastQueueLength?: number | undefined }
  | { type: 'ipvlan'; mode: IpvlanMode }
  /** IEEE 802.1Q; 0 to 4094. */
  | { type: 'vlan'; id: number };

function infoOf(as: Stacked) {
  switch (as.type) {
    case 'macvlan':
      return {
        kind: 'macvlan',
        macvlan: { mode: MACVLAN_MODES[as.mode], broadcastQueueLength: as.broadcastQueueLength },
      };
    case 'ipvlan':
      return { kind: 'ipvlan', ipvlan: { mode: IPVLAN_MODES[as.mode] } };
    case 'vlan':
      return { kind: 'vlan', vlan: { id: as.id } };
  }
}

/** Where a stacked link is made. */
export interface Placement {
  /** Index of the link it stands on, in the namespace that is asked. */
  lower: number;
  as: Stacked;
  /** Descriptor of the namespace it is born in (Namespace.fd). Absent: that which is asked. */
  netnsFd?: number | undefined;
}

/**
 * A link on another one, in one message also where it is to be in another namespace. EEXIST when the name is taken there; kernels before
 * 6.14 say so as well when a link of the namespace that is asked has the name. It is not read back: look it up where it is.
 */
export function createStacked(
  link: Omit<NewLink, 'alias' | 'port'>,
  { lower, as, netnsFd }: Placement,
): Op<void> {
  return createElsewhere(link, `create ${as.type} ${link.name}`, { link: lower, info: infoOf(as), netnsFd });
}

/** One VLAN of `lower` (index) as a link of its own: frames of that VLAN (IEEE 802.1Q), without their tag. */
export function createVlan(link: NewLink & { lower: number; id: number }): Op<Link> {
  const { name, lower, id } = link;
  return create(link, `create vlan ${name}`, { link: lower, info: infoOf({ type: 'vlan', id }) });
}

/** A link that swallows what it is to send. */
export function createDummy(link: NewLink): Op<Link> {
  return create(link, `create dummy ${link.name}`, { info: { kind: 'dummy' } });
}

/** A master whose members' packets are routed by a table of their own. */
export function createVrf(link: NewLink & { table: number }): Op<Link> {
  const { name, table } = link;
  return create(link, `create vrf ${name}`, { info: { kind: 'vrf', vrf: { table } } });
}

/** Nobody's MAC: a group's. */
const GROUP_MAC = '01:00:5e:00:00:00';

/**
 * Asks for a link that no kernel makes, its MAC being a group's; the answer is EOPNOTSUPP where the kernel has no such kind
 * (rtnl_newlink), and something else where it has. Nothing is made.
 */
export function probeKind(kind: string): Op<unknown> {
  const op = createElsewhere({ name: 'weft-probe', mac: GROUP_MAC }, `ask for the kind ${kind}`, {
    info: { kind },
  });
  return tolerating(op, 'EOPNOTSUPP', 'EADDRNOTAVAIL', 'EINVAL', 'ENODEV', 'EEXIST');
}
