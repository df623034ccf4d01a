/** What BIRD is told: a pure function of the networks and their members. */
import t from 'tap';
import { birdConfig } from '../../cluster/bgp/bird-config.ts';
import { parseProtocols } from '../../cluster/bgp/bird-control.ts';
import { type BgpNetwork, speakerOf } from '../../cluster/bgp/speaker.ts';
import type { Member } from '../../cluster/registry.ts';

const member = (n: number, more: Partial<Member> = {}): Member => ({
  host: `host-${n}`,
  addresses: [`192.0.2.${n}`, `2001:db8::${n}`],
  subnets: [`10.244.${n}.0/24`, `fd00:244:0:${n}::/64`],
  ...more,
});

const MEMBERS = [1, 2, 3, 4].map((n) => member(n));

function network(self: number, reflectors: string[] = [], members: readonly Member[] = MEMBERS): BgpNetwork {
  const own = members.find(({ host }) => host === `host-${self}`) ?? member(self);
  return {
    network: {
      name: 'pods',
      backend: 'bgp',
      pools: [
        { prefix: '10.244.0.0/16', blockLength: 24 },
        { prefix: 'fd00:244::/48', blockLength: 64 },
      ],
      bgp: { daemon: 'bird', asn: 64512, reflectors },
    },
    self: own,
    members,
  };
}

const names = (one: BgpNetwork) =>
  speakerOf([one]).peers.map(({ name, client }) => `${name}${client ? ' client' : ''}`);

t.test('a full mesh where no reflector is named: a session for each family', async (t) => {
  t.same(names(network(2)), ['host-1:4', 'host-1:6', 'host-3:4', 'host-3:6', 'host-4:4', 'host-4:6']);
});

t.test('by way of a reflector that is a member', async (t) => {
  t.same(names(network(2, ['192.0.2.1'])), ['host-1:4', 'host-1:6'], 'the others speak with it alone');
  t.same(
    names(network(1, ['192.0.2.1', '192.0.2.2'])),
    ['host-2:4', 'host-2:6', 'host-3:4 client', 'host-3:6 client', 'host-4:4 client', 'host-4:6 client'],
    'it speaks with all, and reflects to those that do not reflect',
  );
});

t.test('by way of a reflector that is a router elsewhere', async (t) => {
  t.same(names(network(2, ['192.0.2.254', '2001:DB8::FE'])), ['192.0.2.254:4', '2001:db8::fe:6']);
});

t.test('IPv4 subnets of hosts that have IPv6 alone travel by IPv6', async (t) => {
  const members = MEMBERS.map((one) => ({ ...one, addresses: one.addresses.slice(1) }));
  const speaker = speakerOf([network(1, [], members)]);
  t.same(speaker.peers[0], {
    name: 'host-2:6',
    host: 'host-2',
    address: '2001:db8::2',
    local: '2001:db8::1',
    family: 6,
    carries: [4, 6],
    client: false,
  });
  t.match(speaker.routerId, /^(\d+\.){3}\d+$/);
  t.not(speaker.routerId, speakerOf([network(2, [], members)]).routerId);
  t.match(birdConfig(speaker, { log: '/l' }), /ipv4 \{[^}]*extended next hop;/);
});

t.test('what cannot be announced is told', async (t) => {
  const members = MEMBERS.map((one) => ({ ...one, addresses: one.addresses.slice(0, 1) }));
  const { peers, problems } = speakerOf([network(1, [], members)]);
  t.same(
    peers.map(({ carries }) => carries),
    [[4], [4], [4]],
  );
  t.match(problems[0], /network pods has IPv6 subnets, but host-1 and host-2 have no address by which/);
});

t.test('several networks, one session between two hosts', async (t) => {
  const one = network(1);
  const two: BgpNetwork = {
    ...network(1, [], [member(1, { subnets: ['10.9.1.0/26'] }), member(2, { subnets: ['10.9.2.0/26'] })]),
    network: { ...one.network, name: 'more', pools: [{ prefix: '10.9.0.0/16', blockLength: 26 }] },
  };
  const speaker = speakerOf([one, two]);
  t.same(speaker, speakerOf([two, one]), 'in any order');
  t.same(speaker.own, ['10.244.1.0/24', '10.9.1.0/26', 'fd00:244:0:1::/64']);
  t.equal(speaker.peers.length, 6);
  const other = {
    ...two,
    network: { ...two.network, bgp: { daemon: 'bird' as const, asn: 65000, reflectors: [] } },
  };
  t.throws(() => speakerOf([one, other]), {
    message: /network pods has AS 64512, but more has AS 65000: one host speaks for one AS/,
  });
});

t.test(
  'the order of members does not change the text, nor does a name that BIRD cannot read break it',
  async (t) => {
    const odd = member(5, { host: "bad' name {}" });
    const text = birdConfig(speakerOf([network(1, [], [...MEMBERS, odd])]), { log: '/l' });
    t.equal(birdConfig(speakerOf([network(1, [], [odd, ...MEMBERS].reverse())]), { log: '/l' }), text);
    t.notMatch(text, 'bad');
    t.match(
      text,
      /protocol bgp 'peer-[0-9a-f]+:4' from weft \{\n {2}local 192.0.2.1 as 64512;\n {2}neighbor 192.0.2.5 as 64512;/,
    );
  },
);

t.test('what is accepted and announced is a subnet of a pool', async (t) => {
  const text = birdConfig(speakerOf([network(1)]), { log: '/run/weft/bird/bird.log' });
  t.match(text, 'define weft_subnets4 = [ 10.244.0.0/16{24,24} ];');
  t.match(text, 'define weft_subnets6 = [ fd00:244::/48{64,64} ];');
  t.match(text, '  route 10.244.1.0/24 unreachable;');
  t.notMatch(text, '10.244.2.0', 'what others hold is learned, not written');
});

t.test('answers of BIRD', async (t) => {
  const lines = [
    { code: 2002, text: 'Name       Proto      Table      State  Since         Info' },
    { code: 1002, text: 'host-2:4   BGP        ---        up     2026-11-21 00:26:16.764  Established   ' },
    { code: 1006, text: '  BGP state:          Established' },
    { code: 1006, text: '    Routes:         3 imported, 1 filtered, 2 exported, 3 preferred' },
    { code: 1006, text: '    Routes:         1 imported, 1 exported, 1 preferred' },
    {
      code: 1002,
      text: 'host-3:4   BGP        ---        start  2026-11-21 00:26:17  Active        Socket: Connection refused',
    },
    { code: 0, text: '' },
  ];
  t.same(parseProtocols(lines), [
    {
      name: 'host-2:4',
      kind: 'BGP',
      state: 'up',
      since: Date.parse('2026-11-21T00:26:16'),
      info: 'Established',
      error: undefined,
      imported: 4,
      exported: 3,
    },
    {
      name: 'host-3:4',
      kind: 'BGP',
      state: 'start',
      since: Date.parse('2026-11-21T00:26:17'),
      info: 'Active',
      error: 'Socket: Connection refused',
      imported: 0,
      exported: 0,
    },
  ]);
});
