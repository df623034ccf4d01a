/** Which ways packets are asked to take: out of the host, between neighbours on a bridge, in by published ports. */
import { attached, type DoctorView, type Way } from '../../inspect/doctor/view.ts';
import type { Gathered } from '../../inspect/path/gather.ts';
import { parseDestination } from '../trace/parse.ts';
import { questionFor } from '../trace/question.ts';

/** So many containers of each bridge, bridges, and published ports: what is wrong for one is wrong for its like. */
const PER_BRIDGE = 2;
const BRIDGES = 4;
const PORTS = 4;

const DEFAULT_ROUTE = { 4: '0.0.0.0/0', 6: '::/0' } as const;
/** Somebody behind a router that has no address but that of its link. Documentation prefix (RFC 3849). */
const FAR = '2001:db8::1';

/** What one way is asked for. */
interface Asked {
  from: string;
  to: string;
  family: 4 | 6;
}

/** Predictions; what cannot be asked (no route outside, no address of the family) is left out. */
export async function predictWays(gathered: Gathered, { nat }: Pick<DoctorView, 'nat'>): Promise<Way[]> {
  const { host } = nat;
  const own = new Set([host.identity, ...nat.near.map(({ identity }) => identity)]);
  const routers = { 4: routerOf(nat, 4), 6: routerOf(nat, 6) };
  // A simulated outside has a link to the host, and is none of its containers.
  for (const { identity, addresses } of nat.near) {
    if (
      addresses.some(
        ({ address }) => address === routers[4] || (address === routers[6] && !isLinkLocal(address)),
      )
    )
      own.delete(identity);
  }
  const asked = ([4, 6] as const).flatMap((family) => [
    ...betweenContainers(samples({ nat }, own, family), family, routers[family]),
    ...publishedPorts({ nat }, family).map((to): Asked => ({ from: 'outside', to, family })),
  ]);
  const ways = await Promise.all(asked.map((one) => predictWay(gathered, own, one)));
  return ways.flatMap((way) => way ?? []);
}

function routerOf({ host }: DoctorView['nat'], family: 4 | 6): string | undefined {
  return host.routes.find(({ dst, gateway }) => dst === DEFAULT_ROUTE[family] && gateway)?.gateway;
}

const isLinkLocal = (address: string) => /^fe[89ab]/i.test(address);

function betweenContainers(groups: readonly Sample[][], family: 4 | 6, router: string | undefined): Asked[] {
  return groups.flatMap(([one, other]): Asked[] => {
    if (one === undefined) return [];
    const out =
      router === undefined ? [] : [{ from: one.path, to: isLinkLocal(router) ? FAR : router, family }];
    const isApart = other === undefined || (one.isolated && other.isolated);
    return isApart ? out : [...out, { from: one.path, to: other.address, family }];
  });
}

async function predictWay(
  gathered: Gathered,
  own: ReadonlySet<string>,
  { from, to, family }: Asked,
): Promise<Way | undefined> {
  try {
    const question = await questionFor(gathered, { from, to: parseDestination(to), family });
    const start = gathered.placeOf(question.namespace);
    const words =
      from === 'outside' ? `from outside to ${to}` : `from container ${start.container ?? from} to ${to}`;
    const named = from === 'outside' ? from : (start.container ?? from);
    // What says its family by an address needs no option.
    const option = family === 6 && to.startsWith(':') && !to.startsWith('::') ? ' --ipv6' : '';
    const prediction = await gathered.predict(question);
    return {
      ...{ own, prediction, published: from === 'outside' },
      words: `${words}${option === '' ? '' : ' by IPv6'}`,
      command: `weft trace ${named} ${to}${option}`,
    };
  } catch {
    // Nothing that anybody could be told about this host: it has no such address, or the namespace went meanwhile.
    return undefined;
  }
}

interface Sample {
  path: string;
  address: string;
  /** Isolated ports do not reach each other: a check of its own tells whether that was wanted. */
  isolated: boolean;
}

function samples(view: Pick<DoctorView, 'nat'>, own: ReadonlySet<string>, family: 4 | 6): Sample[][] {
  const groups = new Map<string, Sample[]>();
  for (const { sketch, addresses, bridge, outside } of attached(view)) {
    const address = addresses.find((found) => found.address.includes(':') === (family === 6))?.address;
    if (!own.has(sketch.identity) || address === undefined) continue;
    // Links without a bridge are each a network, and all alike.
    const key = bridge === undefined ? `routed ${outside.kind}` : bridge.name;
    const group = groups.get(key) ?? [];
    if (group.length < PER_BRIDGE)
      groups.set(key, [...group, { path: sketch.path, address, isolated: outside.port?.isolated === true }]);
  }
  return [...groups.values()].slice(0, BRIDGES);
}

/** `198.51.100.1:8080`, `[fd00::1]:8080/udp`, `:8080/udp`; those of programs that listen on the host itself are none. */
function publishedPorts({ nat: { entries } }: Pick<DoctorView, 'nat'>, wanted: 4 | 6): string[] {
  const ports = entries.flatMap(
    ({ kind, ports, protocols, destinations, sources, in: comes, chance, container, family, to }) => {
      const [port] = ports;
      const [protocol] = protocols;
      const [address = ''] = destinations;
      const isSimple =
        sources.length + comes.length === 0 && !chance && ports.length === 1 && /^\d+$/.test(port ?? '');
      const isWanted = (family ?? (to?.address?.includes(':') ? 6 : 4)) === wanted;
      if (kind !== 'dnat' || container === undefined || !isSimple || !isWanted) return [];
      if (destinations.length > 1 || /[/@-]/.test(address)) return [];
      const at = address.includes(':') ? `[${address}]` : address;
      return protocol === 'tcp' || protocol === 'udp' ? [`${at}:${port}/${protocol}`] : [];
    },
  );
  return [...new Set(ports)].slice(0, PORTS);
}
