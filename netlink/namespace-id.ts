/** The numbers by which one network namespace knows others (net/core/net_namespace.c): what a link's other end is told with. */
import { Attributes, attribute } from './attributes.ts';
import { i32, u8, u32 } from './codec.ts';
import type { Op } from './door.ts';
import { Message, operation, Struct } from './message.ts';

const RTM_GETNSID = 90;

/** struct rtgenmsg. */
const rtgenmsg = new Struct({ family: u8 });

const namespaceIdMessage = new Message(
  rtgenmsg,
  new Attributes({
    id: attribute(1, 'NETNSA_NSID', i32),
    fd: attribute(3, 'NETNSA_FD', u32),
  }),
);

/**
 * By which number the asked namespace knows another one, given by an open descriptor; undefined where it has none for it (no link leads
 * there). EINVAL for a descriptor of something else.
 */
export function namespaceId(fd: number): Op<number | undefined> {
  const request = namespaceIdMessage.encode(RTM_GETNSID, 0, {}, { fd });
  return operation('route', namespaceIdMessage, [request], {
    what: `ask for the number of the namespace of descriptor ${fd}`,
    decode([message]) {
      const id = message && namespaceIdMessage.read(message.payload).attributes.id;
      return id === undefined || id < 0 ? undefined : id;
    },
  });
}
