/** The agent is killed again and again under load: callers see right results or clean errors, and nothing leaks. */
import t, { type Test } from 'tap';
import { type RunningAgent, startAgent } from '../support/agent.ts';
import { type Host, makeHost } from '../support/host.ts';
import { runLoad } from './load.ts';
import { BIN, NETWORK } from './support.ts';

t.setTimeout(600_000);

/** Kills and starts the agent until told to stop; returns how often it was killed. */
async function killAgain(host: Host, stop: () => boolean, signal: string): Promise<number> {
  let kills = 0;
  while (!stop()) {
    const agent: RunningAgent = await startAgent(host, { bin: BIN, name: `agent${kills}` });
    await new Promise((resolve) => setTimeout(resolve, Math.random() * 150));
    await agent.signal(signal);
    await agent.ended();
    kills += 1;
  }
  return kills;
}

async function underLoad(t: Test, signal: string, config: object) {
  const host = await makeHost(t);
  let ended = false;
  const killing = killAgain(host, () => ended, signal);
  try {
    const { attached, refused } = await runLoad(t, host, { callers: 6, rounds: 12, way: 'agent', config });
    t.comment(`${attached} attached, ${refused.length} refused: ${[...new Set(refused)].join('; ')}`);
    t.ok(attached >= 36, `${attached} of 72 attached`);
  } finally {
    ended = true;
    t.ok((await killing) > 1);
  }
}

t.test('KILL', (t) => underLoad(t, 'KILL', NETWORK));
t.test('KILL, with masquerade', (t) =>
  underLoad(t, 'KILL', { ...NETWORK, ipMasq: true, ipMasqBackend: 'nftables' }),
);
t.test('TERM', (t) => underLoad(t, 'TERM', NETWORK));
