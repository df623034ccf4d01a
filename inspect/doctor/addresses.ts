/** Addresses of containers: there once, known by the right MAC, and as ADD promised them. */
import { ipCommand } from '../../plan/render.ts';
import type { Finding } from '../finding.ts';
import { promisedAddresses } from './leases.ts';
import { type Attached, attached, type DoctorView } from './view.ts';

interface Holder {
  words: string;
  one: Attached | undefined;
}

/** One address at two links of one bridge, or at a container and the host. */
export function duplicateAddresses(view: DoctorView): Finding[] {
  const holders = new Map<string, Holder[]>();
  const hold = (address: string, holder: Holder) =>
    holders.set(address, [...(holders.get(address) ?? []), holder]);
  for (const one of attached(view)) {
    for (const { address } of one.addresses)
      hold(address, { words: `container ${one.container} (${one.inside.name})`, one });
  }
  for (const { address, link, scope } of view.nat.host.addresses) {
    const name = view.nat.host.links.find(({ index }) => index === link)?.name;
    if (scope === 0 && holders.has(address)) hold(address, { words: `this host (${name})`, one: undefined });
  }
  return [...holders].flatMap(([address, all]): Finding[] => {
    if (all.length < 2) return [];
    const last = all.findLast(({ one }) => one !== undefined)?.one;
    const cidr = last?.addresses.find((found) => found.address === address)?.cidr ?? address;
    return [
      {
        code: 'address-duplicate',
        severity: 'error',
        what: `${address} is there ${all.length} times: ${all.map(({ words }) => words).join(' and ')}`,
        why: 'whoever answers first gets the packets: connections to it break at random, or go to the wrong one',
        mend:
          last === undefined
            ? []
            : [ipCommand('container', last.sketch.path, 'addr', 'del', cidr, 'dev', last.inside.name)],
        safe: false,
        subject: address,
      },
    ];
  });
}

/** The host, or a container beside it, knows an address by another MAC than its owner's, and will not ask again. */
export function wrongNeighbours(view: DoctorView): Finding[] {
  const { host } = view.nat;
  const all = attached(view);
  const macs = new Map(
    all.flatMap(({ inside, addresses, container, bridge, outside }) =>
      addresses.map(({ address }) => [
        address,
        { mac: inside.mac, container, by: bridge?.index ?? outside.index },
      ]),
    ),
  );
  const found = host.neighbours.flatMap(({ address, mac, link, permanent }): Finding[] => {
    const owner = macs.get(address);
    if (owner === undefined || owner.by !== link || !isWrong(mac, owner.mac, permanent)) return [];
    const name = host.links.find(({ index }) => index === link)?.name ?? '';
    return [
      wrong('the host', undefined, {
        address,
        mac,
        owner: `container ${owner.container}`,
        right: owner.mac,
        name,
      }),
    ];
  });
  const inside = all.flatMap(({ sketch, container, inside: link, bridge, outside }): Finding[] => {
    const by = bridge ?? outside;
    return (view.inside.get(sketch.identity)?.neighbours ?? []).flatMap((entry): Finding[] => {
      if (entry.link !== link.index) return [];
      const isHosts = host.addresses.some(
        ({ address, link: at }) => address === entry.address && at === by.index,
      );
      const peer =
        bridge && macs.get(entry.address)?.by === bridge.index ? macs.get(entry.address) : undefined;
      const right = isHosts ? by.mac : peer?.mac;
      if (right === undefined || !isWrong(entry.mac, right, entry.permanent)) return [];
      const owner = isHosts ? `${by.name} of the host` : `container ${peer?.container}`;
      return [
        wrong(`container ${container}`, sketch.path, {
          ...{ address: entry.address, mac: entry.mac, owner, right, name: link.name },
        }),
      ];
    });
  });
  return [...found, ...inside];
}

/** What the kernel found out by itself it finds out again. */
const isWrong = (mac: string | undefined, right: string | undefined, permanent: boolean) =>
  permanent && mac !== undefined && right !== undefined && mac !== right;

function wrong(
  who: string,
  netns: string | undefined,
  entry: { address: string; mac: string | undefined; owner: string; right: string | undefined; name: string },
): Finding {
  const { address, mac, owner, right, name } = entry;
  return {
    code: 'neighbour-wrong',
    severity: 'error',
    what: `${who} knows ${address} by ${mac}, for ever (on ${name}); ${owner} has it, by ${right}`,
    why: 'its packets to that address are addressed to nobody, or to somebody else, and it does not ask again',
    mend: [
      ipCommand(
        netns === undefined ? 'host' : 'container',
        netns ?? '',
        'neigh',
        'del',
        address,
        'dev',
        name,
      ),
    ],
    // The kernel asks who has it.
    safe: true,
    subject: address,
  };
}

/** What ADD promised of addresses and routes, and the container has not. */
export function promisesBroken(view: DoctorView): Finding[] {
  const ids = new Map(
    view.nat.containers.flatMap(({ id, namespace }) => (namespace ? [[namespace, id]] : [])),
  );
  return attached(view).flatMap((one): Finding[] => {
    const id = ids.get(one.sketch.identity) ?? '';
    return view.results
      .filter(({ containerId, ifname }) => containerId === id && ifname === one.inside.name)
      .flatMap(({ network, result }) => [
        ...promisedAddresses(view, network, id, one.inside.name)
          .filter((address) => !one.sketch.addresses.some((found) => found.address === address))
          .map((address) => addressGone(one, network, address)),
        ...routesGone(view, one, network, (result ?? {}) as Promised),
      ]);
  });
}

function addressGone({ container, inside, sketch }: Attached, network: string, address: string): Finding {
  return {
    code: 'address-gone',
    severity: 'error',
    what: `container ${container} has lost ${address}, which network ${network} gave to its ${inside.name}`,
    why: 'nobody answers for the address, and it stays leased',
    mend: [`weft net del ${network} ${sketch.path}`, `weft net add ${network} ${sketch.path}`],
    safe: false,
    subject: address,
  };
}

interface Promised {
  ips?: unknown;
  routes?: unknown;
}

/** Of the default routes alone: others may be changed by those who live in the container. */
function routesGone(view: DoctorView, one: Attached, network: string, { ips, routes }: Promised): Finding[] {
  const there = view.inside.get(one.sketch.identity)?.routes;
  if (there === undefined) return [];
  return (Array.isArray(routes) ? routes : []).flatMap(
    (route: { dst?: unknown; gw?: unknown }): Finding[] => {
      const { dst } = route;
      if (dst !== '0.0.0.0/0' && dst !== '::/0') return [];
      if (there.some((found) => found.dst === dst)) return [];
      const six = dst === '::/0';
      const gateways = (Array.isArray(ips) ? ips : []).map(({ gateway }: { gateway?: unknown }) => gateway);
      const via = [route.gw, ...gateways].find(
        (word) => typeof word === 'string' && word.includes(':') === six,
      );
      return [
        {
          code: 'default-route-gone',
          severity: 'error',
          what: `container ${one.container} has no ${six ? 'IPv6' : 'IPv4'} default route any more; network ${network} gave it one by ${one.inside.name}`,
          why: 'it reaches its own network and nothing beyond',
          mend:
            typeof via === 'string'
              ? [
                  ipCommand(
                    'container',
                    one.sketch.path,
                    six && '-6',
                    'route',
                    'add',
                    'default',
                    'via',
                    via,
                    'dev',
                    one.inside.name,
                  ),
                ]
              : [],
          safe: false,
          subject: one.container,
        },
      ];
    },
  );
}
