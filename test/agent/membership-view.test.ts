/** What the agent's troubles mean for containers that want to come. No root. */
import t from 'tap';
import { MembershipView } from '../../agent/cluster/membership-view.ts';
import { type ProblemKind, Problems } from '../../agent/cluster/problems.ts';
import type { ClusterNetwork } from '../../cluster/network.ts';
import { readMembership } from '../../ipam/cluster/membership.ts';

const NETWORK: ClusterNetwork = {
  name: 'net',
  backend: 'routed',
  pools: [{ prefix: '10.244.0.0/16', blockLength: 24 }],
};
const MEMBER = { host: 'one', addresses: ['192.0.2.1'], subnets: ['10.244.3.0/24'] };

t.test('which problems keep containers away', async (t) => {
  const dir = t.testdir();
  const told = (kind?: ProblemKind) => {
    const problems = new Problems(() => {});
    if (kind) problems.set(kind, `trouble of kind ${kind}`);
    new MembershipView(dir).tell({
      ...{ network: NETWORK, host: 'one', state: { members: [MEMBER], endpoints: [] } },
      ...{
        offered: MEMBER.subnets,
        borrowed: [],
        mtu: 1500,
        device: undefined,
        problems,
        validUntil: undefined,
      },
    });
    const { problem, refuses, limited } = readMembership(dir, 'net') ?? {};
    return { problem, refuses, limited };
  };
  t.same(told(), { problem: undefined, refuses: undefined, limited: undefined });
  for (const kind of ['name', 'conflict', 'configuration', 'overlap'] as const) {
    t.same(told(kind), { problem: `trouble of kind ${kind}`, refuses: true, limited: undefined });
  }
  t.same(told('member'), { problem: 'trouble of kind member', refuses: undefined, limited: undefined });
  t.same(told('kernel'), { problem: 'trouble of kind kernel', refuses: undefined, limited: true });
});
