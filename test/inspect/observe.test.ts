/** What is seen of a packet on a real host: links, rules, answers. */
import t from 'tap';
import { OUTSIDE } from '../support/host.ts';
import { lines, look, makeLab, TWO } from './observe-lab.ts';

t.test('between two containers of a bridge', async (t) => {
  const lab = await makeLab(t);
  const seen = await look(lab, { family: 4, protocol: 'icmp', destination: TWO.v4 });
  t.comment(lines(seen.hops).join('\n'), seen.answer, seen.notSeen);
  const out = await look(lab, { family: 4, protocol: 'icmp', destination: OUTSIDE.v4 }, { seconds: 2 });
  t.comment(lines(out.hops).join('\n'), out.answer, out.notSeen);
  const tcp = await look(
    lab,
    { family: 6, protocol: 'tcp', destination: TWO.v6, destinationPort: 80 },
    { seconds: 2 },
  );
  t.comment(lines(tcp.hops).join('\n'), tcp.answer, tcp.notSeen);
});
