/**
 * The executables under noise, on a simulated host: an answer within its time, one JSON object at most, never an internal error, and
 * after the DELs nothing is left. FUZZ_PROCESSES sets the number of calls, FUZZ_SECONDS their time, FUZZ_SEED repeats a run.
 */
import fc from 'fast-check';
import t from 'tap';
import { writeMembership } from '../../ipam/cluster/membership.ts';
import { firewallLines, ip, leases, links } from '../support/host.ts';
import { pluginsUnderTest } from '../support/plugins.ts';
import { SEED } from '../support/seed.ts';
import { HELD } from './configurations.ts';
import { complaints, DEL_MAY_SAY, type Noise, noise } from './mutations.ts';
import { makePlace } from './place.ts';
import { shown } from './table.ts';

const RUNS = Number(process.env.FUZZ_PROCESSES ?? 150);
const SECONDS = Number(process.env.FUZZ_SECONDS ?? 60);

t.test(`seed ${SEED}`, async (t) => {
  const place = await makePlace(t);
  const { host, container } = place;
  writeMembership(host.dirs.cache, HELD);
  await place.sh(`mkdir '${host.root}/leases'; : >'${host.root}/file'; mkfifo '${host.root}/fifo'`);
  const calls = fc.sample(
    noise({
      dataDirs: [
        host.dirs.data,
        `${host.root}/leases`,
        `${host.root}/leases/deep/er`,
        `${host.root}/file`,
        '',
      ],
      namespaces: [
        '',
        '/run/netns/none',
        '/proc/self/ns/net',
        '/proc/self/ns/pid',
        `${host.root}/fifo`,
        '/etc',
        container.netns,
      ],
      programs: [`${host.root}/none`, pluginsUnderTest(), `:${pluginsUnderTest()}:`],
    }),
    { seed: SEED, numRuns: RUNS },
  );
  const end = Date.now() + SECONDS * 1000;
  let done = 0;
  const tally = new Map<number, number>();
  for (const call of calls) {
    if (Date.now() > end) break;
    await one(call);
    done += 1;
  }
  const codes = [...tally]
    .sort(([a], [b]) => a - b)
    .map(([code, times]) => `${times} times ${code || 'done'}`);
  t.comment(`seed ${SEED}: ${done} of ${calls.length} calls, each with its DEL: ${codes.join(', ')}`);
  t.ok(done > 20, 'the time was enough to say something');

  async function one(call: Noise): Promise<void> {
    const { plugin, input, env, command } = call;
    const answer = await place.call({ plugin, input, env, command });
    const code = answer.status === 0 ? 0 : (answer.json?.code ?? -1);
    tally.set(code, (tally.get(code) ?? 0) + 1);
    const del = await place.call({ plugin, input, env, command: 'DEL' });
    const wrong = [
      ...complaints(call, answer),
      ...complaints({ command: 'DEL' }, del).map((what) => `DEL: ${what}`),
      ...(del.status === 0 || DEL_MAY_SAY.has(del.json?.code) || ipamIsMissing(del.json)
        ? []
        : ['DEL failed']),
    ];
    if (wrong.length > 0) t.same(wrong, [], 'a call', { call, answer: shown(answer), del: shown(del) });
    const inside = await links(container.netns);
    if (inside.length > 1)
      t.same(inside, ['lo'], 'a link is left in the container', {
        call,
        answer: shown(answer),
        del: shown(del),
      });
  }

  const left = (await ip(host.netns, '-d', 'link')).filter(({ linkinfo }) => linkinfo?.info_kind === 'veth');
  t.same(left, [], 'no link is left on the host');
  t.same(await leases(host), [], 'no lease is left');
  t.same(
    await place.sh(`find '${host.root}/leases' -type f -name '*[.:]*' ! -name 'last_reserved_ip.*'`),
    '',
  );
  t.same(await firewallLines(host.netns, container.id), [], 'nobody is masqueraded');
});

/** What an IPAM that is not there has given, nobody can take back; nobody knows whether it is there tomorrow. */
function ipamIsMissing(json: { code?: unknown } | undefined): boolean {
  return json?.code === 105;
}
