/** The socket at which a container's first process waits for its start (runtime/native/handed.cc). */
import { closeSync, openSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { OciError } from './bundle.ts';
import { GATE } from './bundle-steps.ts';

/** monitor.h, Note: its kind and three bytes of nothing, the step, the errno. */
const NOTE = 12;

/** Undefined once the command runs; else which step failed. Throws OciError when nobody waits there. */
export async function startAtGate(folder: string): Promise<{ step: number; errno: number } | undefined> {
  const { connect } = await import('node:net');
  // A socket's path holds 108 bytes, a folder's may be longer: it is reached through a descriptor.
  const descriptor = openSync(folder, 'r');
  const said: Buffer[] = [];
  try {
    await new Promise<void>((resolve, reject) => {
      const socket = connect(`/proc/self/fd/${descriptor}/${GATE}`);
      socket.once('connect', () => rmSync(join(folder, GATE)));
      socket.on('data', (data) => said.push(data));
      socket.once('error', reject);
      // Only exec closes it without a word.
      socket.once('end', resolve);
    });
  } catch (cause) {
    throw new OciError(`the container does not wait for its start: ${(cause as Error).message}`, { cause });
  } finally {
    closeSync(descriptor);
  }
  const note = Buffer.concat(said);
  return note.length < NOTE ? undefined : { step: note.readInt32LE(4), errno: note.readInt32LE(8) };
}
