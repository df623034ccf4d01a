/** Simulated hosts on a wire: namespaces joined by a bridge in another one. Their containers are made by hand, with ip(8). */
import { randomBytes } from 'node:crypto';
import {
  type Applied,
  type Correction,
  type Failure,
  NetworkReconciler,
} from '../../cluster/host/reconciler.ts';
import type { ClusterNetwork } from '../../cluster/network.ts';
import type { Member, NetworkState } from '../../cluster/registry.ts';
import type { Door } from '../../netlink/door.ts';
import { openDoor } from '../../netlink/namespace.ts';
import { exec, execIn, ping, type Teardown } from '../support/host.ts';
import { until } from '../support/until.ts';

/** A host on the wire. */
export interface WiredHost {
  name: string;
  netns: string;
  /** Name of its link to the wire; the addresses on it are the member's. */
  uplink: string;
  member: Member;
  door: Door;
  /** Lines for `ip -batch`. */
  ip(...lines: string[]): Promise<void>;
}

/** What one host's reconciler has told. */
export interface Running {
  reconciler: NetworkReconciler;
  corrections: Correction[];
  failures: Failure[];
  reports: Applied[];
}

export async function netns(t: Teardown): Promise<string> {
  const name = `weft-t-${randomBytes(5).toString('hex')}`;
  await exec('ip', ['netns', 'add', name]);
  t.teardown(async () => void (await exec('ip', ['netns', 'del', name])));
  await exec('ip', ['-n', name, 'link', 'set', 'lo', 'up']);
  return name;
}

export function batch(name: string, lines: readonly string[]) {
  return exec('ip', ['-n', name, '-batch', '-'], { input: `${lines.join('\n')}\n` });
}

export function doorTo(name: string): Door {
  return { open: () => openDoor().open(`/run/netns/${name}`) };
}

export interface Wire {
  netns: string;
  host(number: number, options?: HostOptions): Promise<WiredHost>;
}

export interface HostOptions {
  /** CIDRs on the link; absent: 192.0.2.N/24 and 2001:db8::N/64. */
  addresses?: readonly string[];
  subnets?: readonly string[];
}

/** A wire, a bridge that carries `mtu` bytes. */
export async function makeWire(t: Teardown, mtu = 1500): Promise<Wire> {
  const wire = await netns(t);
  await batch(wire, ['link add wire type bridge mcast_snooping 0', `link set wire mtu ${mtu} up`]);
  return {
    netns: `/run/netns/${wire}`,
    async host(number, options = {}) {
      const {
        addresses = [`192.0.2.${number}/24`, `2001:db8::${number}/64`],
        subnets = [`10.244.${number}.0/24`, `fd00:244:0:${number}::/64`],
      } = options;
      const name = await netns(t);
      const uplink = 'eth0';
      await batch(wire, [
        `link add to${number} mtu ${mtu} master wire type veth peer name ${uplink} mtu ${mtu} netns ${name}`,
        `link set to${number} up`,
      ]);
      await batch(name, [
        ...addresses.map((cidr) => `addr add ${cidr} dev ${uplink}${cidr.includes(':') ? ' nodad' : ''}`),
        `link set ${uplink} up`,
      ]);
      await forward(name);
      return {
        ...{ name: `host-${number}`, netns: `/run/netns/${name}`, uplink, door: doorTo(name) },
        member: {
          host: `host-${number}`,
          addresses: addresses.map((cidr) => cidr.replace(/\/.*/, '')),
          subnets,
        },
        ip: async (...lines) => void (await batch(name, lines)),
      };
    },
  };
}

async function forward(name: string): Promise<void> {
  const keys = ['net.ipv4.ip_forward', 'net.ipv6.conf.all.forwarding'];
  await execIn(`/run/netns/${name}`, 'sysctl', ['-q', '-w', ...keys.map((key) => `${key}=1`)]);
}

/** A container on a host: `addresses` are CIDRs; `master` is made where it is missing, and gets the gateways. */
export async function container(
  t: Teardown,
  host: WiredHost,
  options: {
    addresses: readonly string[];
    gateways: readonly string[];
    mac?: string;
    mtu: number;
    master?: string;
  },
): Promise<string> {
  const { addresses, gateways, mac, mtu, master = 'br0' } = options;
  const name = await netns(t);
  const end = `c${randomBytes(4).toString('hex')}`;
  const exists = (await execIn(host.netns, 'ip', ['link', 'show', master], { mayFail: true })).status === 0;
  const nodad = (cidr: string) => (cidr.includes(':') ? ' nodad' : '');
  await host.ip(
    ...(exists ? [] : [`link add ${master} type bridge`, `link set ${master} up`]),
    ...gateways.map((cidr) => `addr replace ${cidr} dev ${master}${nodad(cidr)}`),
    `link add ${end} mtu ${mtu} master ${master} type veth peer name eth0 mtu ${mtu} ${mac ? `address ${mac} ` : ''}netns ${name}`,
    `link set ${end} up`,
  );
  await batch(name, [
    ...addresses.map((cidr) => `addr add ${cidr} dev eth0${nodad(cidr)}`),
    'link set eth0 up',
    ...gateways.map((cidr) => `route add default via ${cidr.replace(/\/.*/, '')}`),
  ]);
  return `/run/netns/${name}`;
}

/** Reconcilers of hosts, each with the same state applied; closed at the end of the test. */
export async function run(
  t: Teardown,
  network: ClusterNetwork,
  hosts: readonly WiredHost[],
  state: NetworkState,
): Promise<Running[]> {
  const all = hosts.map(({ door, member }) => reconcile(t, network, member, door));
  await Promise.all(all.map(({ reconciler }) => reconciler.update(state)));
  return all;
}

export function reconcile(t: Teardown, network: ClusterNetwork, self: Member, door: Door): Running {
  const corrections: Correction[] = [];
  const failures: Failure[] = [];
  const reports: Applied[] = [];
  const hooks = {
    corrected: (correction: Correction) => void corrections.push(correction),
    failed: (failure: Failure) => void failures.push(failure),
    applied: (report: Applied) => void reports.push(report),
  };
  const reconciler = new NetworkReconciler({ door, network, self, hooks });
  t.teardown(() => reconciler.close());
  return { reconciler, corrections, failures, reports };
}

export const stateOf = (hosts: readonly WiredHost[]): NetworkState => ({
  members: hosts.map(({ member }) => member),
  endpoints: [],
});

export function vxlanNetwork(
  settings: Partial<NonNullable<ClusterNetwork['vxlan']>> = {},
  changes: Partial<ClusterNetwork> = {},
): ClusterNetwork {
  return {
    name: 'blue',
    backend: settings.bridge === undefined ? 'vxlan' : 'vxlan-l2',
    pools: [
      { prefix: '10.244.0.0/16', blockLength: 24 },
      { prefix: 'fd00:244::/48', blockLength: 64 },
    ],
    vxlan: { vni: 42, port: 4789, device: 'weft42', directRoutes: false, checksumOffload: true, ...settings },
    ...changes,
  };
}

/** Some bytes by TCP, checksums and large segments included. Throws when they do not arrive. */
export async function tcp(from: string, to: string, address: string): Promise<void> {
  const server = execIn(to, 'iperf3', ['-s', '-1']);
  await until('the server listens', async () => {
    const { stdout } = await execIn(to, 'ss', ['-Hltn', 'sport = :5201']);
    return stdout !== '';
  });
  await execIn(from, 'iperf3', ['-c', address, '-n', '500K', '--connect-timeout', '5000']);
  await server;
}

/** Whether an address answers, sooner or later: what is made by hand takes seconds until it has IPv6. */
export async function reaches(from: string, address: string): Promise<boolean> {
  return until(`${address} answers`, () => ping(from, address));
}
