/** Repair and collection of one agent, with what they tell to log and metrics. */
import type { Logger } from 'pino';
import type { Ambient } from '../../cni/ambient.ts';
import { openDoor } from '../../netlink/namespace.ts';
import { recordFolder } from '../../plugins/record.ts';
import type { Agent } from '../agent.ts';
import type { AgentEvents } from '../events.ts';
import { Collector } from './collect.ts';
import { Records } from './records.ts';
import { Repair } from './repair.ts';

export interface CaretakerOptions {
  ambient: Ambient;
  repair: boolean;
  /** Milliseconds; undefined: nothing is collected. */
  collectAfter: number | undefined;
}

/** Starts what is wanted; what cannot be started is told and left out. Returns the function that ends it. */
export async function startCaretaker(
  { ambient, repair: wantsRepair, collectAfter }: CaretakerOptions,
  agent: Agent,
  log: Logger,
  events: AgentEvents,
): Promise<() => Promise<void>> {
  const inTurn: Agent['inTurn'] = (plugin, containerId, work) => agent.inTurn(plugin, containerId, work);
  const records = new Records(recordFolder(ambient.paths.cacheDir));
  const failed = (error: unknown) => log.warn({ error: String(error) }, 'the host could not be looked at');
  const repair = wantsRepair
    ? await Repair.start({
        ...{ ambient, records, inTurn },
        hooks: {
          corrected: ({ kind, ...correction }) => {
            log.warn(correction, 'put back');
            events.emit({ event: 'corrected', kind, count: 1 });
          },
          gaveUp: ({ kind: _, ...correction }, reason) =>
            log.error({ ...correction, reason }, 'not put back'),
          failed,
        },
      }).catch((error: unknown) => void log.error({ error: String(error) }, 'nothing is repaired'))
    : undefined;
  const collector =
    collectAfter === undefined
      ? undefined
      : new Collector({
          ...{ records, inTurn, door: openDoor(), grace: collectAfter },
          hooks: {
            collected: (what) => {
              log.warn(what, 'collected');
              events.emit({ event: 'corrected', kind: 'lease', count: 1 });
            },
            left: (what) => log.warn(what, 'left alone'),
            failed,
          },
        });
  return async () => {
    await repair?.close();
    await collector?.close();
  };
}
