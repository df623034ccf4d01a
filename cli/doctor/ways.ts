/** Which ways packets are asked to take: out of the host, between neighbours on a bridge, in by published ports. */
import { attached, type DoctorView, type Way } from '../../inspect/doctor/view.ts';
import type { Gathered } from '../../inspect/path/gather.ts';
import { parseDestination } from '../trace/parse.ts';
import { questionFor } from '../trace/question.ts';

/** So many containers of each bridge, bridges, and published ports: what is wrong for one is wrong for its like. */
const PER_BRIDGE = 2;
const BRIDGES = 4;
const PORTS = 4;

/** Predictions; what cannot be asked (no route outside, no address of the family) is left out. */
export async function predictWays(gathered: Gathered, { nat }: Pick<DoctorView, 'nat'>): Promise<Way[]> {
  const { host } = nat;
  const own = new Set([host.identity, ...nat.near.map(({ identity }) => identity)]);
  const router = host.routes.find(({ dst, gateway }) => dst === '0.0.0.0/0' && gateway)?.gateway;
  // A simulated outside has a link to the host, and is none of its containers.
  const outside = nat.near.find(({ addresses }) => addresses.some(({ address }) => address === router));
  if (outside !== undefined) own.delete(outside.identity);
  const asked: [from: string, to: string][] = [];
  for (const group of samples({ nat }, own)) {
    const [one, other] = group;
    if (one === undefined) continue;
    if (router !== undefined) asked.push([one.path, router]);
    if (other?.address !== undefined && !(one.isolated && other.isolated))
      asked.push([one.path, other.address]);
  }
  for (const port of publishedPorts({ nat })) asked.push(['outside', port]);
  const ways: Way[] = [];
  for (const [from, to] of asked) {
    try {
      const question = await questionFor(gathered, { from, to: parseDestination(to) });
      const start = gathered.placeOf(question.namespace);
      const words =
        from === 'outside' ? `from outside to ${to}` : `from container ${start.container ?? from} to ${to}`;
      const named = from === 'outside' ? from : (start.container ?? from);
      const prediction = await gathered.predict(question);
      ways.push({ words, command: `weft trace ${named} ${to}`, own, prediction });
    } catch {
      // Nothing that anybody could be told about this host: it has no such address, or the namespace went meanwhile.
    }
  }
  return ways;
}

interface Sample {
  path: string;
  address: string | undefined;
  /** Isolated ports do not reach each other: a check of its own tells whether that was wanted. */
  isolated: boolean;
}

function samples(view: Pick<DoctorView, 'nat'>, own: ReadonlySet<string>): Sample[][] {
  const groups = new Map<string, Sample[]>();
  for (const { sketch, addresses, bridge, outside } of attached(view)) {
    const address = addresses.find((found) => !found.address.includes(':'))?.address;
    if (!own.has(sketch.identity) || address === undefined) continue;
    // Links without a bridge are each a network, and all alike.
    const key = bridge === undefined ? `routed ${outside.kind}` : bridge.name;
    const group = groups.get(key) ?? [];
    if (group.length < PER_BRIDGE)
      groups.set(key, [...group, { path: sketch.path, address, isolated: outside.port?.isolated === true }]);
  }
  return [...groups.values()].slice(0, BRIDGES);
}

/** `198.51.100.1:8080`, `:8080/udp`; those of programs that listen on the host itself are none. */
function publishedPorts({ nat: { entries } }: Pick<DoctorView, 'nat'>): string[] {
  const ports = entries.flatMap(
    ({ kind, ports, protocols, destinations, sources, in: comes, chance, container, family }) => {
      const [port] = ports;
      const [protocol] = protocols;
      const isSimple =
        sources.length + comes.length === 0 && !chance && ports.length === 1 && /^\d+$/.test(port ?? '');
      if (kind !== 'dnat' || container === undefined || !isSimple || family === 6) return [];
      if (destinations.length > 1 || destinations[0]?.includes(':') || destinations[0]?.includes('/'))
        return [];
      return protocol === 'tcp' || protocol === 'udp' ? [`${destinations[0] ?? ''}:${port}/${protocol}`] : [];
    },
  );
  return [...new Set(ports)].slice(0, PORTS);
}
