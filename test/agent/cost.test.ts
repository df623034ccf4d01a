/** What an agent does to files for one container is the same beside a hundred others: counted in system calls, not in time. */
import { cp, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { startAgent } from '../support/agent.ts';
import { makeHost } from '../support/host.ts';
import { until } from '../support/until.ts';
import { BIN, NETWORK, ok, served } from './support.ts';

const CALLS = '%file,read,pread64,write,pwrite64,ftruncate,getdents64,flock,fstat,newfstatat,close';
/** An attachment more or less may coincide with something that the agent does by the clock: the least of so many counts. */
const ROUNDS = 4;
const OTHERS = 100;

type Counts = Record<string, number>;

t.test('ADD and DEL beside none and beside a hundred', async (t) => {
  const host = await makeHost(t);
  const [bin, trace] = [join(host.root, 'traced'), join(host.root, 'trace')];
  await cp(BIN, bin, { recursive: true });
  // The agent is this very `weft`, with somebody who looks on.
  await host.exec('mv', [join(bin, 'weft'), join(bin, 'weft-itself')]);
  const script = `#!/bin/sh
exec strace -D -f -qq -y -s 300 -o '${trace}' -e trace=${CALLS} -e signal=none '${join(bin, 'weft-itself')}' "$@"`;
  await writeFile(join(bin, 'weft'), script, { mode: 0o755 });
  const agent = await startAgent(host, { bin });
  const container = await host.container();
  const crowd = await host.container();
  const config = { ...NETWORK, ipMasq: true, ipMasqBackend: 'nftables' };
  const done = { ADD: 0, DEL: 0 };

  /** What the agent did on its own thread between the first look at the namespace and the last at leases and records. */
  const costOf = async (command: 'ADD' | 'DEL'): Promise<Counts> => {
    const before = (await readFile(trace, 'utf8')).length;
    await ok(host, command, { container, config, bin });
    done[command] += 1;
    await served(agent, command, done[command]);
    const end = command === 'ADD' ? /rename\(.*attachments\/\.veth/ : /close\(\d+<[^>]*\/lock>/;
    let lines: string[] = [];
    await until('the trace is written', async () => {
      lines = (await readFile(trace, 'utf8'))
        .slice(before)
        .split('\n')
        .filter((line) => line.startsWith(`${agent.pid} `) && !line.includes(' resumed>'));
      return lines.some((line) => end.test(line));
    });
    const isOurs = (line: string) => line.includes(host.dirs.data) || /rename.*attachments\//.test(line);
    const cut = lines.slice(
      lines.findIndex((line) => line.includes(container.netns) && !/^\d+ +p?(read|write)/.test(line)),
      lines.findLastIndex(isOurs) + 1,
    );
    // By the clock the agent lists the records, and looks into its folders for names and DHCP.
    const byTheClock = (line: string) =>
      /attachments[">]/.test(line) || (line.includes(host.dirs.run) && !line.includes('/leases/'));
    const counts: Counts = {};
    for (const line of cut.filter((one) => !byTheClock(one) && !/pipe:|socket:|event/.test(one))) {
      const name = /^\d+ +(\w+)\(/.exec(line)?.[1];
      if (name !== undefined) counts[name] = (counts[name] ?? 0) + 1;
    }
    return counts;
  };
  const sum = (counts: Counts) => Object.values(counts).reduce((x, y) => x + y, 0);
  const least = (all: readonly Counts[]) => [...all].sort((a, b) => sum(a) - sum(b))[0] ?? {};
  const costs = async () => {
    const all: { ADD: Counts[]; DEL: Counts[] } = { ADD: [], DEL: [] };
    for (let round = 0; round < ROUNDS; round++) {
      for (const command of ['ADD', 'DEL'] as const) all[command].push(await costOf(command));
    }
    return { ADD: least(all.ADD), DEL: least(all.DEL) };
  };

  await costs();
  const alone = await costs();
  let next = 0;
  const caller = async () => {
    for (let n = next++; n < OTHERS; n = next++)
      await ok(host, 'ADD', { container: crowd, config, bin, ifname: `eth${n}` });
  };
  await Promise.all([caller(), caller(), caller(), caller()]);
  done.ADD += OTHERS;
  await served(agent, 'ADD', done.ADD);
  const beside = await costs();
  for (const command of ['ADD', 'DEL'] as const) {
    t.strictSame(beside[command], alone[command], `${command}: the same calls`);
    t.ok(sum(alone[command]) > 20, `${command}: ${sum(alone[command])} calls`);
    t.notOk('getdents64' in beside[command], `${command}: nothing is listed`);
    t.comment(command, JSON.stringify(beside[command]));
  }
});
