import t from 'tap';
import { canonical, firstAddress, hostPrefix, networkOf, overlap, parsePrefix } from '../../plan/prefix.ts';

t.test('networks, gateways and host prefixes of both families', async (t) => {
  t.equal(networkOf('10.1.2.3/20'), '10.1.0.0/20');
  t.equal(networkOf('fd00:1::abcd/64'), 'fd00:1::/64');
  t.equal(networkOf('10.1.2.3/0'), '0.0.0.0/0');
  t.equal(firstAddress('10.1.2.3/20'), '10.1.0.1');
  t.equal(firstAddress('fd00:1::abcd/64'), 'fd00:1::1');
  t.equal(hostPrefix('10.1.2.3/20'), '10.1.2.3/32');
  t.equal(hostPrefix('fd00::1'), 'fd00::1/128');
});

t.test('one spelling', async (t) => {
  t.equal(canonical('FD00:0:0::1/64'), 'fd00::1/64');
  t.equal(canonical('0::0/0'), '::/0');
});

t.test('overlap in both directions, never across families', async (t) => {
  t.ok(overlap('10.1.0.1/24', '10.1.0.200/16'));
  t.ok(overlap('10.1.0.200/16', '10.1.0.1/24'));
  t.notOk(overlap('10.1.0.1/24', '10.1.1.1/24'));
  t.notOk(overlap('0.0.0.0/0', '::/0'));
});

t.test('what is no address or prefix is named', async (t) => {
  t.throws(() => parsePrefix('10.1.0/x'), /"10.1.0\/x"/);
  t.throws(() => parsePrefix('10.1.0.1/33'), /"10.1.0.1\/33" has no valid prefix length/);
  t.throws(() => parsePrefix('fd00::1/129'), /prefix length/);
});
