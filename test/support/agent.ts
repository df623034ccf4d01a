/** Agents in simulated hosts, and the way by which a suite's calls reach the plugins' code. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Host } from './host.ts';
import { until } from './until.ts';

/**
 * How a suite calls plugins: `cold` and `agent` as executables, `mixed` as executables that ask the agent or not, at random.
 * By WEFT_TEST_WAY; undefined where it is not set: as the suite thinks best.
 */
export type Way = 'cold' | 'agent' | 'mixed';

export function wayUnderTest(): Way | undefined {
  const way = process.env.WEFT_TEST_WAY;
  if (way === undefined || way === 'cold' || way === 'agent' || way === 'mixed') return way;
  throw new Error(`WEFT_TEST_WAY is ${way}: wanted cold, agent or mixed`);
}

/** What a call by this way has in its environment besides. */
export function environmentOf(way: Way): Record<string, string> {
  return way === 'cold' || (way === 'mixed' && Math.random() < 0.5) ? { WEFT_AGENT: 'off' } : {};
}

export interface RunningAgent {
  /** In the host's PID namespace. */
  readonly pid: number;
  readonly socket: string;
  signal(name: string): Promise<void>;
  /** Waits until the process has ended. */
  ended(): Promise<void>;
  /** Lines of its log, parsed. */
  log(): Promise<Record<string, unknown>[]>;
}

export interface AgentOptions {
  /** Folder of the executables. */
  bin: string;
  /** For its name among the host's daemons. */
  name?: string;
  /** Flags of `weft agent`. */
  flags?: readonly string[];
  env?: Readonly<Record<string, string>>;
}

// What follows the last end of a line may be the beginning of one that is being written.
const logOf = async (host: Host, name: string) =>
  (await readFile(join(host.root, `${name}.log`), 'utf8').catch(() => ''))
    .split('\n')
    .slice(0, -1)
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as Record<string, unknown>);

/** What the agent that startAgent() gave a host has served, in its own words: `plugin command containerId`, sorted. */
export async function servedOn(host: Host): Promise<string[]> {
  const lines = (await logOf(host, 'agent')).filter(({ msg }) => msg === 'served');
  return lines.map(({ plugin, command, containerId }) => `${plugin} ${command} ${containerId}`).sort();
}

/** Starts an agent on a host, and waits until it listens. It ends with the host. */
export async function startAgent(host: Host, options: AgentOptions): Promise<RunningAgent> {
  const { bin, name = 'agent', flags = [], env = {} } = options;
  const socket = join(host.dirs.run, 'agent.sock');
  const file = join(host.root, `${name}.pid`);
  const script = 'echo $$ >"$1"; shift; exec "$@"';
  await host.daemon(name, 'sh', ['-c', script, 'sh', file, join(bin, 'weft'), 'agent', ...flags], env);
  const log = () => logOf(host, name);
  await until(`agent ${name} listens`, async () => (await log()).some(({ msg }) => msg === 'listening'));
  const pid = Number(await readFile(file, 'utf8'));
  const isThere = async () => (await host.exec('kill', ['-0', `${pid}`], { mayFail: true })).status === 0;
  return {
    pid,
    socket,
    signal: async (word) => void (await host.exec('kill', [`-${word}`, `${pid}`])),
    ended: async () => void (await until(`agent ${name} ends`, async () => !(await isThere()))),
    log,
  };
}

/** A line of shell that lets whatever it becomes ask the agent or not, at random. */
export const AT_RANDOM =
  'case $(od -An -N1 -tu1 /dev/urandom) in *[13579]) WEFT_AGENT=off; export WEFT_AGENT ;; esac';

/** The same for the host's patience with its agent (test/support/host.ts), which clients do not always hand on to what they run. */
export const PATIENT = 'export WEFT_AGENT_WAIT=10000';
