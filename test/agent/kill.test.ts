/** The agent is killed again and again under load: callers see right results or clean errors, and nothing leaks. */
import t, { type Test } from 'tap';
import { type RunningAgent, startAgent } from '../support/agent.ts';
import { type Host, makeHost } from '../support/host.ts';
import { runLoad } from './load.ts';
import { BIN, NETWORK } from './support.ts';

t.setTimeout(600_000);

interface Killing {
  kills: number;
  stop: boolean;
}

/** Kills and starts the agent until told to stop. */
async function killAgain(host: Host, killing: Killing, signal: string): Promise<void> {
  while (!killing.stop) {
    const agent: RunningAgent = await startAgent(host, { bin: BIN, name: `agent${killing.kills}` });
    await new Promise((resolve) => setTimeout(resolve, Math.random() * 150));
    await agent.signal(signal);
    await agent.ended();
    killing.kills += 1;
  }
}

async function underLoad(t: Test, signal: string, config: object) {
  const host = await makeHost(t);
  const killing: Killing = { kills: 0, stop: false };
  const killer = killAgain(host, killing, signal);
  try {
    // However slow agents start on this machine: some must have died under the load.
    const enough = () => killing.kills >= 5;
    const outcome = await runLoad(t, host, { callers: 6, rounds: 12, way: 'agent', config, enough });
    const { rounds, attached, refused } = outcome;
    t.comment(`${attached} attached, ${refused.length} refused: ${[...new Set(refused)].join('; ')}`);
    t.ok(attached >= rounds / 2, `${attached} of ${rounds} attached, ${killing.kills} agents killed`);
    t.ok(killing.kills > 1, 'agents were killed');
  } finally {
    killing.stop = true;
    await killer;
  }
}

t.test('KILL, with masquerade', (t) =>
  underLoad(t, 'KILL', { ...NETWORK, ipMasq: true, ipMasqBackend: 'nftables' }),
);
t.test('TERM', (t) => underLoad(t, 'TERM', NETWORK));
