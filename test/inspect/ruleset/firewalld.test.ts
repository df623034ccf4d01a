/** Rules that the real firewalld makes, by either of its backends. */
import t from 'tap';
import { ownerWords, translationWords } from '../../../inspect/nat/translation.ts';
import { translationsOf } from '../../../inspect/nat/translations.ts';
import { readRuleset } from '../../../inspect/ruleset/read.ts';
import { openDoor } from '../../../netlink/namespace.ts';
import { realAmbient } from '../../../runtime/ambient.ts';
import { startFirewalld } from '../../support/firewalld.ts';
import { makeHost } from '../../support/host.ts';

const RICH =
  'rule family=ipv4 source address=192.0.2.0/24 service name=http log prefix=asked limit value=1/m accept';

for (const backend of ['nftables', 'iptables'] as const) {
  t.test(`by ${backend}`, async (t) => {
    const host = await makeHost(t);
    const { cmd } = await startFirewalld(host, backend);
    await cmd('--zone=public', '--add-masquerade');
    await cmd('--zone=public', '--add-forward-port=port=8080:proto=tcp:toaddr=10.1.1.1:toport=80');
    await cmd('--zone=public', `--add-rich-rule=${RICH}`);
    const namespace = await openDoor().open(host.netns);
    t.teardown(() => namespace.close());
    const ruleset = await readRuleset(namespace, realAmbient({ PATH: process.env.PATH }));
    t.strictSame(ruleset.unread, []);
    const rules = ruleset.tables.flatMap(({ chains }) => chains.flatMap((chain) => chain.rules));
    t.ok(rules.length > 50, `${rules.length} rules`);
    const unknown = rules.flatMap(({ matches, statements }) => [
      ...matches.flatMap((match) => ('unknown' in match ? [match.unknown] : [])),
      ...statements.flatMap((statement) => (statement.kind === 'unknown' ? [statement.text] : [])),
    ]);
    t.strictSame(
      unknown.filter((words) => !words.includes('limit')),
      [],
      'all but the limit is understood',
    );
    const others = rules.filter(({ owner }) => owner.who !== 'firewalld');
    t.strictSame(
      others.map(({ text }) => text),
      [],
    );
    const words = translationsOf(ruleset).map((one) => `${ownerWords(one.owner)}: ${translationWords(one)}`);
    t.ok(
      words.some((line) => line.startsWith('firewalld: tcp 8080 -> 10.1.1.1:80')),
      words.join('\n'),
    );
    t.ok(
      words.some((line) => line.startsWith('firewalld: masquerade ')),
      words.join('\n'),
    );
  });
}
