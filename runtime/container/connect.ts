/** Reaches the monitor of a container that runs. */
import { closeSync, openSync } from 'node:fs';
import { CniError, ErrorCode } from '../../cni/errors.ts';
import { MonitorClient } from './monitor-client.ts';
import type { StoredContainer } from './store.ts';

/** Throws CniError(unknownContainer) when nobody listens there. */
export async function connectMonitor({ folder, spec }: StoredContainer): Promise<MonitorClient> {
  const { connect } = await import('node:net');
  // A socket's path holds 108 bytes, a folder's may be longer: it is reached through a descriptor.
  const descriptor = openSync(folder, 'r');
  try {
    const socket = connect(`/proc/self/fd/${descriptor}/socket`);
    await new Promise<void>((resolve, reject) => socket.once('connect', resolve).once('error', reject));
    socket.removeAllListeners('error');
    return new MonitorClient(socket);
  } catch (cause) {
    throw new CniError(
      ErrorCode.unknownContainer,
      `container ${spec.name} does not run: nobody listens at its monitor's socket`,
      (cause as Error).message,
      { cause },
    );
  } finally {
    closeSync(descriptor);
  }
}
