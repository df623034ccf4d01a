/** Clocks of other hosts, as they answer a question of ICMP (RFC 792, timestamp): milliseconds since midnight, UTC. */
import type { Finding } from '../finding.ts';
import type { DoctorView } from './view.ts';

const DAY = 86_400_000;
/** Milliseconds: what a slow network and a clock that is set by another protocol may differ. */
const MOST = 5_000;
const REQUEST = 13;
const REPLY = 14;
const LENGTH = 20;
/** Whoever counts otherwise than from midnight sets it. */
const OTHERWISE = 0x80000000;

/** @param now milliseconds since the epoch */
export function clockQuestion(id: number, now: number): Uint8Array {
  const bytes = new Uint8Array(LENGTH);
  const view = new DataView(bytes.buffer);
  view.setUint8(0, REQUEST);
  view.setUint16(4, id);
  view.setUint32(8, now % DAY);
  view.setUint16(2, checksum(view));
  return bytes;
}

/** RFC 1071. */
function checksum(view: DataView): number {
  let sum = 0;
  for (let at = 0; at < LENGTH; at += 2) sum += view.getUint16(at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

/**
 * Milliseconds by which another clock is ahead (behind: negative); undefined for what is no answer to that question. Half of the way there and
 * back is taken off (RFC 5905, section 8, says the same of NTP).
 * @param packet with its header of IPv4, as a raw socket has it
 */
export function aheadBy(packet: Uint8Array, id: number, now: number): number | undefined {
  const header = ((packet[0] ?? 0) & 15) * 4;
  if (packet.length < header + LENGTH || packet[header] !== REPLY) return undefined;
  const view = new DataView(packet.buffer, packet.byteOffset + header, LENGTH);
  const [asked, received, sent] = [view.getUint32(8), view.getUint32(12), view.getUint32(16)];
  if (view.getUint16(4) !== id || received >= OTHERWISE || sent >= OTHERWISE) return undefined;
  return Math.round((nearest(received - asked) + nearest(sent - (now % DAY))) / 2);
}

/** Over midnight: what is more than half a day off is that much less of another day. */
function nearest(difference: number): number {
  const within = ((difference % DAY) + DAY) % DAY;
  return within > DAY / 2 ? within - DAY : within;
}

export function clocksDiffer({ clocks }: Pick<DoctorView, 'clocks'>): Finding[] {
  return clocks
    .filter(({ ahead }) => Math.abs(ahead) > MOST)
    .map(({ network, host, address, ahead }) => ({
      code: 'clock-differs',
      severity: 'warning',
      what: `network ${network}: the clock of host ${host} (${address}) is ${Math.round(Math.abs(ahead) / 1000)} seconds ${ahead > 0 ? 'ahead of' : 'behind'} this host's`,
      why: 'certificates of the registry may be refused on one of the two, and the times of logs and leases cannot be compared',
      mend: ['timedatectl set-ntp true'],
      safe: false,
      subject: `${network} ${host}`,
    }));
}
