/** How many blocks a host holds. No root. */
import t from 'tap';
import { blockNeeds } from '../../agent/cluster/blocks.ts';

const POOL = { prefix: '10.1.0.0/24', blockLength: 28 };
const leases = (first: number, count: number) =>
  Array.from({ length: count }, (_, i) => `10.1.0.${first + i}`);
const needs = (blocks: string[], leased: string[], borrowed: string[] = []) => {
  const { short, idle } = blockNeeds([POOL], { blocks, borrowed, leased });
  return { short: short.map(({ free }) => free), idle };
};

t.test('one more when few are free', async (t) => {
  t.same(needs(['10.1.0.0/28'], leases(1, 8)), { short: [], idle: [] });
  t.same(needs(['10.1.0.0/28'], leases(1, 9)), { short: [7], idle: [] });
  t.same(needs([], []), { short: [0], idle: [] }, 'nothing yet');
  t.same(
    needs(['10.1.0.0/28'], leases(1, 9), ['10.1.0.99']),
    { short: [], idle: [] },
    'a borrowed one counts',
  );
});

t.test('back goes what is empty and not needed, borrowed ones first, never the first block', async (t) => {
  const three = ['10.1.0.0/28', '10.1.0.16/28', '10.1.0.32/28'];
  t.same(needs(three, []), { short: [], idle: ['10.1.0.16/28', '10.1.0.32/28'] });
  t.same(needs(three, ['10.1.0.40']), { short: [], idle: ['10.1.0.16/28'] });
  t.same(needs(three.slice(0, 2), leases(1, 10)), { short: [], idle: [] }, 'the reserve twice stays');
  t.same(needs(three.slice(0, 2), [], ['10.1.0.99', '10.1.0.98']).idle, [
    '10.1.0.99',
    '10.1.0.98',
    '10.1.0.16/28',
  ]);
  t.same(needs(three.slice(0, 1), leases(1, 5), ['10.1.0.99']).idle, []);
  t.same(needs(three.slice(0, 2), ['10.1.0.99'], ['10.1.0.99']).idle, ['10.1.0.16/28'], 'one in use stays');
});

t.test('families count by themselves', async (t) => {
  const pools = [POOL, { prefix: 'fd00:1::/64', blockLength: 122 }];
  const held = { blocks: ['10.1.0.0/28', 'fd00:1::/122'], borrowed: [], leased: leases(1, 12) };
  const { short } = blockNeeds(pools, held);
  t.same(
    short.map(({ pool }) => pool.prefix),
    ['10.1.0.0/24'],
  );
});
