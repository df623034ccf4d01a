/**
 * Packets as a file that Wireshark and tcpdump read, one interface for each link of each namespace, with its name
 * (pcapng, https://www.ietf.org/archive/id/draft-ietf-opsawg-pcapng-02.html, section 4).
 */
import { LITTLE_ENDIAN, Writer } from '../../netlink/writer.ts';
import { placeWords } from '../path/world.ts';
import type { SeenPacket } from './request.ts';

const SECTION = 0x0a0d0d0a;
const INTERFACE = 1;
const PACKET = 6;
const OPTION_NAME = 2;
const OPTION_RESOLUTION = 9;
const OPTION_FLAGS = 2;
const SHB_USERAPPL = 4;

/** `snapLength`: bytes that were kept at most. */
export function pcapng(packets: readonly SeenPacket[], snapLength: number): Uint8Array {
  const to = new Writer();
  block(to, SECTION, () => {
    u32(to, 0x1a2b3c4d);
    // Version 1.0; the section's length is not told.
    u16(to, 1);
    u16(to, 0);
    u32(to, 0xffffffff);
    u32(to, 0xffffffff);
    option(to, SHB_USERAPPL, new TextEncoder().encode('weft trace'));
    u32(to, 0);
  });
  const interfaces = new Map<string, number>();
  for (const packet of packets) {
    const name = `${placeWords(packet.place)}: ${packet.link}`;
    if (interfaces.has(name)) continue;
    interfaces.set(name, interfaces.size);
    block(to, INTERFACE, () => {
      u16(to, packet.linkType);
      u16(to, 0);
      u32(to, snapLength);
      option(to, OPTION_NAME, new TextEncoder().encode(name));
      // 10^-9 seconds.
      option(to, OPTION_RESOLUTION, Uint8Array.of(9));
      u32(to, 0);
    });
  }
  for (const packet of packets) {
    block(to, PACKET, () => {
      u32(to, interfaces.get(`${placeWords(packet.place)}: ${packet.link}`) ?? 0);
      u32(to, Number(packet.at >> 32n));
      u32(to, Number(packet.at & 0xffffffffn));
      u32(to, packet.bytes.length);
      u32(to, packet.length);
      to.append(packet.bytes);
      to.align();
      // epb_flags: inbound 1, outbound 2.
      const flags = new Writer();
      u32(flags, packet.direction === 'in' ? 1 : 2);
      option(to, OPTION_FLAGS, flags.finish());
      u32(to, 0);
    });
  }
  return to.finish();
}

/** Type and length in front, the length again behind. */
function block(to: Writer, type: number, body: () => void): void {
  const start = to.length;
  u32(to, type);
  u32(to, 0);
  body();
  const length = to.length - start + 4;
  u32(to, length);
  to.view.setUint32(start + 4, length, LITTLE_ENDIAN);
}

function option(to: Writer, code: number, value: Uint8Array): void {
  u16(to, code);
  u16(to, value.length);
  to.append(value);
  to.align();
}

function u16(to: Writer, value: number): void {
  const at = to.reserve(2);
  to.view.setUint16(at, value, LITTLE_ENDIAN);
}

function u32(to: Writer, value: number): void {
  const at = to.reserve(4);
  to.view.setUint32(at, value, LITTLE_ENDIAN);
}
