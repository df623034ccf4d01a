/** IPv4 and UDP around a DHCP message: before a link has an address, no socket of the kernel's makes them (RFC 791, RFC 768). */
import { dotted, undotted } from './message.ts';

export const CLIENT_PORT = 68;
export const SERVER_PORT = 67;
export const BROADCAST = '255.255.255.255';

const [IP, UDP] = [20, 8];
const UDP_PROTOCOL = 17;
const HOPS = 64;

/** A packet from the client's port to the server's. */
export function encodeDatagram(from: string, to: string, payload: Uint8Array): Uint8Array {
  const packet = new Uint8Array(IP + UDP + payload.length);
  const view = new DataView(packet.buffer);
  packet[0] = 0x45;
  view.setUint16(2, packet.length);
  packet[8] = HOPS;
  packet[9] = UDP_PROTOCOL;
  packet.set(undotted(from), 12);
  packet.set(undotted(to), 16);
  view.setUint16(10, checksum(packet.subarray(0, IP), 0));
  view.setUint16(IP, CLIENT_PORT);
  view.setUint16(IP + 2, SERVER_PORT);
  view.setUint16(IP + 4, UDP + payload.length);
  packet.set(payload, IP + UDP);
  const pseudoHeader = sum(packet.subarray(12, 20), UDP_PROTOCOL + UDP + payload.length);
  // Zero would mean that there is none.
  view.setUint16(IP + 6, checksum(packet.subarray(IP), pseudoHeader) || 0xffff);
  return packet;
}

/**
 * What a datagram to the client's port carries, and whom it is from; undefined for what is none. UDP's checksum is not looked at: what comes
 * from this same host has none yet (packet(7), PACKET_AUXDATA).
 */
export function decodeDatagram(packet: Uint8Array): { from: string; payload: Uint8Array } | undefined {
  const header = ((packet[0] ?? 0) & 15) * 4;
  if ((packet[0] ?? 0) >> 4 !== 4 || header < IP || packet.length < header + UDP) return undefined;
  const view = new DataView(packet.buffer, packet.byteOffset, packet.length);
  const whole = view.getUint16(2);
  if (packet[9] !== UDP_PROTOCOL || whole > packet.length || view.getUint16(6) & 0x3fff) return undefined;
  if (view.getUint16(header + 2) !== CLIENT_PORT) return undefined;
  const length = view.getUint16(header + 4);
  if (length < UDP || header + length > whole) return undefined;
  return { from: dotted(packet, 12), payload: packet.subarray(header + UDP, header + length) };
}

function sum(bytes: Uint8Array, start: number): number {
  let total = start;
  for (let at = 0; at < bytes.length; at += 2) total += ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
  return total;
}

/** RFC 1071. */
function checksum(bytes: Uint8Array, start: number): number {
  let total = sum(bytes, start);
  while (total > 0xffff) total = (total & 0xffff) + (total >>> 16);
  return ~total & 0xffff;
}
