/** What `weft doctor` says of hosts that are written down: networks between hosts, programs, leases and their proofs, ways. */
import t from 'tap';
import { aheadBy, clockQuestion } from '../../inspect/doctor/clocks.ts';
import { doctorFindings } from '../../inspect/doctor/findings.ts';
import type { DoctorView, Lease, Membership } from '../../inspect/doctor/view.ts';
import type { Snapshot } from '../../inspect/host/snapshot.ts';
import type { Path } from '../../inspect/path/hop.ts';

const NOW = 1_700_000_000_000;
const HOST = 'host:1';

const snapshot: Snapshot = {
  ...{ identity: HOST, path: '/proc/self/ns/net', links: [], addresses: [], peers: new Map() },
  ...{ routes: [], policy: [], neighbours: [], proxies: [], fdb: [], sysctls: new Map(), connections: [] },
  ruleset: { tables: [], unread: [] },
};

function view(more: Partial<DoctorView>): DoctorView {
  return {
    nat: { host: snapshot, near: [], containers: [], entries: [] },
    ...{
      inside: new Map(),
      leases: [],
      results: [],
      recorded: new Set(),
      lacking: [],
      remains: [],
      ways: [],
    },
    software: { version: '1', agent: 'absent', agentSocket: '/run/weft/agent.sock', strangers: [] },
    ...{
      memberships: [],
      probes: [],
      heldPorts: [],
      clocks: [],
      configurations: [],
      now: NOW,
      started: NOW - 1_000_000,
    },
    ...more,
  };
}

const codes = (more: Partial<DoctorView>) => doctorFindings(view(more)).map(({ code }) => code);

t.test('a host without anything has no findings', async (t) => {
  t.same(doctorFindings(view({})), []);
});

const member: Membership = {
  ...{ network: 'podnet', host: 'a', where: 'etcd at http://127.0.0.1:2379', kept: true, reachable: true },
  ...{ joined: true, subnets: ['10.1.0.0/24'], problems: [] },
  members: [{ host: 'a', self: true, addresses: ['192.0.2.1'], subnets: ['10.1.0.0/24'] }],
};
const other = { host: 'b', self: false, addresses: ['192.0.2.2'], subnets: ['10.1.1.0/24'] };

t.test('networks between hosts', async (t) => {
  const of = (more: Partial<Membership>) => codes({ memberships: [{ ...member, ...more }] });
  t.same(of({}), []);
  t.same(of({ validUntil: NOW + 1 }), []);
  t.same(of({ validUntil: NOW - 1000 }), ['registry-lease-expired']);
  t.same(of({ reachable: false, error: 'refused' }), ['registry-unreachable']);
  t.same(of({ joined: false }), ['network-not-joined']);
  t.same(of({ kept: false, reachable: false, joined: false }), ['network-not-kept'], 'no agent: said once');
  t.same(of({ problems: ['network podnet: MTU'] }), ['network-problem']);
  t.same(of({ members: [...member.members, other] }), ['member-unreachable'], 'no route to it');
  const twice = { ...other, addresses: [], subnets: ['10.1.0.0/25'] };
  t.same(of({ members: [...member.members, twice] }), ['subnet-held-twice']);
  const probe = { network: 'podnet', host: 'b', address: '192.0.2.2', size: 1500 };
  t.same(codes({ probes: [{ ...probe, fits: true }] }), []);
  t.same(codes({ probes: [{ ...probe, fits: false }] }), ['path-mtu']);
});

t.test('programs', async (t) => {
  const of = (more: Partial<DoctorView['software']>) =>
    codes({ software: { ...view({}).software, ...more } });
  t.same(of({ agent: 'running', ours: true }), []);
  t.same(of({ agent: 'running', ours: false }), ['agent-of-another-build']);
  t.same(of({ agent: 'dead' }), ['agent-dead']);
  t.same(of({ agent: 'silent' }), ['agent-silent']);
  t.same(of({ agent: 'forbidden' }), []);
  t.same(of({ strangers: ['/opt/cni/bin/weft-core.js'] }), ['plugin-of-another-build']);
});

t.test('leases: what proves that nobody comes back', async (t) => {
  const lease: Lease = {
    ...{ network: 'podnet', address: '10.1.0.2', containerId: 'c1', ifname: 'eth0' },
    ...{ file: '/var/lib/cni/networks/podnet/10.1.0.2', written: NOW - 500_000 },
  };
  const of = (more: Partial<DoctorView>) =>
    doctorFindings(view({ leases: [lease], ...more })).map(({ code, safe }) => `${code} ${safe}`);
  t.same(of({}), ['lease-leaked false'], 'it may be in a namespace that cannot be seen');
  t.same(of({ started: NOW - 100 }), ['lease-leaked true'], 'from before the machine started');
  t.same(of({ leases: [{ ...lease, written: NOW - 1000 }] }), [], 'an ADD may be under way');
  t.same(of({ recorded: new Set(['podnet c1 eth0']) }), [], 'its record has its own proof');
  const alive = { id: 'c1', namespace: 'ns:2', networks: ['podnet'], addresses: [] };
  t.same(of({ nat: { ...view({}).nat, containers: [alive] } }), [], 'its container lives');
});

t.test('ways', async (t) => {
  const place = { host: 'this host', namespace: HOST };
  const tuple = { family: 4, protocol: 'icmp', source: '10.1.0.2', destination: '192.0.2.9' } as const;
  const rule = {
    ...{ kind: 'rule', place, tuple, words: 'drop', family: 'inet', hook: 'forward', table: 'x', chain: 'y' },
    ...{ handle: 7, text: 'ip saddr 10.1.0.0/24 drop', verdict: 'drop' },
  } as const;
  const path = (hop: object, outcome: Path['outcome'] = 'dropped'): Path =>
    ({ hops: [hop], outcome, why: 'so', assumptions: [], notes: [] }) as unknown as Path;
  const of = (there: Path, back?: Path, own = [HOST]) =>
    codes({
      ways: [
        {
          ...{ words: 'from a to b', command: 'weft trace a b', own: new Set(own) },
          prediction: back === undefined ? { there } : { there, back },
        },
      ],
    });
  const mine = { ...rule, owner: { who: 'weft' } };
  const theirs = { ...rule, owner: { who: 'ufw' } };
  const drop = { kind: 'drop', place, tuple, words: 'link is down', reason: 'link is down' };
  t.same(of(path(theirs)), ['rule-drops']);
  t.same(of(path(drop, 'delivered'), path(theirs)), ['rule-drops'], "the answer's way counts as well");
  t.same(of(path(mine)), [], 'what a configuration wants');
  t.same(of(path(drop)), ['way-blocked']);
  t.same(of(path(drop), undefined, ['other:2']), [], 'it ends elsewhere');
  t.same(of(path(drop, 'left')), []);
});

t.test('rules that let through what nobody drops', async (t) => {
  const lacks = (what: string[], tables: unknown[] = []) =>
    doctorFindings(
      view({
        nat: {
          host: { ...snapshot, ruleset: { tables, unread: [] } } as Snapshot,
          near: [],
          containers: [],
          entries: [],
        },
        lacking: [{ network: 'n', containerId: 'c', ifname: 'eth0', kind: 'rules', what, mend: [] }],
      }),
    ).map(({ severity, code }) => `${severity} ${code}`);
  const jump =
    'rule "-A FORWARD -m comment --comment "weft: containers" -j WEFT-FORWARD" in ip6tables table filter';
  const entry = 'entry fd00::2 in ipset weft_let6';
  const others = (policy: string, statements: unknown[] = []) => [
    {
      ...{ variant: 'iptables-nft', family: 'ip6', name: 'filter', sets: new Map() },
      chains: [
        { name: 'FORWARD', base: { type: 'filter', hook: 'forward', priority: 0, policy }, rules: [] },
        {
          name: 'CNI-FORWARD',
          rules: [{ position: 1, text: '', matches: [], owner: { who: 'cni' }, statements }],
        },
      ],
    },
  ];
  const verdict = (kind: string) => [{ kind: 'verdict', verdict: { kind } }];
  t.same(
    lacks([jump, entry], others('accept', verdict('accept'))),
    ['note rules-missing'],
    'the reference lets through',
  );
  t.same(lacks([jump, entry], others('drop')), ['error rules-missing']);
  t.same(lacks([jump], others('accept', verdict('drop'))), ['error rules-missing']);
  t.same(lacks([jump, 'element of 10.1.0.2 in map inet weft masquerade4'], others('accept')), [
    'error rules-missing',
  ]);
  const apart =
    'rule "-A WEFT-FORWARD -m comment --comment "weft: bridges apart" -j WEFT-ISOLATION" in ip6tables table filter';
  t.same(lacks([apart], others('accept')), ['error rules-missing'], 'what keeps apart is needed');
});

t.test("other hosts' clocks", async (t) => {
  const question = clockQuestion(7, NOW);
  t.equal(
    question.reduce((sum, byte, i) => sum + (i % 2 === 0 ? byte << 8 : byte), 0) % 0xffff,
    0,
    'RFC 1071',
  );
  const answer = (received: number, sent: number, id = 7) => {
    const packet = new Uint8Array(40);
    packet[0] = 0x45;
    packet.set(question, 20);
    packet[20] = 14;
    const view = new DataView(packet.buffer);
    view.setUint16(24, id);
    view.setUint32(32, received);
    view.setUint32(36, sent);
    return packet;
  };
  const day = 86_400_000;
  const there = (NOW + 60_000) % day;
  t.equal(aheadBy(answer(there + 10, there + 10), 7, NOW + 20), 60_000, 'half of the way is taken off');
  t.equal(aheadBy(answer(there, there, 8), 7, NOW), undefined, 'of another question');
  t.equal(aheadBy(answer(there + 0x80000000, there), 7, NOW), undefined, 'of another count');
  t.equal(aheadBy(answer(there, there).subarray(0, 30), 7, NOW), undefined, 'cut off');
  const midnight = NOW - (NOW % day);
  const early = answer(day - 5000, day - 5000);
  new DataView(early.buffer).setUint32(28, 5000);
  t.equal(aheadBy(early, 7, midnight + 5000), -10_000, 'over midnight');
  const found = (ahead: number) =>
    doctorFindings(view({ clocks: [{ network: 'podnet', host: 'b', address: '192.0.2.2', ahead }] }));
  t.same(found(4000), []);
  t.match(found(-65_000), [
    { code: 'clock-differs', severity: 'warning', what: /host b \(192\.0\.2\.2\) is 65 seconds behind/ },
  ]);
});
