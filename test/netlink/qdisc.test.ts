/** Token buckets, filters and probes, as `tc` shows them; limits that take a turn through an ifb are in test/plugins/bandwidth.test.ts. */
import t from 'tap';
import { probeAction } from '../../netlink/filter.ts';
import { createVeth } from '../../netlink/link.ts';
import { isBucket, listQdiscs, probeQdisc, setBucket } from '../../netlink/qdisc.ts';
import { ask, namespaceFor, refused } from './support.ts';

t.test('buckets of all sizes, read as they were written', async (t) => {
  const { ns, json, run } = await namespaceFor(t);
  const { index } = await ask(ns, createVeth({ name: 'v0', up: true, peer: { name: 'v1' } }));
  for (const bucket of [
    { rate: 1, burst: 1600, limit: 65536 },
    { rate: 125_000, burst: 50_000, limit: 60_000 },
    { rate: 1_250_000_000, burst: 65_536, limit: 31_250_000 },
    // More than 32 bits can say.
    { rate: 5_000_000_000, burst: 4_000_000_000, limit: 4_000_000_000 },
  ]) {
    await ns.send(setBucket(index, 5, bucket));
    const [found] = await ask(ns, listQdiscs(index));
    t.match(found, { kind: 'tbf', handle: 0x50000, root: true });
    t.ok(found?.tbf && isBucket(found.tbf, bucket), JSON.stringify(bucket));
    t.match(json('tc', '-j', 'qdisc', 'show', 'dev', 'v0', 'root'), [{ options: { rate: bucket.rate } }]);
  }
  run('tc', 'qdisc', 'replace', 'dev', 'v0', 'root', 'handle', '9:', 'htb');
  t.equal((await refused(ns, setBucket(index, 5, { rate: 1, burst: 1600, limit: 1600 }))).errno, 'EEXIST');
});

t.test('probes tell what the kernel has, and make nothing', async (t) => {
  const { ns, run } = await namespaceFor(t);
  const before = run('tc', 'qdisc', 'show');
  const errno = async (op: ReturnType<typeof probeQdisc>) => {
    const [reply] = await ns.send(op);
    return reply.ok ? undefined : reply.error.errno;
  };
  t.equal(await errno(probeQdisc('nonsense')), 'ENOENT');
  t.equal(await errno(probeAction('nonsense')), 'ENOENT');
  for (const kind of ['tbf', 'clsact']) t.notMatch(await errno(probeQdisc(kind)), /ENOENT/, kind);
  t.notMatch(await errno(probeAction('mirred')), /ENOENT/);
  t.equal(run('tc', 'qdisc', 'show'), before);
});
