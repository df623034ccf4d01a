/** What a process costs before it does anything: Node alone, executables that answer VERSION, and the agent until it listens. */
import { statSync } from 'node:fs';
import path from 'node:path';
import { type Folders, startAgent, stopAgent } from './contestants.ts';
import { type Ground, type Job, PATH } from './ground.ts';
import type { StartUp } from './results.ts';
import { summarize } from './statistics.ts';

const ROUNDS = 40;
const AGENT_STARTS = 8;
/** What is loaded or shipped beside the executables. */
const FILES = ['weft', 'weft-core.js', 'weft-core.cache', 'weft-core.node', 'weft-agent.js', 'weft-cli.js'];

export async function measureStartUp(ground: Ground, folders: Folders): Promise<StartUp> {
  const host = await ground.host('start-up');
  const version = (binDir: string): Job => ({
    file: path.join(binDir, 'bridge'),
    input: '{}',
    env: { PATH, CNI_COMMAND: 'VERSION', WEFT_RUN_DIR: path.join(host.dir, 'run') },
  });
  const jobs: Record<string, Job> = {
    'an empty process': { file: '/bin/true' },
    'node -e 0': { file: process.execPath, args: ['-e', '0'] },
    'weft bridge, VERSION': version(folders.weft),
    'reference bridge, VERSION': version(folders.reference),
  };
  const times = Object.fromEntries(Object.keys(jobs).map((name) => [name, [] as number[]]));
  const measure = async (name: string, job: Job) => {
    const [done] = await host.run([job]);
    if (done) times[name]?.push(done.end - done.start);
  };
  for (let round = 0; round < ROUNDS; round++) {
    for (const [name, job] of Object.entries(jobs)) await measure(name, job);
  }
  const [served, started] = ['weft bridge, VERSION, by the agent', 'weft agent, until it listens'];
  Object.assign(times, { [served]: [], [started]: [] });
  for (let start = 0; start < AGENT_STARTS; start++) {
    const before = performance.now();
    const agent = await startAgent(host, folders.weft);
    times[started]?.push(performance.now() - before);
    for (let round = 0; round < ROUNDS / AGENT_STARTS; round++) await measure(served, version(folders.weft));
    await stopAgent(host, agent);
  }
  return {
    times: Object.entries(times).map(([what, samples]) => ({ what, ...summarize(samples) })),
    kibibytes: FILES.map((file) => ({
      file,
      size: Math.round(statSync(path.join(folders.weft, file)).size / 1024),
    })),
  };
}
