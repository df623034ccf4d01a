/**
 * The nftables backend's rules for published ports, as text: table `inet weft-ports`. A published port is one element of a map; the number of
 * rules is constant. It is a table of its own, so that masquerade and ports come and go without each other.
 */
import type { AttachmentId } from '../cni/types.ts';
import type { IpFamily } from './address.ts';
import { COUNTED } from './nft.ts';
import { networkLabel, ownerMarkWithin, RULES_MARK } from './ownership.ts';
import { type Publication, type PublishedPort, portWords, targetWords } from './ports.ts';

export const PORTS_TABLE = 'weft-ports';

type Named = Readonly<Record<IpFamily, string>>;
/** Ports of any address of the host: `protocol . port : address . port`. */
export const PORTS: Named = { 4: 'ports4', 6: 'ports6' };
/** Ports of one address of the host: `address . protocol . port : address . port`. */
export const BOUND: Named = { 4: 'bound4', 6: 'bound6' };
/** Containers that are masqueraded towards where it is needed: `address . address`, so that one set says who it is and that it is itself. */
export const OWN: Named = { 4: 'own4', 6: 'own6' };
/** Containers towards which everybody is masqueraded. */
export const ALWAYS: Named = { 4: 'always4', 6: 'always6' };
/** The same containers, each with a link that leads to it, twice: what comes in by the link and leaves by it again. */
export const NEAR: Named = { 4: 'near4', 6: 'near6' };

const PROTOCOL: Named = { 4: 'ip', 6: 'ip6' };
const ADDRESS: Named = { 4: 'ipv4_addr', 6: 'ipv6_addr' };

interface Rule {
  chain: string;
  statement: string;
  comment: string;
}

const note = (text: string) => `${RULES_MARK} ${text}`;

function familyRules(family: IpFamily): Rule[] {
  const ip = PROTOCOL[family];
  const dnat = `dnat ${ip} to`;
  const own = `@${OWN[family]}`;
  return [
    {
      chain: 'published',
      statement: `${dnat} ${ip} daddr . meta l4proto . th dport map @${BOUND[family]}`,
      comment: note(`ports of one IPv${family} address`),
    },
    {
      chain: 'published',
      statement: `meta nfproto ipv${family} ${dnat} meta l4proto . th dport map @${PORTS[family]}`,
      comment: note(`ports of every IPv${family} address`),
    },
    {
      chain: 'postrouting',
      statement: `ct status dnat ${ip} daddr @${ALWAYS[family]} masquerade fully-random`,
      comment: note(`IPv${family}: whoever asks`),
    },
    {
      chain: 'postrouting',
      statement: `ct status dnat ${ip} saddr . ${ip} daddr ${own} masquerade fully-random`,
      comment: note(`IPv${family}: a container that asks itself`),
    },
    {
      chain: 'postrouting',
      statement: `ct status dnat ${ip} daddr . iifname . oifname @${NEAR[family]} masquerade fully-random`,
      comment: note(`IPv${family}: containers beside it`),
    },
  ];
}

/** Constant: every host with a published port has just these. */
export const PORT_RULES: readonly Rule[] = [
  {
    chain: 'prerouting',
    statement: 'fib daddr type local jump published',
    comment: note('from elsewhere to this host'),
  },
  {
    chain: 'output',
    statement: 'fib daddr type local jump published',
    comment: note('from this host to itself'),
  },
  ...familyRules(4),
  ...familyRules(6),
  {
    chain: 'postrouting',
    statement: `ct status dnat ip saddr 127.0.0.0/8 ip daddr . ip daddr @${OWN[4]} masquerade fully-random`,
    comment: note('IPv4: from localhost'),
  },
  {
    // A link that routes localhost out (route_localnet) would let it in as well.
    chain: 'guard',
    statement: 'iifname != "lo" ip daddr 127.0.0.0/8 drop',
    comment: note('localhost stays in this host'),
  },
];

export const PORT_CHAINS = ['published', 'prerouting', 'output', 'postrouting', 'guard'] as const;

const HOOKS: Readonly<Record<(typeof PORT_CHAINS)[number], string>> = {
  published: '',
  prerouting: 'type nat hook prerouting priority dstnat; policy accept;',
  output: 'type nat hook output priority -100; policy accept;',
  // Before our masquerade of containers that leave: the first rule that decides a connection's source wins.
  postrouting: 'type nat hook postrouting priority 90; policy accept;',
  guard: 'type filter hook prerouting priority -300; policy accept;',
};

/** Everything that does not depend on a container, as one nft transaction, safe to repeat; elements stay. */
export function portBase(): string[] {
  const at = `inet ${PORTS_TABLE}`;
  const perFamily = ([4, 6] as const).flatMap((family) => {
    const address = ADDRESS[family];
    return [
      `add map ${at} ${PORTS[family]} { type inet_proto . inet_service : ${address} . inet_service; ${COUNTED} comment "port of the host : container"; }`,
      `add map ${at} ${BOUND[family]} { type ${address} . inet_proto . inet_service : ${address} . inet_service; ${COUNTED} comment "port of one address of the host : container"; }`,
      `add set ${at} ${OWN[family]} { type ${address} . ${address}; comment "containers with published ports"; }`,
      `add set ${at} ${NEAR[family]} { type ${address} . ifname . ifname; comment "containers with published ports, and their links"; }`,
      `add set ${at} ${ALWAYS[family]} { type ${address}; comment "containers that see this host as the source"; }`,
    ];
  });
  return [
    `add table ${at} { comment "published ports (weft): rules are constant, a port is an element of a map"; }`,
    ...perFamily,
    ...PORT_CHAINS.map((chain) => `add chain ${at} ${chain}${HOOKS[chain] ? ` { ${HOOKS[chain]} }` : ''}`),
    ...PORT_CHAINS.map((chain) => `flush chain ${at} ${chain}`),
    ...PORT_RULES.map(
      ({ chain, statement, comment }) => `add rule ${at} ${chain} ${statement} comment "${comment}"`,
    ),
  ];
}

/** What the comments of a network's elements start with. */
const publicationPrefix = (network: string) => `${networkLabel(network, 40)} `;

/** The comment that says whose an element is: `<network> <container id> <interface>`. */
export function publicationMark({
  network,
  containerId,
  ifname,
}: AttachmentId & { network: string }): string {
  return ownerMarkWithin(127, { containerId: publicationPrefix(network) + containerId, ifname });
}

/** Whether a comment is of this network, and of none of the attachments: what a person wrote, and other networks', is not. */
export function staleIn(
  network: string,
  valid: readonly AttachmentId[],
): (comment: string | undefined) => boolean {
  const marks = new Set(valid.map((id) => publicationMark({ ...id, network })));
  const prefix = publicationPrefix(network);
  return (comment) => comment?.startsWith(prefix) === true && !marks.has(comment);
}

/** The address families in which a publication has containers' addresses, with these. */
export function containerAddresses({
  ports,
}: Pick<Publication, 'ports'>): { family: IpFamily; address: string }[] {
  const found = new Map(ports.map(({ family, address }) => [address, { family, address }]));
  return [...found.values()];
}

/** The lines that a person would type for one container on a host that has nothing of it yet. */
export function renderPorts(publication: Publication): string[] {
  const mark = publicationMark(publication);
  const element = (set: string, key: string, value = '') =>
    `add element inet ${PORTS_TABLE} ${set} { ${key} comment "${mark}"${value && ` : ${value}`} }`;
  const key = ({ protocol, hostAddress, hostPort }: PublishedPort) =>
    [...(hostAddress === undefined ? [] : [hostAddress]), protocol, hostPort].join(' . ');
  const own = containerAddresses(publication).flatMap(({ family, address }) => {
    if (publication.sourceNat === 'never') return [];
    if (publication.sourceNat === 'always') return [element(ALWAYS[family], address)];
    return [
      element(OWN[family], `${address} . ${address}`),
      ...publication.links.map((link) => element(NEAR[family], `${address} . "${link}" . "${link}"`)),
    ];
  });
  const commands = [
    ...portBase().filter((command) => !command.startsWith('flush ')),
    ...own,
    ...publication.ports.map((port) =>
      element(
        (port.hostAddress === undefined ? PORTS : BOUND)[port.family],
        key(port),
        `${port.address} . ${port.containerPort}`,
      ),
    ),
  ];
  return commands.map((command) => `nft '${command}'`);
}

/** For messages: `tcp 8080 : 10.88.0.5:80 in map inet weft-ports ports4`. */
export function elementWords(port: PublishedPort): string {
  const map = (port.hostAddress === undefined ? PORTS : BOUND)[port.family];
  return `element ${portWords(port)} : ${targetWords(port)} in map inet ${PORTS_TABLE} ${map}`;
}
