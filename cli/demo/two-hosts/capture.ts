/** One packet on the wire between two hosts, and what is in it. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { CniError, ErrorCode } from '../../../cni/errors.ts';
import { type Layer, layersOf } from '../../../inspect/packet/layers.ts';
import { readPcap } from '../../../inspect/packet/pcap.ts';
import { table } from '../../table.ts';
import type { Lab, Place } from '../lab.ts';
import { UPLINK } from './lab.ts';

/** Milliseconds. */
const PATIENCE = 20_000;
const STEP = 20;

/** Captures on a host's uplink until there is a frame whose innermost packet is wanted, while `act` makes it. Throws CniError. */
export async function captured(
  lab: Lab,
  host: Place,
  port: number,
  isWanted: (layers: readonly Layer[]) => boolean,
  act: () => Promise<unknown>,
): Promise<{ layers: Layer[]; length: number }> {
  const file = join(lab.folder, `${host}.pcap`);
  // Not as a user who may not write here; every packet at once; enough of each for all headers.
  const options = ['-Z', 'root', '-U', '-n', '-s', '256', '-c', '1000'];
  const command = ['tcpdump', ...options, '-i', UPLINK, '-w', file, 'ip or ip6'];
  const tcpdump = await lab.daemon(host, `${host}.tcpdump.log`, /listening on/, command);
  try {
    await act();
    for (let waited = 0; waited < PATIENCE; waited += STEP) {
      for (const frame of readPcap(readFileSync(file))) {
        const layers = layersOf(frame, port);
        if (isWanted(layers)) return { layers, length: frame.length };
      }
      await new Promise((resolve) => setTimeout(resolve, STEP));
    }
  } finally {
    await tcpdump.stop('SIGTERM');
  }
  throw new CniError(ErrorCode.program, `no such packet was seen on the wire of ${host}`);
}

/** Whether the innermost packet goes from one address to another, with a header of this name. */
export function carries(layers: readonly Layer[], from: string, to: string, name: string): boolean {
  const packet = layers.findLast((layer) => layer.name.startsWith('IPv'));
  return packet?.from === from && packet.to === to && layers.at(-1)?.name === name;
}

/** A small table: one header a line. */
export function layerTable(layers: readonly Layer[]): string[] {
  return table([
    ['', 'HEADER', 'FROM', 'TO', ''],
    ...layers.map(({ part, name, from, to, more }, i) => [
      part === layers[i - 1]?.part ? '' : part,
      ...[name, from, to, more],
    ]),
  ]);
}
