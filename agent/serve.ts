/** `weft agent`: an agent in the foreground, from its start to its end. Loaded as a bundle of its own (scripts/build.ts). */
import { setTimeout } from 'node:timers/promises';
import { pino } from 'pino';
import { RegistryError } from '../cluster/registry.ts';
import type { Paths } from '../cni/ambient.ts';
import { openDoor } from '../netlink/namespace.ts';
import { sendDatagram } from '../netlink/unix.ts';
import { Agent } from './agent.ts';
import { type Cluster, type ClusterOptions, prepareCluster } from './cluster/start.ts';
import { type Renewal, startRenewal } from './dhcp/start.ts';
import { AgentEvents } from './events.ts';
import { openFallbacks } from './fallbacks.ts';
import { ownIdentity } from './identity.ts';
import type { MetricsOptions } from './metrics.ts';
import { type LoopbackAddress, MetricsServer } from './metrics-server.ts';
import { startNames } from './names/start.ts';
import { type CaretakerOptions, startCaretaker } from './repair/caretaker.ts';
import { AgentServer, CannotListen } from './server.ts';
import { tidyUp } from './tidy.ts';

export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'silent'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/** Milliseconds for the last lines of the log, whose reader may be stopped. */
const LOG_PATIENCE = 1000;

export interface ServeOptions {
  paths: Paths;
  /** The bundle that the launchers lie beside. */
  bundle: string;
  version: string;
  caretaker: CaretakerOptions;
  /** Undefined: networks between hosts are not looked after. */
  cluster: ClusterOptions | undefined;
  /** Where metrics are served besides the socket. */
  metrics: LoopbackAddress | undefined;
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
  const { paths, bundle, logLevel, logTo, notifySocket, stopped } = options;
  const { runDir } = paths;
  const events = new AgentEvents();
  // A reader of the log that is stopped must not stop us: lines are lost then.
  // minLength: with 0, flush() calls back at once and lines that are on their way are lost.
  const destination = pino.destination({ dest: logTo, sync: false, minLength: 1, maxLength: 1 << 20 });
  destination.on('error', () => {});
  const log = pino(
    {
      level: logLevel,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (word) => ({ level: word }) },
    },
    destination,
  );
  const tidy = tidyUp();
  const agent: Agent = new Agent(
    openDoor(() => agent.isCalm),
    {
      served: (request) => {
        tidy();
        events.emit({ event: 'served', request });
        const { waited, ran, kernel, ...rest } = request;
        log.info({ ...rest, waitedMs: round(waited), ms: round(ran), kernelMs: round(kernel) }, 'served');
      },
      failedLate: (plugin, containerId, error) =>
        log.warn(
          { plugin, containerId, error: String(error) },
          'what an answer did not wait for could not be done',
        ),
    },
  );
  let renewal: Renewal | undefined;
  let stopNames: (() => Promise<void>) | undefined;
  try {
    const identity = ownIdentity(bundle);
    const prepared = options.cluster && (await prepareCluster(options.cluster));
    await agent.warmUp();
    const server = AgentServer.open({
      ...{ agent, runDir, identity },
      odd: (reason, why) => {
        events.emit({ event: 'refused', why });
        // A launcher of another build declines with every request: counted, not told each time.
        if (why === 'declined') log.debug(reason);
        else log.warn(reason);
      },
    });
    renewal = await startRenewal(options.caretaker.ambient, log, events);
    stopNames = await startNames(options.caretaker.ambient, log);
    const cluster: { running?: Cluster } = {};
    const metrics = await openMetrics(options, {
      ...{ events, identity },
      underWay: () => agent.underWay,
      networks: async () => (await cluster.running?.summaries()) ?? [],
      dhcpLeases: () => renewal?.states() ?? [],
    });
    const notify = (state: string) => {
      try {
        if (notifySocket) sendDatagram(notifySocket, state);
      } catch (error) {
        log.warn({ error: String(error) }, 'systemd could not be told');
      }
    };
    log.info({ socket: server.socketPath, metrics: metrics.where }, 'listening');
    notify('READY=1');
    metrics.load();
    const stopCaretaker = await startCaretaker(options.caretaker, agent, log, events);
    if (prepared) cluster.running = await prepared.start(log, events);
    const reason = await stopped;
    log.info({ reason }, 'stopping: no new requests are taken');
    notify('STOPPING=1');
    await cluster.running?.close();
    await stopCaretaker();
    // Before the socket: the agent that comes next finds leases and names free.
    await renewal.close();
    await stopNames();
    await server.close();
    metrics.server.close();
    log.info('stopped');
    return undefined;
  } catch (error) {
    if (error instanceof CannotListen || error instanceof RegistryError) return error.message;
    throw error;
  } finally {
    await renewal?.close();
    await stopNames?.();
    const isWritten = await Promise.race([
      new Promise<boolean>((resolve) => destination.flush(() => resolve(true))),
      setTimeout(LOG_PATIENCE, false, { ref: false }),
    ]);
    // What is left must not be tried again, and waited for, when the process ends.
    if (!isWritten) destination.destroy();
  }
}

/** Listens for questions after metrics; answers them once `load` was called, which takes longer than the start of the agent. */
async function openMetrics(
  { paths, version, metrics: address }: ServeOptions,
  sources: Omit<MetricsOptions, 'paths' | 'version'>,
): Promise<{ server: MetricsServer; where: string[]; load: () => void }> {
  let load = () => {};
  const start = new Promise<void>((resolve) => {
    load = resolve;
  });
  const source = start.then(async () => {
    const { AgentMetrics } = await import('./metrics.ts');
    return new AgentMetrics({ ...sources, paths, version });
  });
  try {
    openFallbacks(paths.runDir);
    const server = await MetricsServer.open(paths.runDir, address, source);
    return { server, where: server.where, load };
  } catch (error) {
    throw new CannotListen(`cannot serve metrics: ${(error as Error).message}`, { cause: error });
  }
}

const round = (duration: number) => Math.round(duration * 100) / 100;
