/** Which description belongs to a message, for tests that look at bytes. */
import { addressMessage } from '../../netlink/address.ts';
import type { Table } from '../../netlink/attributes.ts';
import { entryMessage } from '../../netlink/conntrack.ts';
import type { Family } from '../../netlink/door.ts';
import { filterMessage } from '../../netlink/filter.ts';
import { setElementMessage, setHeaderMessage } from '../../netlink/ipset.ts';
import { bridgeVlanMessage, linkMessage } from '../../netlink/link-attributes.ts';
import type { Message } from '../../netlink/message.ts';
import { neighbourMessage } from '../../netlink/neighbour.ts';
import {
  chainMessage,
  elementsMessage,
  ruleMessage,
  setMessage,
  tableMessage,
} from '../../netlink/nftables-attributes.ts';
import { qdiscMessage } from '../../netlink/qdisc.ts';
import { routeMessage } from '../../netlink/route.ts';
import { ruleMessage as policyRuleMessage } from '../../netlink/rule.ts';

export const MESSAGES = {
  addressMessage,
  bridgeVlanMessage,
  chainMessage,
  elementsMessage,
  entryMessage,
  linkMessage,
  neighbourMessage,
  routeMessage,
  ruleMessage,
  setElementMessage,
  setHeaderMessage,
  setMessage,
  tableMessage,
} as const;

/** The description of a request. Throws for a type that no test uses. */
export function describedBy(family: Family, type: number, bridge: boolean): Message<never, Table> {
  const found = family === 'netfilter' ? netfilter(type) : route(type, bridge);
  if (found === undefined) throw new Error(`no description for ${family} message ${type}`);
  return found as unknown as Message<never, Table>;
}

function route(type: number, bridge: boolean) {
  // RTM_* come in fours: new, delete, get, set.
  return {
    16: bridge ? bridgeVlanMessage : linkMessage,
    20: addressMessage,
    24: routeMessage,
    28: neighbourMessage,
    32: policyRuleMessage,
    36: qdiscMessage,
    44: filterMessage,
  }[type & ~3];
}

function netfilter(type: number) {
  if (type >> 8 === 6) return setElementMessage;
  if (type === 0x10 || type === 0x11) return tableMessage;
  return type >> 8 === 10 && [12, 14].includes(type & 0xff) ? elementsMessage : undefined;
}
