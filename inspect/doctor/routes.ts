/** Whether the host and its containers agree on the way between them. */
import type { Finding } from '../finding.ts';
import { lookUp, within } from '../path/routing.ts';
import { attached, type DoctorView } from './view.ts';

/** A route of the host that is more exact, or a rule of routing policy, takes packets for a container elsewhere. */
export function routesElsewhere(view: DoctorView): Finding[] {
  const { host } = view.nat;
  const found = new Map<string, Finding>();
  for (const one of attached(view)) {
    const by = one.bridge ?? one.outside;
    // A link that has neither an address nor a route of the host has a fault of its own.
    const isUsed = [...host.addresses, ...host.routes].some(
      (found) =>
        found.link === by.index &&
        !('scope' in found && 'cidr' in found && found.scope !== 0) &&
        !('dst' in found && /^(fe80|ff00)/.test(found.dst)),
    );
    for (const { address, cidr } of one.addresses) {
      if (!isUsed || host.addresses.some((own) => own.address === address)) continue;
      const six = address.includes(':');
      const { kind, link, route } = lookUp(host, { tuple: { family: six ? 6 : 4, destination: address } });
      const isNearby = link?.index === by.index || isSecond(view, address, link?.index);
      if (kind === 'none' || isNearby || route === undefined) continue;
      // A bridge without a route of its own to the network: others care for it.
      if (
        isDefault(route.dst) &&
        !host.routes.some((other) => other.link === by.index && within(address, other.dst))
      )
        continue;
      const way = link === undefined ? kind : `by ${link.name}`;
      found.set(`${route.dst} ${way}`, {
        code: 'route-elsewhere',
        severity: 'error',
        what: `${cidr} of container ${one.container} is behind ${by.name}, and the host sends what is for it ${way} (route ${route.dst})`,
        why: 'answers and published ports never reach the container',
        mend: [
          `ip ${six ? '-6 ' : ''}route del ${kind === 'unicast' ? '' : `${kind} `}${route.dst}${link === undefined ? '' : ` dev ${link.name}`}`,
        ],
        safe: false,
        subject: address,
      });
    }
  }
  return [...found.values()];
}

const isDefault = (dst: string) => dst === '0.0.0.0/0' || dst === '::/0';

/** The same container has another link with that address. */
function isSecond(view: DoctorView, address: string, index: number | undefined): boolean {
  return attached(view).some(
    (other) =>
      (other.bridge ?? other.outside).index === index &&
      other.addresses.some((found) => found.address === address),
  );
}

/** The container's default route leads to an address that its bridge has not. */
export function gatewaysGone(view: DoctorView): Finding[] {
  const { near } = view.nat;
  const all = new Set(near.flatMap(({ addresses }) => addresses.map(({ address }) => address)));
  const found = new Map<string, Finding & { containers: string[] }>();
  for (const { container, sketch, inside, addresses, bridge } of attached(view)) {
    if (bridge === undefined) continue;
    for (const { dst, gateway, link } of view.inside.get(sketch.identity)?.routes ?? []) {
      if (!isDefault(dst) || gateway === undefined || link !== inside.index || gateway.startsWith('fe80'))
        continue;
      const own = addresses.find(
        ({ cidr }) => cidr.includes(':') === gateway.includes(':') && within(gateway, cidr),
      );
      const known = found.get(`${bridge.name} ${gateway}`);
      known?.containers.push(container);
      // A gateway behind the bridge is the network's own affair; so is a bridge that never had an address.
      if (known || all.has(gateway) || own === undefined || !isPlain(view, bridge.index)) continue;
      const cidr = `${gateway}/${own.prefixLength}`;
      found.set(`${bridge.name} ${gateway}`, {
        code: 'gateway-gone',
        severity: 'error',
        what: `${bridge.name} has not ${gateway}, which is the gateway of container ${container}`,
        why: 'containers on that bridge reach each other, but neither the host nor anybody beyond',
        mend: [`ip ${gateway.includes(':') ? '-6 ' : ''}addr add ${cidr} dev ${bridge.name}`],
        safe: false,
        subject: bridge.name,
        containers: [container],
      });
    }
  }
  return [...found.values()].map(({ containers, ...finding }) =>
    containers.length === 1
      ? finding
      : { ...finding, what: `${finding.what} and of ${containers.length - 1} more` },
  );
}

/** Every port of the bridge leads to a container: then nobody but the host can be the gateway. */
function isPlain({ nat: { host } }: DoctorView, bridge: number): boolean {
  return host.links.every(({ master, kind }) => master !== bridge || kind === 'veth');
}
