import t from 'tap';
import * as nft from '../../netlink/nftables.ts';
import * as keys from '../../netlink/nftables-keys.ts';
import * as objects from '../../netlink/nftables-objects.ts';
import { ask, namespaceFor, refused } from './support.ts';

const RULES = `
table inet weft {
  set sources { type ipv4_addr; }
  set six { type ipv6_addr; }
  set many { type ipv4_addr; size 65535; }
  set nets { type ipv4_addr; flags interval; }
  set timed { type ipv4_addr; flags timeout; }
  set pairs { type ipv4_addr . inet_service; }
  map ports { type inet_proto . inet_service : ipv4_addr . inet_service; }
  map who { type ifname : verdict; }
  chain a {
    accept comment "first"
    counter comment "second"
  }
  chain b { }
  chain hooked { type nat hook postrouting priority srcnat; policy accept; jump a; }
}`;
const set = (name: string): nft.SetRef => ({ family: 'inet', table: 'weft', set: name });

interface Listed {
  nftables: { set?: { name: string; elem?: unknown[] }; map?: { name: string; elem?: unknown[] } }[];
}

t.test('elements are seen by nft as it would have made them', async (t) => {
  const { ns, nft: load, run } = await namespaceFor(t);
  load(RULES);
  await ask(
    ns,
    nft.batch([
      nft.addElements(set('sources'), [
        { key: keys.addressKey('10.1.0.2'), comment: 'net web cid eth0' },
        { key: keys.addressKey('10.1.0.3') },
      ]),
      nft.addElements(set('six'), [{ key: keys.addressKey('fd00::2'), comment: 'six' }]),
      nft.addElements(set('nets'), nft.prefixElements('10.9.0.0/16', { comment: 'range' })),
      nft.addElements(set('timed'), [
        { key: keys.addressKey('10.1.0.4'), timeout: 3_600_000, comment: 'hour' },
      ]),
      nft.addElements(set('pairs'), [
        { key: keys.concatenated(keys.addressKey('10.1.0.2'), keys.portKey(80)) },
      ]),
      nft.addElements(set('ports'), [
        {
          key: keys.concatenated(keys.protocolKey(6), keys.portKey(8080)),
          value: keys.concatenated(keys.addressKey('10.1.0.2'), keys.portKey(80)),
          comment: 'web',
        },
      ]),
      nft.addElements(set('who'), [
        { key: keys.linkNameKey('eth0'), verdict: { kind: 'jump', chain: 'a' }, comment: 'j' },
        { key: keys.linkNameKey('eth1'), verdict: { kind: 'goto', chain: 'b' } },
        { key: keys.linkNameKey('eth2'), verdict: { kind: 'accept' } },
      ]),
    ]),
  );
  const { nftables } = JSON.parse(run('nft', '-j', 'list', 'ruleset')) as Listed;
  const elements = (name: string) =>
    nftables.map((one) => one.set ?? one.map).find((one) => one?.name === name)?.elem;
  t.same(elements('sources'), [{ elem: { val: '10.1.0.2', comment: 'net web cid eth0' } }, '10.1.0.3']);
  t.same(elements('six'), [{ elem: { val: 'fd00::2', comment: 'six' } }]);
  t.same(elements('nets'), [{ elem: { val: { prefix: { addr: '10.9.0.0', len: 16 } }, comment: 'range' } }]);
  t.match(elements('timed'), [{ elem: { val: '10.1.0.4', timeout: 3600, comment: 'hour' } }]);
  t.same(elements('pairs'), [{ concat: ['10.1.0.2', 80] }]);
  t.same(elements('ports'), [
    [{ elem: { val: { concat: ['tcp', 8080] }, comment: 'web' } }, { concat: ['10.1.0.2', 80] }],
  ]);
  t.match(run('nft', 'list', 'map', 'inet', 'weft', 'who'), /"eth0" comment "j" : jump a/);
  t.match(
    run('nft', 'list', 'map', 'inet', 'weft', 'who'),
    /"eth1" : goto b[\s\S]*"eth2" : accept|"eth2" : accept/,
  );

  const who = await ask(ns, nft.listElements(set('who')));
  t.same(
    who
      .map(({ verdict, comment }) => [verdict, comment])
      .sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1)),
    [
      [{ kind: 'accept' }, undefined],
      [{ kind: 'goto', chain: 'b' }, undefined],
      [{ kind: 'jump', chain: 'a' }, 'j'],
    ],
  );
  const [timed] = await ask(ns, nft.listElements(set('timed')));
  t.equal(timed?.timeout, 3_600_000);
  t.ok((timed?.expires ?? 0) > 3_000_000);
  const [ports] = await ask(ns, nft.listElements(set('ports')));
  t.same(ports?.value, keys.concatenated(keys.addressKey('10.1.0.2'), keys.portKey(80)));
});

t.test('elements made by nft are read with their comments', async (t) => {
  const { ns, nft: load } = await namespaceFor(t);
  load(`${RULES}
    add element inet weft sources { 10.1.0.7 comment "theirs" }
    add element inet weft nets { 10.0.0.0/8, 192.168.0.0/24 }`);
  const found = await ask(ns, nft.listElements(set('sources')));
  t.match(found, [{ key: keys.addressKey('10.1.0.7'), comment: 'theirs' }]);
  const [one] = await ask(ns, nft.getElements(set('sources'), [keys.addressKey('10.1.0.7')]));
  t.equal(one?.comment, 'theirs');
  const gone = nft.getElements(set('sources'), [keys.addressKey('10.1.0.8')]);
  t.equal((await refused(ns, gone)).errno, 'ENOENT');
  const starts = (await ask(ns, nft.listElements(set('nets')))).filter(({ intervalEnd }) => !intervalEnd);
  t.equal(starts.length, 2);
});

t.test('a batch is taken as a whole or not at all, and its error is the first', async (t) => {
  const { ns, nft: load, run } = await namespaceFor(t);
  load(RULES);
  const good = nft.addElements(set('sources'), [{ key: keys.addressKey('10.1.0.2') }]);
  const missing = nft.deleteElements(set('sources'), [{ key: keys.addressKey('10.1.0.99') }]);
  const error = await refused(ns, nft.batch([good, missing]));
  t.equal(error.errno, 'ENOENT');
  t.match(
    error.message,
    /^cannot add 1 elements to inet weft sources, delete 1 elements of inet weft sources: ENOENT/,
  );
  t.notMatch(run('nft', 'list', 'set', 'inet', 'weft', 'sources'), /elements/);
  const noSet = nft.addElements(set('nowhere'), [{ key: keys.addressKey('10.1.0.2') }]);
  const refusal = await refused(ns, nft.batch([good, noSet]));
  t.equal(refusal.errno, 'ENOENT');
  // Linux 6.1 does not say which attribute it was.
  t.ok([undefined, 'NFTA_SET_ELEM_LIST_SET'].includes(refusal.attribute));
  // The socket is still in step: nothing of the failed batches is left in it.
  await ask(ns, nft.batch([good]));
  await ask(ns, nft.batch([good]));
  const exclusive = nft.addElements(set('sources'), [{ key: keys.addressKey('10.1.0.2') }], true);
  t.equal((await refused(ns, nft.batch([exclusive]))).errno, 'EEXIST');
  await ask(ns, nft.batch([nft.deleteElements(set('sources'), [{ key: keys.addressKey('10.1.0.2') }])]));
  t.notMatch(run('nft', 'list', 'set', 'inet', 'weft', 'sources'), /elements/);
  t.equal((await refused(ns, nft.batch([nft.deleteSet(set('nope'))]))).errno, 'ENOENT');
  await ask(ns, nft.batch([]));
});

t.test('thousands of elements go in and come out', async (t) => {
  const { ns, nft: load, run } = await namespaceFor(t);
  load(RULES);
  const wanted = Array.from({ length: 20_000 }, (_, i) => ({
    key: Uint8Array.of(10, i >> 16, (i >> 8) & 255, i & 255),
    comment: `element number ${i}`,
  }));
  await ask(ns, nft.batch([nft.addElements(set('many'), wanted)]));
  const back = await ask(ns, nft.listElements(set('many')));
  t.equal(back.length, wanted.length);
  t.equal(new Set(back.map(({ comment }) => comment)).size, wanted.length);
  await ask(ns, nft.batch([nft.flushSet(set('many'))]));
  t.notMatch(run('nft', 'list', 'set', 'inet', 'weft', 'many'), /elements/);
  t.same(await ask(ns, nft.listElements(set('many'))), []);
});

t.test('tables, chains, sets and rules are looked up and listed', async (t) => {
  const { ns, nft: load, run } = await namespaceFor(t);
  t.equal((await refused(ns, objects.getTable({ family: 'inet', table: 'weft' }))).errno, 'ENOENT');
  load(RULES);
  const weft = { family: 'inet', table: 'weft' } as const;
  t.match(await ask(ns, objects.getTable(weft)), weft);
  t.match(await ask(ns, objects.listTables()), [weft]);
  t.same(await ask(ns, objects.listTables('ip6')), []);
  t.match(await ask(ns, objects.getChain({ ...weft, chain: 'hooked' })), {
    type: 'nat',
    hook: 4,
    priority: 100,
    policy: 1,
  });
  t.equal((await refused(ns, objects.getChain({ ...weft, chain: 'zzz' }))).errno, 'ENOENT');
  t.match(await ask(ns, objects.getSet(set('pairs'))), { keyLength: 8 });
  t.match(await ask(ns, objects.getSet(set('nets'))), { flags: 4, keyLength: 4 });
  t.equal((await refused(ns, objects.getSet(set('zzz')))).errno, 'ENOENT');
  t.same((await ask(ns, objects.listChains(weft))).map(({ chain }) => chain).sort(), ['a', 'b', 'hooked']);
  t.equal((await ask(ns, objects.listSets(weft))).length, 8);
  const rules = await ask(ns, objects.listRules({ ...weft, chain: 'a' }));
  t.same(
    rules.map(({ comment }) => comment),
    ['first', 'second'],
  );
  t.ok(rules.every(({ handle }) => handle > 0));
  t.same(
    rules[1]?.expressions.map(({ name }) => name),
    ['counter'],
  );
  t.equal(rules[1]?.position, rules[0]?.handle);
  await ask(ns, nft.batch([nft.deleteRule({ ...weft, chain: 'a' }, rules[0]?.handle ?? 0)]));
  t.notMatch(run('nft', 'list', 'chain', 'inet', 'weft', 'a'), /first/);
  await ask(ns, nft.batch([nft.deleteTable(weft)]));
  t.equal(run('nft', 'list', 'ruleset'), '');
});

t.test('prefixes become ranges', async (t) => {
  const hex = (cidr: string) => {
    const { start, end } = keys.prefixRange(cidr);
    return [Buffer.from(start).toString('hex'), end && Buffer.from(end).toString('hex')];
  };
  t.same(hex('10.1.2.3/16'), ['0a010000', '0a020000']);
  t.same(hex('10.1.2.3/32'), ['0a010203', '0a010204']);
  t.same(hex('10.255.255.128/25'), ['0affff80', '0b000000']);
  t.same(hex('255.255.255.0/24'), ['ffffff00', undefined]);
  t.same(hex('0.0.0.0/0'), ['00000000', undefined]);
  t.same(hex('0.0.0.0/1'), ['00000000', '80000000']);
  t.equal(hex('fd00::/8')[1]?.slice(0, 4), 'fe00');
});

t.test('comments are what nft can take', async (t) => {
  t.throws(() => keys.commentData('x'.repeat(129)), /want at most 128 bytes/);
  t.throws(() => keys.commentData('a\0b'), /without NUL/);
  t.equal(keys.commentOf(keys.commentData('x'.repeat(128))), 'x'.repeat(128));
  t.equal(keys.commentOf(Uint8Array.of(0, 9, 65)), undefined, 'a length that leaves the buffer');
});
