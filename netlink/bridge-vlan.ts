/** Which VLANs a bridge's ports are in (linux/if_bridge.h; net/bridge/br_netlink.c, net/core/rtnetlink.c). */
import { AF_BRIDGE } from './codec.ts';
import type { Op } from './door.ts';
import { bridgeVlanMessage } from './link-attributes.ts';
import { NLM_F_DUMP, nothing, operation } from './message.ts';

const RTM_DELLINK = 17;
const RTM_GETLINK = 18;
const RTM_SETLINK = 19;
/** One entry for each VLAN. */
const RTEXT_FILTER_BRVLAN = 2;

/** One VLAN, or with `end` a range, of a bridge port. */
export interface BridgeVlan {
  vid: number;
  end?: number;
  pvid?: boolean;
  untagged?: boolean;
}

const BRIDGE_VLAN_INFO = { pvid: 2, untagged: 4, rangeBegin: 8, rangeEnd: 16 } as const;
const BRIDGE_FLAGS_SELF = 2;

function vlans(type: number, index: number, entries: readonly BridgeVlan[], self: boolean): Uint8Array {
  const vlans = entries.flatMap(({ vid, end, pvid, untagged }) => {
    const flags = (pvid ? BRIDGE_VLAN_INFO.pvid : 0) | (untagged ? BRIDGE_VLAN_INFO.untagged : 0);
    if (end === undefined || end === vid) return [{ flags, vid }];
    return [
      { flags: flags | BRIDGE_VLAN_INFO.rangeBegin, vid },
      { flags: flags | BRIDGE_VLAN_INFO.rangeEnd, vid: end },
    ];
  });
  const spec = self ? { flags: BRIDGE_FLAGS_SELF, vlans } : { vlans };
  return bridgeVlanMessage.encode(type, 0, { family: AF_BRIDGE, index }, { spec });
}

/** Adds VLANs to a bridge port, or with `self` to the bridge itself. EOPNOTSUPP where the kernel cannot filter VLANs. */
export function addBridgeVlans(index: number, entries: readonly BridgeVlan[], self = false): Op<void> {
  return operation('route', bridgeVlanMessage, [vlans(RTM_SETLINK, index, entries, self)], {
    what: `add VLANs to link ${index}`,
    decode: nothing,
  });
}

/** Takes VLANs from a bridge port. */
export function deleteBridgeVlans(index: number, entries: readonly BridgeVlan[], self = false): Op<void> {
  return operation('route', bridgeVlanMessage, [vlans(RTM_DELLINK, index, entries, self)], {
    what: `delete VLANs of link ${index}`,
    decode: nothing,
  });
}

/** One VLAN that a port is in. */
export interface PortVlan {
  vid: number;
  /** Frames without a tag that come in belong to it. */
  pvid: boolean;
  /** Its frames leave without their tag. */
  untagged: boolean;
}

/** The VLANs that a bridge port is in, or a bridge itself; none where VLANs are not filtered. */
export function listBridgeVlans(index: number): Op<PortVlan[]> {
  // The kernel tells of all ports of all bridges or of none (valid_bridge_getlink_req).
  const header = { family: AF_BRIDGE };
  const request = bridgeVlanMessage.encode(RTM_GETLINK, NLM_F_DUMP, header, { extMask: RTEXT_FILTER_BRVLAN });
  return operation('route', bridgeVlanMessage, [request], {
    what: `list VLANs of link ${index}`,
    decode: (messages) =>
      messages
        .map(({ payload }) => bridgeVlanMessage.read(payload))
        .filter(({ header }) => header.index === index)
        .flatMap(({ attributes }) => attributes.spec?.vlans ?? [])
        .map(({ vid, flags }) => ({
          vid,
          pvid: (flags & BRIDGE_VLAN_INFO.pvid) !== 0,
          untagged: (flags & BRIDGE_VLAN_INFO.untagged) !== 0,
        })),
  });
}
