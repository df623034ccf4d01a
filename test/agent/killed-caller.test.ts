/** A runtime kills an ADD that takes too long, and takes the container back by whatever way its DEL goes: nothing may leak. */
import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { parseExposition, total } from '../../agent/exposition.ts';
import { startAgent } from '../support/agent.ts';
import { firewallLines, type Host, leases, links, makeHost } from '../support/host.ts';
import { until } from '../support/until.ts';
import { BIN, NETWORK, ok } from './support.ts';

t.setTimeout(300_000);

const CONFIG = { ...NETWORK, ipMasq: true, ipMasqBackend: 'nftables' };

/** Starts an ADD on a host, and kills its launcher (not only the shell around it) when `wait`, a line of shell, is over. Returns when it is gone. */
async function killedAdd(host: Host, container: { id: string; netns: string }, wait: string): Promise<void> {
  const conf = join(host.root, 'killed.json');
  await writeFile(conf, JSON.stringify(CONFIG));
  const script = `"$0" <"$CONF" >/dev/null 2>&1 & pid=$!; ${wait}; kill -KILL $pid; wait`;
  await host.exec('bash', ['-c', script, join(BIN, 'bridge')], {
    env: {
      ...{
        CNI_COMMAND: 'ADD',
        CNI_CONTAINERID: container.id,
        CNI_NETNS: container.netns,
        CNI_IFNAME: 'eth0',
      },
      ...{ CNI_PATH: BIN, CONF: conf },
    },
    mayFail: true,
  });
}

/** Requests that the agent has taken and not answered yet. */
async function underWay(host: Host): Promise<number> {
  const { stdout } = await host.exec('curl', [
    '-s',
    '--unix-socket',
    join(host.dirs.run, 'metrics.sock'),
    'http://agent/metrics',
  ]);
  return total(parseExposition(stdout), 'weft_requests_under_way');
}

for (const way of ['cold', 'agent'] as const) {
  t.test(
    `ADDs are killed at any moment, DELs go ${way === 'cold' ? 'the cold path' : 'to the agent'}`,
    async (t) => {
      const host = await makeHost(t);
      const agent = await startAgent(host, { bin: BIN });
      const { id, netns } = await host.container();
      const env = way === 'cold' ? { WEFT_AGENT: 'off' } : {};
      const rounds = 10;
      for (let round = 0; round < rounds; round++) {
        // Another container each time, in one namespace: what one left would be in the way of the next, and nobody takes it back later.
        const container = { id: `${id}-${round}`, netns };
        await killedAdd(host, container, `sleep ${(Math.random() * 0.012).toFixed(4)}`);
        await ok(host, 'DEL', { container, config: CONFIG, env });
        // A cold DEL does not wait for what the agent still finishes and takes back.
        await until('the agent has finished', async () => (await underWay(host)) === 0);
        t.same(
          [await leases(host), await links(netns), await firewallLines(host.netns, container.id)],
          [[], ['lo'], []],
        );
      }
      t.same(
        (await links(host.netns)).filter((name) => name !== 'br0'),
        ['lo'],
      );
      const abandoned = (await agent.log()).filter(
        (line) => line.command === 'ADD' && line.abandoned === true,
      );
      t.comment(`${abandoned.length} of ${rounds} were killed while the agent served them`);
    },
  );
}

t.test('an ADD that waits in its middle is killed, a cold DEL overtakes it: nothing is left', async (t) => {
  const host = await makeHost(t);
  const agent = await startAgent(host, { bin: BIN });
  const { id, netns } = await host.container();
  const bystander = { id: `${id}-bystander`, netns };
  await ok(host, 'ADD', { container: bystander, ifname: 'net1', config: CONFIG });
  const container = { id: `${id}-killed`, netns };
  const [gate, order, held] = ['gate', 'order', 'held'].map((name) => join(host.root, name)) as [
    string,
    string,
    string,
  ];
  await host.exec('mkfifo', [gate, order]);
  const lock = join(host.dirs.data, CONFIG.name, 'lock');
  await host.daemon('holder', 'flock', [lock, 'sh', '-c', `: >'${held}'; read x <'${gate}'`]);
  await until('the leases are locked', () => existsSync(held));
  const killing = killedAdd(host, container, `read x <'${order}'`);
  await until('the ADD waits for them', async () =>
    /-> FLOCK/.test((await host.exec('cat', ['/proc/locks'])).stdout),
  );
  // Stopped, it does not see that its caller goes, nor that it is its turn.
  await agent.signal('STOP');
  await writeFile(order, 'kill\n');
  await killing;
  await writeFile(gate, 'go\n');
  await ok(host, 'DEL', { container, config: CONFIG, env: { WEFT_AGENT: 'off' } });
  await agent.signal('CONT');
  await until('the agent takes back what it made', async () =>
    (await agent.log()).some((line) => line.command === 'ADD' && line.abandoned === true),
  );
  t.equal((await leases(host)).length, 1, "the bystander's");
  t.same(await links(netns), ['lo', 'net1']);
  t.same(await firewallLines(host.netns, container.id), []);
  await ok(host, 'DEL', { container: bystander, ifname: 'net1', config: CONFIG });
});
