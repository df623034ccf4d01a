/** Files that tcpdump -w writes (https://www.tcpdump.org/manpages/pcap-savefile.5.html). */

const MICROSECONDS = 0xa1b2c3d4;
const NANOSECONDS = 0xa1b23c4d;
const LINKTYPE_ETHERNET = 1;
const HEADER = 24;
const RECORD = 16;

/**
 * The frames of a capture, as far as they were captured; a last one that is cut off (the file is still being written) is left out.
 * Throws RangeError when it is no capture of Ethernet.
 */
export function readPcap(file: Uint8Array): Uint8Array[] {
  if (file.length < HEADER) return [];
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const isMagic = (number: number) => number === MICROSECONDS || number === NANOSECONDS;
  const little = isMagic(view.getUint32(0, true));
  if (!little && !isMagic(view.getUint32(0))) throw new RangeError('this is no capture of tcpdump');
  const link = view.getUint32(20, little) & 0x0fffffff;
  if (link !== LINKTYPE_ETHERNET)
    throw new RangeError(`wanted a capture of Ethernet, found link type ${link}`);
  const frames: Uint8Array[] = [];
  for (let at = HEADER; at + RECORD <= file.length; ) {
    const length = view.getUint32(at + 8, little);
    const end = at + RECORD + length;
    if (end > file.length) break;
    frames.push(file.subarray(at + RECORD, end));
    at = end;
  }
  return frames;
}
