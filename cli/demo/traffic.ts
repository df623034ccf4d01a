/** Whether packets arrive, and as whose. */
import { UPLINK } from './bridge-lab.ts';
import type { Lab, Place } from './lab.ts';
import type { Progress } from './progress.ts';

export type Family = 'v4' | 'v6';

const PORT = 7777;

/** Answers each connection with the address that it came from. */
const ECHO_PEER = `require('node:net')
  .createServer((socket) => socket.end(socket.remoteAddress.replace('::ffff:', '')))
  .listen(${PORT}, '::', () => console.log('ready'));`;

/** bash speaks TCP by itself, so that nothing more has to be installed. */
const ASK_PEER = 'exec 3<>"/dev/tcp/$0/$1" && cat <&3';

export function familyOf(address: string): Family {
  return address.includes(':') ? 'v6' : 'v4';
}

/** `label` says whose address it is. */
export async function ping(
  lab: Lab,
  progress: Progress,
  from: Place,
  address: string,
  label: string,
): Promise<void> {
  const { status, stdout } = await lab.run(from, 'ping', ['-n', '-c', '2', '-i', '0.2', '-w', '5', address]);
  const [, time] = /^rtt .* = [\d.]+\/([\d.]+)\//m.exec(stdout) ?? [];
  progress.check(
    status === 0,
    `ping ${from} → ${label} ${address}`,
    time === undefined ? 'no answer' : `${time} ms`,
  );
}

/** Starts what `seenAs` asks. */
export async function serveOutside(lab: Lab): Promise<void> {
  await lab.serve('outside', ECHO_PEER);
}

/** The outside must see the host's address, not the container's: it knows no way back to that. */
export async function seenAs(lab: Lab, progress: Progress, from: Place, family: Family): Promise<void> {
  const target = UPLINK.outside[family];
  const { stdout, stderr } = await lab.run(from, 'bash', ['--norc', '-c', ASK_PEER, target, String(PORT)]);
  const seen = stdout.trim();
  const wanted = UPLINK.host[family];
  const words = seen === '' ? stderr.trim() || 'no answer' : `wanted the host's ${wanted}`;
  progress.check(
    seen === wanted,
    `TCP ${from} → outside, which sees ${seen || 'nobody'}`,
    seen === wanted ? "the host's address" : words,
  );
}
