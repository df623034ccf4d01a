/**
 * One contestant of the comparison, running inside its own simulated host (a network namespace that bench/run.ts entered for it).
 * Reads one JSON request a line on standard input, answers with one JSON line: `fill` attaches containers until so many
 * are there, `pair` times one ADD and one DEL of one more container as whole processes.
 */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import path from 'node:path';
import readline from 'node:readline';
import type { Contestant, Reply, Request } from './protocol.ts';

const contestant = JSON.parse(process.argv[2] ?? '') as Contestant;
const { binDir, stateDir } = contestant;

/** Links per container namespace while filling; what counts is what stands on the host. */
const LINKS_PER_NAMESPACE = 50;

const config = JSON.stringify({
  cniVersion: '1.0.0',
  name: 'bench',
  type: 'bridge',
  bridge: 'bench0',
  isGateway: true,
  ipMasq: contestant.masquerade !== undefined,
  ...(contestant.backendField ? { ipMasqBackend: contestant.masquerade } : {}),
  ipam: {
    type: 'host-local',
    dataDir: path.join(stateDir, 'data'),
    ranges: [[{ subnet: '10.64.0.0/16' }]],
    routes: [{ dst: '0.0.0.0/0' }],
  },
});

function namespace(name: string): string {
  const file = path.join(stateDir, name);
  spawnSync('sh', ['-c', `[ -e "$1" ] || { touch "$1" && unshare --net="$1" true; }`, 'sh', file]);
  return file;
}

/** Runs one verb as a whole process; returns milliseconds. */
function call(command: 'ADD' | 'DEL', containerId: string, ifname: string, netns: string): number {
  const start = process.hrtime.bigint();
  const done = spawnSync(path.join(binDir, 'bridge'), [], {
    input: config,
    env: {
      PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
      WEFT_RUN_DIR: path.join(stateDir, 'run'),
      WEFT_CACHE_DIR: path.join(stateDir, 'cache'),
      CNI_COMMAND: command,
      CNI_CONTAINERID: containerId,
      CNI_IFNAME: ifname,
      CNI_NETNS: netns,
      CNI_PATH: binDir,
    },
  });
  const elapsed = Number(process.hrtime.bigint() - start) / 1e6;
  if (done.status !== 0)
    throw new Error(`${contestant.name}: ${command} ${containerId}: ${done.stdout}${done.stderr}`);
  return elapsed;
}

// As /run is on a real host; this process has a mount namespace of its own.
mkdirSync(path.join(stateDir, 'run'), { recursive: true });
spawnSync('mount', ['-t', 'tmpfs', 'tmpfs', path.join(stateDir, 'run')]);

/** Starts the agent of this host, and returns what ends it. */
async function startAgent(): Promise<() => void> {
  const runDir = path.join(stateDir, 'run');
  const agent = spawn(path.join(binDir, 'weft'), ['agent', '--log-level', 'warn'], {
    env: {
      PATH: process.env.PATH ?? '',
      WEFT_RUN_DIR: runDir,
      WEFT_CACHE_DIR: path.join(stateDir, 'cache'),
      WEFT_DATA_DIR: path.join(stateDir, 'data'),
    },
    stdio: ['ignore', 2, 2],
  });
  while (!existsSync(path.join(runDir, 'agent.sock'))) {
    if (agent.exitCode !== null) throw new Error(`${contestant.name}: the agent does not start`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return () => void agent.kill();
}

let filled = 0;

function answer(request: Request): Reply {
  if (request.op === 'fill') {
    for (; filled < request.count; filled++) {
      const netns = namespace(`fill-${Math.floor(filled / LINKS_PER_NAMESPACE)}`);
      call('ADD', `fill-${filled}`, `eth${filled % LINKS_PER_NAMESPACE}`, netns);
    }
    return { op: 'fill' };
  }
  const netns = namespace('measured');
  const id = `measured-${request.round}`;
  return { op: 'pair', add: call('ADD', id, 'eth0', netns), del: call('DEL', id, 'eth0', netns) };
}

const stopAgent = contestant.agent ? await startAgent() : () => {};
for await (const line of readline.createInterface({ input: process.stdin })) {
  try {
    process.stdout.write(`${JSON.stringify(answer(JSON.parse(line) as Request))}\n`);
  } catch (error) {
    process.stdout.write(`${JSON.stringify({ op: 'error', message: String(error) } satisfies Reply)}\n`);
  }
}
stopAgent();
