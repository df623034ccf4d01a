import t from 'tap';
import * as ipset from '../../netlink/ipset.ts';
import { ask, namespaceFor, refused } from './support.ts';

t.test('sets made by ipset take our elements, comments included', async (t) => {
  const { ns, run } = await namespaceFor(t);
  run('ipset', 'create', 'ip4', 'hash:ip', 'comment');
  run('ipset', 'create', 'ip6', 'hash:ip', 'family', 'inet6', 'comment');
  run('ipset', 'create', 'nets', 'hash:net', 'comment');
  run('ipset', 'create', 'ports', 'hash:ip,port', 'comment');
  await ns.send(
    ipset.addSetElement('ip4', { address: '10.1.0.2', comment: 'of a container' }),
    ipset.addSetElement('ip6', { address: 'fd00::2', comment: 'six' }),
    ipset.addSetElement('nets', { address: '10.9.0.0/16', comment: 'net' }),
    ipset.addSetElement('ports', { address: '10.1.0.2', port: 80, protocol: 17, comment: 'udp' }),
  );
  t.match(run('ipset', 'list', 'ip4'), /10\.1\.0\.2 comment "of a container"/);
  t.match(run('ipset', 'list', 'ip6'), /fd00::2 comment "six"/);
  t.match(run('ipset', 'list', 'nets'), /10\.9\.0\.0\/16 comment "net"/);
  t.match(run('ipset', 'list', 'ports'), /10\.1\.0\.2,udp:80 comment "udp"/);

  t.match(await ask(ns, ipset.listSetElements('ports')), [
    { address: '10.1.0.2', port: 80, protocol: 17, comment: 'udp' },
  ]);
  t.match(await ask(ns, ipset.listSetElements('nets')), [{ address: '10.9.0.0/16', comment: 'net' }]);
  t.match(await ask(ns, ipset.listSetElements('ip6')), [{ address: 'fd00::2', comment: 'six' }]);
  t.match(await ask(ns, ipset.listSetHeaders('ip4')), [
    { name: 'ip4', type: 'hash:ip', family: 2, references: 0, elements: 1, comments: true },
  ]);
  t.same((await ask(ns, ipset.listSetHeaders())).map(({ name }) => name).sort(), [
    'ip4',
    'ip6',
    'nets',
    'ports',
  ]);
  t.equal((await refused(ns, ipset.listSetHeaders('none'))).errno, 'ENOENT');

  const [yes] = await ns.send(ipset.testSetElement('ip4', { address: '10.1.0.2' }));
  const [no] = await ns.send(ipset.testSetElement('ip4', { address: '10.1.0.3' }));
  t.same([yes.ok, no.ok], [true, false]);
  await ns.send(ipset.addSetElement('ip4', { address: '10.1.0.2', comment: 'again' }));
  t.match(run('ipset', 'list', 'ip4'), /comment "again"/);
  const again = await refused(ns, ipset.addSetElement('ip4', { address: '10.1.0.2' }, true));
  t.equal(again.errno, 'IPSET_ERR_EXIST');
  await ns.send(
    ipset.deleteSetElement('ip4', { address: '10.1.0.2' }),
    ipset.deleteSetElement('ip4', { address: '10.1.0.2' }),
  );
  t.notMatch(run('ipset', 'list', 'ip4'), /10\.1/);
  t.equal((await refused(ns, ipset.addSetElement('none', { address: '10.1.0.2' }))).errno, 'ENOENT');
});

t.test('sets are made, filled beyond one message, flushed and destroyed', async (t) => {
  const { ns, run } = await namespaceFor(t);
  t.match(await ask(ns, ipset.ipsetProtocol()), { version: 7 });
  const revision = await ask(ns, ipset.setTypeRevision('hash:ip', 2));
  await ns.send(ipset.createSet({ name: 'mine', type: 'hash:ip', revision, family: 2, maxElements: 5000 }));
  await ns.send(ipset.createSet({ name: 'mine', type: 'hash:ip', revision, family: 2, maxElements: 5000 }));
  t.match(run('ipset', 'list', 'mine'), /Type: hash:ip[\s\S]*maxelem 5000 comment/);
  const many = Array.from({ length: 3000 }, (_, i) => ({
    address: `10.2.${i >> 8}.${i & 255}`,
    comment: `number ${i}`,
  }));
  await ns.send(...many.map((one) => ipset.addSetElement('mine', one)));
  const back = await ask(ns, ipset.listSetElements('mine'));
  t.equal(new Set(back.map(({ address, comment }) => `${address} ${comment}`)).size, 3000);
  t.match(await ask(ns, ipset.listSetHeaders('mine')), [{ elements: 3000 }]);
  await ns.send(ipset.flushIpset('mine'));
  t.same(await ask(ns, ipset.listSetElements('mine')), []);
  await ns.send(ipset.destroySet('mine'));
  t.equal(run('ipset', 'list', '-n'), '');
  t.equal((await refused(ns, ipset.setTypeRevision('hash:nothing', 2))).errno, 'IPSET_ERR_FIND_TYPE');
});
