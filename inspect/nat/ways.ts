/** The way between the host and its containers: whether packets that are rewritten come back, and fit. */
import type { Link } from '../../netlink/link.ts';
import { quote } from '../../plan/render.ts';
import type { Finding } from '../finding.ts';
import type { Sketch, Snapshot } from '../host/snapshot.ts';
import { lookUp } from '../path/routing.ts';
import { containerAddress, type NatView } from './view.ts';

/** Where a container's link comes out on the host. */
interface Attached {
  container: string;
  address: string;
  inside: Link;
  /** The other end of its veth. */
  outside: Link;
  /** By which the host sees its packets: the bridge, or the other end itself. */
  by: Link;
}

/** The containers that something rewrites addresses for, as far as their namespaces can be seen. */
function attached({ host, near, entries, containers }: NatView): Attached[] {
  const addresses = new Set(entries.flatMap((entry) => containerAddress(entry) ?? []));
  const names = new Map(
    containers.flatMap(({ id, name, namespace }) => (namespace ? [[namespace, name ?? id] as const] : [])),
  );
  const found: Attached[] = [];
  for (const sketch of near) {
    if (sketch.identity === host.identity) continue;
    for (const { address, link } of sketch.addresses) {
      if (!addresses.has(address)) continue;
      const ends = endsOf(host, sketch, link);
      if (ends) found.push({ container: names.get(sketch.identity) ?? address, address, ...ends });
    }
  }
  return found;
}

function endsOf(
  host: Snapshot,
  sketch: Sketch,
  index: number,
): Pick<Attached, 'inside' | 'outside' | 'by'> | undefined {
  const inside = sketch.links.find((link) => link.index === index);
  if (inside?.kind !== 'veth' || sketch.peers.get(index) !== host.identity) return undefined;
  const outside = host.links.find((link) => link.index === inside.link);
  if (outside === undefined) return undefined;
  const by = host.links.find((link) => link.index === outside.master && link.kind === 'bridge') ?? outside;
  return { inside, outside, by };
}

const strict = ({ sysctls }: Snapshot, link: string) =>
  Math.max(...['all', link].map((one) => sysctls.get(`ipv4/conf/${one}/rp_filter`) ?? 0)) === 1;

/** Strict reverse path filtering drops what came by another link than its answer would take (RFC 3704). */
export function reversePathDrops(view: NatView): Finding[] {
  return [...containersElsewhere(view), ...secondUplinks(view)];
}

function containersElsewhere(view: NatView): Finding[] {
  const { host } = view;
  return attached(view).flatMap(({ container, address, by }) => {
    if (address.includes(':') || !strict(host, by.name)) return [];
    const back = lookUp(host, { tuple: { family: 4, destination: address } });
    if (back.link === undefined || back.link.index === by.index) return [];
    return [
      {
        ...reversePath(by.name),
        severity: 'error' as const,
        what: `rp_filter of ${by.name} drops what container ${container} sends: the way back to ${address} is ${back.link.name}`,
        why: `packets from ${address} come in by ${by.name}, and the route ${back.route?.dst ?? 'there'} leads elsewhere`,
        subject: container,
      },
    ];
  });
}

function secondUplinks({ host, entries }: NatView): Finding[] {
  if (!entries.some(({ kind }) => kind === 'dnat')) return [];
  const uplinks = new Set(
    host.routes.flatMap(({ dst, gateway, link }) => (dst === '0.0.0.0/0' && gateway ? [link] : [])),
  );
  if (uplinks.size < 2) return [];
  return host.links.flatMap((link) => {
    const own = host.addresses.find((one) => one.link === link.index && one.address.includes('.'));
    if (!uplinks.has(link.index) || own === undefined || !strict(host, link.name)) return [];
    const back = lookUp(host, { tuple: { family: 4, source: own.address, destination: '192.0.2.1' } });
    if (back.link === undefined || back.link.index === link.index) return [];
    return [
      {
        ...reversePath(link.name),
        severity: 'warning' as const,
        what: `rp_filter of ${link.name} drops connections from afar to ports published on ${own.address}`,
        why: `the default route that counts is by ${back.link.name}, so who comes by ${link.name} fails the strict check, unless there is a nearer route`,
        subject: link.name,
      },
    ];
  });
}

const reversePath = (link: string) => ({
  code: 'rp-filter-drops',
  // With slashes: a link's name may have dots.
  mend: [`sysctl -w ${quote(`net/ipv4/conf/${link}/rp_filter=2`)}`],
  safe: false,
});

/** Too large for the next link: dropped in silence inside a host, by ICMP at best outside. */
export function mtuMismatch(view: NatView): Finding[] {
  const found = new Map<string, Finding>();
  for (const one of attached(view)) {
    const { inside, outside, by, container } = one;
    if (inside.mtu > outside.mtu || inside.mtu > by.mtu) {
      const narrow = inside.mtu > outside.mtu ? outside : by;
      found.set(`${container} ${inside.name}`, {
        ...tooLarge,
        severity: 'error',
        what: `container ${container}: ${inside.name} has MTU ${inside.mtu}, and ${narrow.name} on the host only ${narrow.mtu}`,
        why: 'packets between both sizes are dropped without a word to the sender: connections hang as soon as they carry data',
        mend: [`ip link set ${quote(narrow.name)} mtu ${inside.mtu}`],
        subject: container,
      });
      continue;
    }
    const out = narrowestWayOut(view.host, by);
    if (out === undefined || out.mtu >= inside.mtu) continue;
    found.set(`${by.name} ${out.name}`, {
      ...tooLarge,
      severity: 'warning',
      what: `containers on ${by.name} send packets of ${inside.mtu} bytes, and ${out.name}, by which they leave, takes ${out.mtu}`,
      why: 'this host tells them by ICMP to send less; where a rule or another host drops ICMP, connections hang as soon as they carry data',
      mend: [],
      subject: by.name,
    });
  }
  return [...found.values()];
}

const tooLarge = { code: 'mtu-mismatch', safe: false } as const;

/** Of the links by which routes lead to other hosts. */
function narrowestWayOut(host: Snapshot, from: Link): Link | undefined {
  const indexes = new Set(
    host.routes.flatMap(({ gateway, link }) => (gateway !== undefined && link !== from.index ? [link] : [])),
  );
  return host.links.filter(({ index }) => indexes.has(index)).sort((a, b) => a.mtu - b.mtu)[0];
}
