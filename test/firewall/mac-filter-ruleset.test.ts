/** The MAC filter's comments: short enough for nft, different for different owners, and readable again. */
import fc from 'fast-check';
import t from 'tap';
import { guardComment, networkMark, portMark, readGuardComment } from '../../firewall/mac-filter-ruleset.ts';
import '../support/seed.ts';

const name = fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9_.-]{0,200}$/);
const member = fc.record({
  network: name,
  containerId: name,
  ifname: fc.stringMatching(/^[a-z0-9]{1,15}$/),
  port: fc.constant('veth0'),
  mac: fc.constant('02:00:00:00:00:0A'),
});

t.test('any owner fits into a comment, and is read back', async () => {
  fc.assert(
    fc.property(member, (one) => {
      const comment = guardComment(one);
      const mark = portMark(one.network, one);
      const read = readGuardComment(comment);
      return (
        comment.length <= 127 &&
        mark.startsWith(networkMark(one.network)) &&
        read?.mark === mark &&
        read.mac === '02:00:00:00:00:0a'
      );
    }),
  );
});

t.test('long names that are cut at the same place are told apart', async (t) => {
  const long = 'x'.repeat(150);
  const mark = (network: string, containerId: string) => portMark(network, { containerId, ifname: 'eth0' });
  t.not(mark('net', `${long}1`), mark('net', `${long}2`));
  t.not(mark(`${long}1`, 'c'), mark(`${long}2`, 'c'));
  t.notOk(mark('net2', 'c').startsWith(networkMark('net')), 'a network is no part of another');
});

t.test('a comment that a person wrote is nobody’s', async (t) => {
  for (const text of [undefined, '', 'do not touch', '02:00:00:00:00:0a']) {
    t.equal(readGuardComment(text), undefined, text ?? 'none');
  }
});
