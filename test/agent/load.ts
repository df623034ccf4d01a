/** Callers at once, as runtimes are: each attaches and detaches a container again and again, and looks at what it got. */
import type { Test } from 'tap';
import { environmentOf, type Way } from '../support/agent.ts';
import { type Container, type Host, ip, leases, links } from '../support/host.ts';
import { call, NETWORK } from './support.ts';

/** Addresses that containers have at this moment. */
type Taken = Map<string, string>;

export interface Load {
  callers: number;
  /** Attachments of each caller, one after the other. */
  rounds: number;
  /** More rounds follow until this holds, ten times as many at most. */
  enough?: () => boolean;
  way: Way;
  config?: object;
}

/** How often ADD failed; all failures are clean ones. */
export interface Outcome {
  rounds: number;
  attached: number;
  refused: string[];
}

const addressOf = (json: { ips: { address: string }[] }) => `${json.ips[0]?.address.split('/')[0]}`;

async function oneRound(
  t: Test,
  host: Host,
  container: Container,
  { way, config = NETWORK }: Load,
  taken: Taken,
  outcome: Outcome,
): Promise<void> {
  const options = { container, config, env: environmentOf(way) };
  const added = await call(host, 'ADD', options);
  if (added.status === 0) {
    outcome.attached += 1;
    const address = addressOf(added.json);
    if (taken.has(address)) t.fail(`${address} of ${container.id} is ${taken.get(address)}'s as well`);
    taken.set(address, container.id);
    const [link] = await ip(container.netns, 'addr', 'show', 'eth0');
    t.ok(
      link.addr_info.some(({ local }: { local: string }) => local === address),
      `${container.id} has what ADD said`,
    );
    taken.delete(address);
  } else {
    t.type(added.json?.code, 'number', `a clean error: ${added.stdout}${added.stderr}`);
    outcome.refused.push(`${added.json?.code}: ${added.json?.msg}`);
  }
  // As a runtime does, also after a failed ADD.
  const deleted = await call(host, 'DEL', { ...options, env: environmentOf(way) });
  t.equal(deleted.status, 0, `DEL of ${container.id}: ${deleted.stdout}${deleted.stderr}`);
  const left = await links(container.netns);
  if (left.length !== 1) t.fail(`after DEL, ${container.id} has ${left.join(', ')}`);
}

/** Runs a load; afterwards nothing may be left but the bridge. */
export async function runLoad(t: Test, host: Host, load: Load): Promise<Outcome> {
  const containers = await Promise.all(Array.from({ length: load.callers }, () => host.container()));
  const taken: Taken = new Map();
  const outcome: Outcome = { rounds: 0, attached: 0, refused: [] };
  await Promise.all(
    containers.map(async (container) => {
      const isEnough = (round: number) =>
        round >= load.rounds && (round >= 10 * load.rounds || (load.enough?.() ?? true));
      for (let round = 0; !isEnough(round); round++) {
        outcome.rounds += 1;
        await oneRound(t, host, container, load, taken, outcome);
      }
    }),
  );
  t.same(await leases(host), [], 'no lease is left');
  t.same(await links(host.netns), ['br0', 'lo'], 'no link is left');
  return outcome;
}
