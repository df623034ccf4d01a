/** Both ways in at once, by many callers: no address twice, nothing left. */
import t from 'tap';
import { startAgent } from '../support/agent.ts';
import { makeHost, nft } from '../support/host.ts';
import { runLoad } from './load.ts';
import { BIN, NETWORK, served } from './support.ts';

t.setTimeout(600_000);

t.test('two hundred attachments by the agent, twenty at once', async (t) => {
  const host = await makeHost(t);
  const agent = await startAgent(host, { bin: BIN });
  const { attached, refused } = await runLoad(t, host, { callers: 20, rounds: 10, way: 'agent' });
  t.same(refused, []);
  t.equal(attached, 200);
  t.ok((await served(agent, 'ADD')) > 0);
});

t.test('by both ways, at random, with masquerade', async (t) => {
  const host = await makeHost(t);
  const agent = await startAgent(host, { bin: BIN });
  const config = { ...NETWORK, ipMasq: true, ipMasqBackend: 'nftables' };
  const { attached, refused } = await runLoad(t, host, { callers: 10, rounds: 8, way: 'mixed', config });
  t.same(refused, []);
  t.equal(attached, 80);
  const byAgent = await served(agent, 'ADD');
  t.ok(byAgent > 0 && byAgent < 80, `${byAgent} of 80 by the agent`);
  t.notMatch(await nft(host.netns), /10\.88\.0\.\d+ /, 'no member is left');
});
