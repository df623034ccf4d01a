/** Worlds for predictions, written down: no kernel is asked. */
import { familyOf, lengthOf, networkOf } from '../../cni/prefix.ts';
import type { Snapshot } from '../../inspect/host/snapshot.ts';
import type { Hop, Tuple } from '../../inspect/path/hop.ts';
import { type Prediction, predict } from '../../inspect/path/predict.ts';
import type { Question, World } from '../../inspect/path/world.ts';
import type { Chain, Match, NamedSet, Rule, Statement, Table, Value } from '../../inspect/ruleset/model.ts';
import type { Connection } from '../../netlink/conntrack.ts';
import type { Link } from '../../netlink/link.ts';
import type { Route } from '../../netlink/route.ts';
import type { PolicyRule } from '../../netlink/rule.ts';

type LinkSpec = Partial<Omit<Link, 'master'>> & {
  /** `namespace:link` */
  peer?: string;
  /** By name. */
  in?: string;
};

export interface Namespaced {
  /** In this order they have the indexes from 2 on. */
  links?: Readonly<Record<string, LinkSpec>>;
  /** CIDRs by link. */
  addresses?: Readonly<Record<string, readonly string[]>>;
  /** As `ip route` has them; those of addresses are there already. */
  routes?: readonly string[];
  rules?: readonly Partial<PolicyRule>[];
  /** `10.0.0.1 dev eth0 lladdr 02:... nud failed` */
  neighbours?: readonly string[];
  proxies?: readonly string[];
  fdb?: readonly Partial<Snapshot['fdb'][number]>[];
  sysctls?: Readonly<Record<string, number>>;
  tables?: readonly Table[];
  connections?: readonly Connection[];
  listeners?: Snapshot['listeners'];
  programs?: Snapshot['programs'];
  services?: Snapshot['services'];
}

const TYPES = [
  '',
  'unicast',
  'local',
  'broadcast',
  'anycast',
  'multicast',
  'blackhole',
  'unreachable',
  'prohibit',
  'throw',
];
const NUD: Readonly<Record<string, number>> = { reachable: 2, stale: 4, failed: 0x20, permanent: 0x80 };

export const macOf = (namespace: string, link: string) =>
  `02:00:${[...`${namespace}${link}`]
    .reduce((sum, one) => (sum * 31 + one.charCodeAt(0)) % 0xffffffff, 7)
    .toString(16)
    .padStart(8, '0')
    .match(/../g)
    ?.join(':')}`;

function linkOf(
  namespace: string,
  name: string,
  index: number,
  spec: LinkSpec,
  indexOf: (at: string) => number,
): Link {
  const { peer, in: master, ...given } = spec;
  const [there] = peer?.split(':') ?? [];
  return {
    ...{ index, name, flags: 0x1043, up: true, running: true, loopback: false, promiscuous: false },
    ...{ allMulticast: false, type: 1, mtu: 1500, mac: macOf(namespace, name), operState: 6 },
    ...{
      kind: peer === undefined ? undefined : 'veth',
      slaveKind: master === undefined ? undefined : 'bridge',
    },
    master: master === undefined ? undefined : indexOf(`${namespace}:${master}`),
    link: peer === undefined ? undefined : indexOf(peer),
    linkNetnsId: peer === undefined || there === namespace ? undefined : 0,
    ...{
      alias: undefined,
      txQueueLength: undefined,
      bridge: undefined,
      vxlan: undefined,
      macvlan: undefined,
    },
    ...{ vlan: undefined, port: master === undefined ? undefined : { state: 3 } },
    ...given,
  } as Link;
}

const LO: LinkSpec = { loopback: true, type: 772, mtu: 65_536, mac: undefined, kind: undefined };

export function routeOf(text: string, links: readonly Link[]): Route {
  const words = text.split(' ');
  const typed = TYPES.indexOf(words[0] ?? '');
  const [dst = '', ...rest] = typed > 0 ? words.slice(1) : words;
  const value = (key: string) => (rest.includes(key) ? rest[rest.indexOf(key) + 1] : undefined);
  const six = dst.includes(':') || (value('via') ?? '').includes(':');
  const whole =
    dst === 'default' ? (six ? '::/0' : '0.0.0.0/0') : dst.includes('/') ? dst : `${dst}/${six ? 128 : 32}`;
  const number = (key: string) => (value(key) === undefined ? undefined : Number(value(key)));
  return {
    ...{ family: six ? 10 : 2, dst: whole, gateway: value('via'), source: value('src'), onlink: false },
    link: links.find(({ name }) => name === value('dev'))?.index,
    ...{ priority: number('metric'), table: number('table') ?? 254, scope: 0, protocol: 3 },
    ...{ type: typed > 0 ? typed : 1, flags: 0, mtu: number('mtu'), advmss: undefined, hopLimit: undefined },
  };
}

const DEFAULT_RULES: readonly Partial<PolicyRule>[] = [2, 10].flatMap((family) => [
  { family, priority: 0, table: 255 },
  { family, priority: 32_766, table: 254 },
]);

function ruleOf(given: Partial<PolicyRule>): PolicyRule {
  return {
    ...{
      family: 2,
      priority: 100,
      not: false,
      from: undefined,
      to: undefined,
      iif: undefined,
      oif: undefined,
    },
    ...{
      mark: undefined,
      tos: 0,
      ipProtocol: undefined,
      sourcePorts: undefined,
      destinationPorts: undefined,
    },
    ...{ action: 'table' as const, table: 254, target: undefined, suppressPrefixLength: undefined },
    ...{ l3mdev: false, protocol: 0 },
    ...given,
  };
}

function snapshotOf(name: string, spec: Namespaced, all: Readonly<Record<string, Namespaced>>): Snapshot {
  const indexOf = (at: string): number => {
    const [namespace = '', link = ''] = at.split(':');
    const index = Object.keys(all[namespace]?.links ?? {}).indexOf(link);
    if (index < 0) throw new Error(`no link ${at}`);
    return index + 2;
  };
  const entries = Object.entries(spec.links ?? {});
  const links = [
    linkOf(name, 'lo', 1, LO, indexOf),
    ...entries.map(([link, given], i) => linkOf(name, link, i + 2, given, indexOf)),
  ];
  const byName = (link: string) => links.find((one) => one.name === link)?.index ?? 1;
  const cidrs = [
    ...['127.0.0.1/8', '::1/128'].map((cidr) => ({ cidr, link: 'lo', scope: 254 })),
    ...Object.entries(spec.addresses ?? {}).flatMap(([link, list]) =>
      list.map((cidr) => ({ cidr, link, scope: 0 })),
    ),
  ];
  const own = cidrs.flatMap(({ cidr, link }) => [
    `local ${cidr.split('/')[0]} dev ${link} table 255`,
    ...(link === 'lo' ? [] : [`${networkOf(cidr)} dev ${link}`]),
  ]);
  return {
    ...{ identity: name, path: `/run/netns/${name}`, links, peers: peersOf(spec, indexOf, name) },
    addresses: cidrs.map(({ cidr, link, scope }) => ({
      ...{ link: byName(link), family: familyOf(cidr) === 4 ? 2 : 10, address: cidr.split('/')[0] ?? '' },
      ...{
        prefixLength: lengthOf(cidr),
        cidr,
        peer: undefined,
        broadcast: undefined,
        label: undefined,
        scope,
      },
      ...{
        flags: 0,
        permanent: true,
        tentative: false,
        optimistic: false,
        dadFailed: false,
        deprecated: false,
      },
      ...{ noPrefixRoute: false, metric: undefined },
    })),
    routes: ['local 127.0.0.0/8 dev lo table 255', ...own, ...(spec.routes ?? [])].map((text) =>
      routeOf(text, links),
    ),
    policy: [...DEFAULT_RULES, ...(spec.rules ?? [])].map(ruleOf).sort((a, b) => a.priority - b.priority),
    neighbours: (spec.neighbours ?? []).map((text) => {
      const [address = '', ...rest] = text.split(' ');
      const value = (key: string) => (rest.includes(key) ? rest[rest.indexOf(key) + 1] : undefined);
      const state = NUD[value('nud') ?? 'reachable'] ?? 2;
      return {
        ...{ link: byName(value('dev') ?? ''), family: address.includes(':') ? 10 : 2, address },
        ...{ mac: value('lladdr'), state, permanent: state === 0x80, failed: state === 0x20, proxy: false },
        protocol: undefined,
      };
    }),
    proxies: (spec.proxies ?? []).map((text) => {
      const [address = '', , link = ''] = text.split(' ');
      return {
        ...{
          link: byName(link),
          family: 2,
          address,
          mac: undefined,
          state: 0x80,
          permanent: true,
          failed: false,
        },
        ...{ proxy: true, protocol: undefined },
      };
    }),
    fdb: (spec.fdb ?? []).map((given) => ({
      ...{
        link: 0,
        mac: '',
        dst: undefined,
        vlan: undefined,
        port: undefined,
        vni: undefined,
        via: undefined,
      },
      ...{ master: undefined, self: false, permanent: false, static: false, externallyLearned: false },
      ...given,
    })),
    sysctls: new Map(
      Object.entries({ 'ipv4/ip_forward': 1, 'ipv6/conf/all/forwarding': 1, ...spec.sysctls }),
    ),
    ruleset: { tables: spec.tables ?? [], unread: [] },
    connections: spec.connections ?? [],
    listeners: spec.listeners,
    programs: spec.programs,
    services: spec.services,
  };
}

function peersOf(
  { links = {} }: Namespaced,
  indexOf: (at: string) => number,
  name: string,
): Map<number, string> {
  return new Map(
    Object.entries(links).flatMap(([link, { peer }]) => {
      const [there = name] = peer?.split(':') ?? [];
      return there === name ? [] : [[indexOf(`${name}:${link}`), there] as const];
    }),
  );
}

export function worldOf(all: Readonly<Record<string, Namespaced>>): World {
  const snapshots = new Map(Object.entries(all).map(([name, spec]) => [name, snapshotOf(name, spec, all)]));
  return { sketches: snapshots, snapshots, placeOf: (namespace) => ({ host: namespace, namespace }) };
}

/** A packet from a namespace to an address (`10.0.0.1`, or with a port and protocol `10.0.0.1:80/udp`; none: an echo). */
export function ask(
  world: World,
  from: string,
  to: string,
  more: Partial<Question> & { source?: string } = {},
): Prediction {
  const [, bracketed, plain = '', port, protocol = 'tcp'] =
    /^(?:\[(.+)\]|([^:]+|.*::.*))(?::(\d+)(?:\/(\w+))?)?$/.exec(to) ?? [];
  const address = bracketed ?? plain;
  const family = familyOf(address);
  const ports = port === undefined ? {} : { sourcePort: 40_000, destinationPort: Number(port) };
  const { source, ...question } = more;
  const tuple: Question['tuple'] = {
    ...{ family, destination: address, ...(source === undefined ? {} : { source }) },
    protocol: port === undefined ? (family === 4 ? 'icmp' : 'icmpv6') : (protocol as Tuple['protocol']),
    ...ports,
  };
  const answer = predict(world, { namespace: from, tuple, length: 84, dontFragment: true, ...question });
  if ('needs' in answer) throw new Error(`needs ${answer.needs}`);
  return answer;
}

/** The hops of some kinds, in words. */
export function words({ hops }: { hops: readonly Hop[] }, ...kinds: Hop['kind'][]): string[] {
  return hops.filter(({ kind }) => kinds.includes(kind)).map((hop) => hop.words);
}

export function rule(matches: readonly Match[], statements: readonly Statement[], text = ''): Rule {
  return { position: 1, text, matches, statements, owner: { who: 'somebody else' } };
}

export const verdict = (kind: 'accept' | 'drop' | 'return'): Statement => ({
  kind: 'verdict',
  verdict: { kind },
});
export const jump = (chain: string, kind: 'jump' | 'goto' = 'jump'): Statement => ({
  kind: 'verdict',
  verdict: { kind, chain },
});
export const is = (field: Parameters<typeof match>[0], ...values: Value[]): Match =>
  match(field, values, false);
export const isNot = (field: Parameters<typeof match>[0], ...values: Value[]): Match =>
  match(field, values, true);
function match(
  field: Extract<Match, { values: unknown }>['fields'][number],
  values: readonly Value[],
  not: boolean,
): Match {
  return { fields: [field], not, values };
}
export const to = (prefix: string) => is('daddr', { prefix });
export const text = (value: string): Value => ({ text: value });

type Base = NonNullable<Chain['base']>;

export function base(
  name: string,
  hook: Base['hook'],
  priority: number,
  rules: readonly Rule[],
  more: Partial<Base> = {},
): Chain {
  return { name, base: { type: 'filter', hook, priority, policy: 'accept', ...more }, rules };
}

export const nat = (name: string, hook: Base['hook'], priority: number, rules: readonly Rule[]) =>
  base(name, hook, priority, rules, { type: 'nat' });

export function table(
  name: string,
  chains: readonly Chain[],
  sets: readonly NamedSet[] = [],
  family: Table['family'] = 'inet',
): Table {
  return { variant: 'nftables', family, name, chains, sets: new Map(sets.map((set) => [set.name, set])) };
}

/** A client, a router with rules, a server. */
export function routed(router: Namespaced = {}, server: Namespaced = {}, client: Namespaced = {}) {
  return worldOf({
    client: {
      links: { eth0: { peer: 'router:left' } },
      addresses: { eth0: ['10.0.1.2/24', 'fd01::2/64'] },
      routes: ['default via 10.0.1.1 dev eth0', 'default via fd01::1 dev eth0'],
      ...client,
    },
    router: {
      links: { left: { peer: 'client:eth0' }, right: { peer: 'server:eth0' } },
      addresses: { left: ['10.0.1.1/24', 'fd01::1/64'], right: ['10.0.2.1/24', 'fd02::1/64'] },
      ...router,
    },
    server: {
      links: { eth0: { peer: 'router:right' } },
      addresses: { eth0: ['10.0.2.2/24', 'fd02::2/64'] },
      routes: ['default via 10.0.2.1 dev eth0', 'default via fd02::1 dev eth0'],
      ...server,
    },
  });
}
