/** Asking a network whether somebody has an address already (RFC 826; RFC 5227, section 2.1). */
import { undotted } from './message.ts';

const [ETHERNET, IPV4] = [1, 0x0800];
const [REQUEST, REPLY] = [1, 2];
const LENGTH = 28;

/** An ARP probe: a question for an address, by somebody who has none yet. */
export function arpProbe(mac: Uint8Array, address: string): Uint8Array {
  const packet = new Uint8Array(LENGTH);
  const view = new DataView(packet.buffer);
  view.setUint16(0, ETHERNET);
  view.setUint16(2, IPV4);
  packet.set([6, 4, 0, REQUEST], 4);
  packet.set(mac, 8);
  packet.set(undotted(address), 24);
  return packet;
}

/**
 * The MAC of whoever a packet of ARP shows to have an address, or to be about to take it; undefined where it shows nobody but ourselves.
 * @param mac our own
 */
export function arpOwner(packet: Uint8Array, mac: Uint8Array, address: string): string | undefined {
  const view = new DataView(packet.buffer, packet.byteOffset, packet.length);
  if (packet.length < LENGTH || view.getUint16(0) !== ETHERNET || view.getUint16(2) !== IPV4)
    return undefined;
  const operation = view.getUint16(6);
  const [sender, from, target] = [packet.subarray(8, 14), packet.subarray(14, 18), packet.subarray(24, 28)];
  if (operation !== REQUEST && operation !== REPLY) return undefined;
  if (Buffer.compare(sender, mac) === 0) return undefined;
  const isIts = (bytes: Uint8Array) => Buffer.compare(bytes, undotted(address)) === 0;
  const probes = operation === REQUEST && from.every((byte) => byte === 0) && isIts(target);
  return isIts(from) || probes
    ? Buffer.from(sender)
        .toString('hex')
        .replace(/(..)(?=.)/g, '$1:')
    : undefined;
}
