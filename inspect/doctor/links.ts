/** The links between the host and its containers. */
import { networkOf } from '../../cni/prefix.ts';
import { ipCommand } from '../../plan/render.ts';
import type { Finding } from '../finding.ts';
import { type Attached, attached, type DoctorView } from './view.ts';

export function linksDown(view: DoctorView): Finding[] {
  const { host } = view.nat;
  const all = attached(view);
  const bridges = new Map(all.flatMap(({ bridge }) => (bridge ? [[bridge.index, bridge]] : [])));
  const down = (name: string, words: string, why: string): Finding => ({
    code: 'link-down',
    severity: 'error',
    what: `${words} is down`,
    why,
    mend: [`ip link set ${name} up`],
    // Nothing goes through it now.
    safe: true,
    subject: name,
  });
  return [
    ...all.flatMap(({ container, inside, outside }) =>
      outside.up || !inside.up
        ? []
        : [
            down(
              outside.name,
              `${outside.name}, the host's end of ${inside.name} of container ${container},`,
              'the container reaches nobody, and nobody reaches it',
            ),
          ],
    ),
    ...[...bridges.values()]
      .filter(({ up }) => !up)
      .map(({ name }) =>
        down(name, `bridge ${name}`, 'its containers reach neither each other nor the host'),
      ),
    ...host.links
      .filter(({ kind, alias, up }) => kind === 'vxlan' && isOurs(alias) && !up)
      .map(({ name }) => down(name, `tunnel ${name}`, 'containers on other hosts are not reached')),
  ];
}

const isOurs = (alias: string | undefined) => alias?.startsWith('weft ') ?? false;

/** The container asks for its gateway on a bridge that its link is no port of. */
export function outOfBridge(view: DoctorView): Finding[] {
  const { host } = view.nat;
  return attached(view).flatMap(({ container, inside, outside, addresses, bridge }): Finding[] => {
    if (outside.master !== undefined || bridge !== undefined) return [];
    const own = host.addresses.some(({ link, scope }) => link === outside.index && scope === 0);
    const wanted = host.links.find(
      ({ index, kind }) =>
        kind === 'bridge' &&
        host.addresses.some(
          (one) =>
            one.link === index &&
            one.prefixLength < (one.address.includes(':') ? 128 : 32) &&
            addresses.some(
              ({ cidr, prefixLength }) =>
                prefixLength === one.prefixLength && networkOf(cidr) === networkOf(one.cidr),
            ),
        ),
    );
    if (wanted === undefined || own) return [];
    return [
      {
        code: 'port-out-of-bridge',
        severity: 'error',
        what: `${outside.name}, the host's end of ${inside.name} of container ${container}, is in no bridge; its network is on ${wanted.name}`,
        why: 'the container reaches nobody, not even its gateway',
        mend: [`ip link set ${outside.name} master ${wanted.name}`],
        safe: isOurs(outside.alias),
        subject: outside.name,
      },
    ];
  });
}

/** Isolated ports of a bridge do not reach each other; where ADD did not ask for it, somebody did. */
export function isolatedPorts(view: DoctorView): Finding[] {
  return attached(view).flatMap(({ container, outside, bridge }): Finding[] => {
    if (bridge === undefined || outside.port?.isolated !== true || wantsIsolation(view, container)) return [];
    return [
      {
        code: 'port-isolated',
        severity: 'warning',
        what: `${outside.name}, the host's end of container ${container}, is an isolated port of ${bridge.name}`,
        why: 'isolated ports of one bridge exchange nothing: containers whose ports are isolated reach the host, but not each other',
        mend: [`bridge link set dev ${outside.name} isolated off`],
        safe: false,
        subject: outside.name,
      },
    ];
  });
}

/** The configuration that it was attached with says so. */
function wantsIsolation({ nat, results }: DoctorView, container: string): boolean {
  const one = nat.containers.find(({ id, name }) => id === container || name === container);
  return results.some(
    ({ containerId, config = '' }) =>
      containerId === one?.id && /"(portIsolation|isolated|isolation)"\s*:\s*true/i.test(config),
  );
}

/** Links that carry our mark, and nobody wrote down why. */
export function linksWithoutOwner(view: DoctorView): Finding[] {
  const living = new Map(attached(view).map((one) => [one.outside.index, one]));
  return view.nat.host.links.flatMap(({ index, name, kind, alias = '' }): Finding[] => {
    const [, network, containerId, ifname] = /^weft (\S+) (\S+) (\S+)$/.exec(alias) ?? [];
    if (kind !== 'veth' || network === undefined || view.recorded.has(`${network} ${containerId} ${ifname}`))
      return [];
    const known = view.results.some((one) => one.network === network && one.containerId === containerId);
    const leased = view.leases.some((one) => one.network === network && one.containerId === containerId);
    if (known || leased) return [];
    const other = living.get(index);
    return [
      {
        code: 'link-without-owner',
        severity: 'warning',
        what: `${name} was made for ${ifname} of container ${containerId} on network ${network}, which nobody knows: no record, no lease, no result`,
        why: `${other === undefined ? 'its other end is in a namespace that cannot be seen from here' : `its other end is ${other.inside.name} of ${other.container}`}; nobody will remove it`,
        mend: [`ip link del ${name}`],
        safe: false,
        subject: name,
      },
    ];
  });
}

/** Two links of one bridge with one MAC: the bridge sends to where it saw it last. */
export function duplicateMacs(view: DoctorView): Finding[] {
  const groups = new Map<string, Attached[]>();
  for (const one of attached(view)) {
    if (one.bridge === undefined || one.inside.mac === undefined) continue;
    const group = `${one.bridge.name} ${one.inside.mac}`;
    groups.set(group, [...(groups.get(group) ?? []), one]);
  }
  return [...groups.values()].flatMap((group): Finding[] => {
    const [first, second] = group;
    if (first === undefined) return [];
    const last = second ?? first;
    const { mac = '' } = first.inside;
    const isBridges = first.bridge?.mac === mac;
    if (second === undefined && !isBridges) return [];
    const all = [
      ...group.map(({ container }) => `container ${container}`),
      ...(isBridges ? ['the bridge itself'] : []),
    ];
    return [
      {
        code: 'mac-duplicate',
        severity: 'error',
        what: `${mac} is there twice on bridge ${first.bridge?.name}: ${all.join(' and ')}`,
        why: 'the bridge sends every frame to the one that it heard last: connections of both break at random',
        mend: [
          ipCommand('container', last.sketch.path, 'link', 'set', last.inside.name, 'address', freshMac(mac)),
        ],
        safe: false,
        subject: mac,
      },
    ];
  });
}

/** Another locally administered one. */
function freshMac(mac: string): string {
  const last = Number.parseInt(mac.slice(-2), 16) ^ 1;
  return `${mac.slice(0, -2)}${last.toString(16).padStart(2, '0')}`;
}
