/** Many containers at once: ADDs by some callers, then as many DELs. */
import { readFileSync, writeFileSync } from 'node:fs';
import type { Contestant, Verb } from './contestants.ts';
import type { Ground } from './ground.ts';
import type { Burst } from './results.ts';

/** Milliseconds until an agent has tidied up (agent/tidy.ts) and is at rest. */
const REST = 2500;

/** Runs the burst on each host, one after the other. The hosts have no containers before, and none after. */
export async function measureBursts(
  ground: Ground,
  contestants: readonly Contestant[],
  count: number,
  callers: number,
  tell: (what: string) => void,
): Promise<Burst[]> {
  const namespaces = await ground.namespaces('burst', count);
  const results: Burst[] = [];
  for (const contestant of contestants) {
    tell(`burst of ${count} by ${callers} callers: ${contestant.way}, ${contestant.network}`);
    results.push(await measureOne(contestant, namespaces, callers));
  }
  return results;
}

async function measureOne(
  contestant: Contestant,
  namespaces: readonly string[],
  callers: number,
): Promise<Burst> {
  const { way, network, host, job, agent } = contestant;
  const all = async (verb: Verb) => {
    const attachment = (number: number) => ({ number, netns: namespaces[number] ?? '', ifname: 'eth0' });
    const done = await host.run(
      namespaces.map((_, number) => job(verb, attachment(number))),
      callers,
    );
    const [first, last] = [
      Math.min(...done.map((one) => one.start)),
      Math.max(...done.map((one) => one.end)),
    ];
    return { done, took: Math.round(last - first) };
  };
  const fallenBack = await fallbacks(contestant);
  const memory = agent === undefined ? undefined : await memoryBefore(agent);
  const add = await all('ADD');
  const filled = agent === undefined ? undefined : (await atRest(agent)).now;
  const del = await all('DEL');
  const addresses = new Set(add.done.map(({ output }) => addressOf(output)));
  return {
    ...{ way, network, callers, count: namespaces.length, add: add.took, del: del.took },
    twice: way === 'floor' ? 0 : namespaces.length - addresses.size,
    ...(agent !== undefined &&
      memory &&
      filled !== undefined && {
        fallenBack: (await fallbacks(contestant)) - fallenBack,
        memory: { before: memory.now, peak: residentOf(agent).peak, filled },
      }),
  };
}

/** How many launchers of a host took the cold path although it has an agent: each leaves a letter (agent/fallbacks.ts). */
const fallbacks = async ({ host }: Contestant): Promise<number> =>
  Number(await host.shell(`cat '${host.dir}/run/fallbacks' 2>/dev/null | wc -c`));

const addressOf = (result: string): string => /"address": ?"([^"]+)"/.exec(result)?.[1] ?? 'none';

const atRest = async (pid: number) => {
  await new Promise((resolve) => setTimeout(resolve, REST));
  return residentOf(pid);
};

async function memoryBefore(pid: number) {
  const memory = await atRest(pid);
  // VmHWM counts from here (proc(5), clear_refs).
  writeFileSync(`/proc/${pid}/clear_refs`, '5');
  return memory;
}

/** MiB, resident: now, and the most since it was asked to count. */
function residentOf(pid: number): { now: number; peak: number } {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const mebibytes = (key: string) =>
    Math.round(Number(new RegExp(`^${key}:\\s+(\\d+) kB`, 'm').exec(status)?.[1]) / 1024);
  return { now: mebibytes('VmRSS'), peak: mebibytes('VmHWM') };
}
