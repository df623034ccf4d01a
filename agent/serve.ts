/** `weft agent`: an agent in the foreground, from its start to its end. Loaded as a bundle of its own (scripts/build.ts). */
import { pino } from 'pino';
import { openDoor } from '../netlink/namespace.ts';
import { sendDatagram } from '../netlink/unix.ts';
import { Agent } from './agent.ts';
import { ownIdentity } from './identity.ts';
import { AgentServer, CannotListen } from './server.ts';

export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'silent'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

export interface ServeOptions {
  runDir: string;
  /** The bundle that the launchers lie beside. */
  bundle: string;
  logLevel: LogLevel;
  /** Standard output's file descriptor, or another. */
  logTo: number;
  /** systemd's socket for notifications (sd_notify(3)). */
  notifySocket: string | undefined;
  /** Resolves when the agent shall stop; the word says why. */
  stopped: Promise<string>;
}

/** Serves until it shall stop, then finishes what was taken. Returns why it did not start, undefined when it ran to its end. */
export async function serveAgent(options: ServeOptions): Promise<string | undefined> {
  const { runDir, bundle, logLevel, logTo, notifySocket, stopped } = options;
  // A reader of the log that is stopped must not stop us: lines are lost then.
  const destination = pino.destination({ dest: logTo, sync: false, maxLength: 1 << 20 });
  destination.on('error', () => {});
  const log = pino({ level: logLevel, base: null, timestamp: pino.stdTimeFunctions.isoTime }, destination);
  const agent = new Agent(openDoor(), {
    served: ({ waited, ran, ...request }) =>
      log.info({ ...request, waitedMs: round(waited), ms: round(ran) }, 'served'),
  });
  try {
    const identity = ownIdentity(bundle);
    await agent.warmUp();
    const server = await AgentServer.open({
      ...{ agent, runDir, identity },
      odd: (reason) => log.warn(reason),
    });
    const notify = (state: string) => {
      try {
        if (notifySocket) sendDatagram(notifySocket, state);
      } catch (error) {
        log.warn({ error: String(error) }, 'systemd could not be told');
      }
    };
    log.info({ socket: server.socketPath }, 'listening');
    notify('READY=1');
    const reason = await stopped;
    log.info({ reason }, 'stopping: no new requests are taken');
    notify('STOPPING=1');
    await server.close();
    log.info('stopped');
    return undefined;
  } catch (error) {
    if (error instanceof CannotListen) return error.message;
    throw error;
  } finally {
    // In order: what is being written first, then the rest.
    await new Promise<void>((resolve) => destination.flush(() => resolve()));
  }
}

const round = (duration: number) => Math.round(duration * 100) / 100;
