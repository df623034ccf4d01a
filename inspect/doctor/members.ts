/** This host among the others of its networks. */
import { overlap } from '../../cni/prefix.ts';
import type { Link } from '../../netlink/link.ts';
import type { Finding } from '../finding.ts';
import { lookUp } from '../path/routing.ts';
import type { DoctorView, Membership } from './view.ts';

/** Bytes that VXLAN adds over IPv4 (RFC 7348), and over IPv6. */
const VXLAN = { 4: 50, 6: 70 } as const;

export function memberships(view: DoctorView): Finding[] {
  return view.memberships.flatMap((one) => [
    ...registry(one, view.now),
    ...sameSubnets(one),
    ...unreachable(one, view),
    ...tooLarge(one, view),
  ]);
}

function registry(membership: Membership, now: number): Finding[] {
  const { network, where, kept, reachable, error, joined, validUntil, problems } = membership;
  const about = { safe: false, subject: network } as const;
  const findings: Finding[] = [];
  if (kept && !reachable) {
    findings.push({
      ...about,
      code: 'registry-unreachable',
      severity: 'warning',
      what: `network ${network}: ${where || 'its registry'} does not answer${error === undefined ? '' : `: ${error}`}`,
      why: 'containers keep their network, and changes on other hosts are not seen',
      mend: [],
    });
  }
  if (!kept) {
    findings.push({
      ...about,
      ...{
        code: 'network-not-kept',
        severity: 'warning',
        what: `network ${network}: no agent looks after it`,
      },
      why: 'the kernel has it as the last one left it: hosts that come and go are not seen, what the registry vouches for runs out',
      mend: [`weft agent --registry ${where || 'REGISTRY'}`],
    });
  } else if (!joined) {
    findings.push({
      ...about,
      ...{
        code: 'network-not-joined',
        severity: 'error',
        what: `network ${network}: this host is no member`,
      },
      why: 'it holds no subnet: nothing can be attached',
      mend: [],
    });
  }
  if (validUntil !== undefined && validUntil < now) {
    findings.push({
      ...about,
      code: 'registry-lease-expired',
      severity: 'error',
      what: `network ${network}: the registry's lease on what this host holds ran out ${Math.round((now - validUntil) / 1000)} seconds ago, by this host's clock`,
      why: 'another host may be given the same subnet; or this clock is wrong (timedatectl)',
      mend: [],
    });
  }
  return [
    ...findings,
    ...problems.map(
      (problem): Finding => ({
        ...about,
        ...{ code: 'network-problem', severity: 'error', what: problem },
        why: 'the agent, or the registry, says so',
        mend: [],
      }),
    ),
  ];
}

/** Two hosts that hold the same addresses, or one that another host has an address in. */
function sameSubnets({ network, members }: Membership): Finding[] {
  const held = members.flatMap(({ host, subnets }) => subnets.map((subnet) => ({ host, subnet })));
  return held.flatMap((one, i) =>
    held.slice(i + 1).flatMap((other): Finding[] =>
      one.host === other.host || !overlap(one.subnet, other.subnet)
        ? []
        : [
            {
              code: 'subnet-held-twice',
              severity: 'error',
              what: `network ${network}: ${one.host} holds ${one.subnet}, and ${other.host} holds ${other.subnet}`,
              why: 'containers of both hosts get the same addresses, and each other host reaches only one of them',
              mend: [`weft network leave ${network}`],
              safe: false,
              subject: `${network} ${one.subnet}`,
            },
          ],
    ),
  );
}

/** No route to another host's address: then none to its containers either. */
function unreachable({ network, device, members }: Membership, { nat: { host } }: DoctorView): Finding[] {
  const tunnel = host.links.find(({ name, kind }) => name === device && kind === 'vxlan');
  return members
    .filter(({ self }) => !self)
    .flatMap(({ host: name, addresses }) =>
      (tunnel === undefined ? addresses : carriers(addresses, tunnel)).flatMap((address): Finding[] => {
        const { kind } = lookUp(host, {
          tuple: { family: address.includes(':') ? 6 : 4, destination: address },
        });
        if (kind === 'unicast') return [];
        const what = kind === 'none' ? 'there is no route to it' : `the route to it is ${kind}`;
        return [
          {
            code: 'member-unreachable',
            severity: 'error',
            what: `network ${network}: host ${name} has ${address}, and ${what}`,
            why: 'its containers cannot be reached from here',
            mend: [],
            safe: false,
            subject: `${network} ${name}`,
          },
        ];
      }),
    );
}

/** The addresses of another host that a tunnel sends to: those of its own family. */
export function carriers(addresses: readonly string[], tunnel: Link | undefined): string[] {
  const { local, local6 } = tunnel?.vxlan ?? {};
  if (local === undefined && local6 === undefined) return [];
  return addresses.filter((address) => address.includes(':') === (local === undefined));
}

/** What the tunnel takes must fit, with its headers, through the links to the other hosts. */
function tooLarge({ network, device, members }: Membership, { nat: { host } }: DoctorView): Finding[] {
  const tunnel = host.links.find(({ name, kind }) => name === device && kind === 'vxlan');
  if (tunnel === undefined) return [];
  const found = new Map<string, Finding>();
  for (const { self, addresses } of members) {
    for (const address of self ? [] : carriers(addresses, tunnel)) {
      const family = address.includes(':') ? 6 : 4;
      const { link, route } = lookUp(host, { tuple: { family, destination: address } });
      const room = Math.min(link?.mtu ?? 65_535, route?.mtu ?? 65_535) - VXLAN[family];
      if (link === undefined || tunnel.mtu <= room) continue;
      found.set(link.name, {
        code: 'tunnel-mtu',
        severity: 'error',
        what: `network ${network}: ${tunnel.name} takes packets of ${tunnel.mtu} bytes, and ${link.name} has room for ${room} with the tunnel's headers`,
        why: 'large packets are dropped on the way to other hosts: connections hang as soon as they carry data',
        mend: [`ip link set ${tunnel.name} mtu ${room}`],
        safe: false,
        subject: tunnel.name,
      });
    }
  }
  return [...found.values()];
}

/** What this host's own links have room for, and some link on the way has not. */
export function pathTooNarrow({ probes }: DoctorView): Finding[] {
  return probes
    .filter(({ fits }) => !fits)
    .map(({ network, host, address, size }) => ({
      code: 'path-mtu',
      severity: 'error',
      what: `network ${network}: host ${host} (${address}) answers small packets, and none of ${size} bytes`,
      why: 'the tunnel sends packets of that size, and a link on the way drops them: connections hang as soon as they carry data',
      mend: [],
      safe: false,
      subject: `${network} ${host}`,
    }));
}
