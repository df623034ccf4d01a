/**
 * The ways from a container on one host to one on another that are compared: what weft sets up, the same by hand from kernel devices, and
 * between the hosts themselves. Each has its own pair of simulated hosts, which a veth pair joins.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Lab, type Place } from '../cli/demo/lab.ts';
import type { Ambient } from '../cni/ambient.ts';

/** Ready to be measured. */
export interface Path {
  name: string;
  lab: Lab;
  from: Place;
  to: Place;
  /** Of `to`. */
  address: string;
}

/** The hosts' addresses on the wire, and what the containers have where we choose. */
const HOST = ['203.0.113.1', '203.0.113.2'] as const;
const POD = ['10.244.1.2', '10.244.2.2'] as const;
const SUBNET = ['10.244.1.0/24', '10.244.2.0/24'] as const;
const GATEWAY = ['10.244.1.1', '10.244.2.1'] as const;
const MAC = ['0a:00:00:00:01:01', '0a:00:00:00:02:01'] as const;
const VTEP_MAC = ['0a:00:00:00:01:fe', '0a:00:00:00:02:fe'] as const;
const POD_MAC = ['0a:00:00:00:01:02', '0a:00:00:00:02:02'] as const;
/** Outer IPv4, UDP, VXLAN and inner Ethernet headers (RFC 7348, section 5). */
const OVERHEAD = 50;

type Side = 0 | 1;
type Build = (lab: Lab, side: Side, mtu: number) => Promise<void>;

const host = (side: Side) => `host${side + 1}`;
const pod = (side: Side) => `pod${side + 1}`;
const other = (side: Side): Side => (side === 0 ? 1 : 0);

/** A veth pair, a route to the container, a link-local gateway: as plugins/routed. */
const single = async (lab: Lab, side: Side, mtu: number): Promise<void> => {
  await lab.ip(
    host(side),
    `link add pod mtu ${mtu} address ${MAC[side]} type veth peer name eth0 mtu ${mtu} address ${POD_MAC[side]} netns ${lab.netns(pod(side))}`,
    'link set pod up',
    `route add ${POD[side]}/32 dev pod`,
    `neigh add ${POD[side]} lladdr ${POD_MAC[side]} dev pod nud permanent`,
  );
  await lab.ip(
    pod(side),
    `address add ${POD[side]}/32 dev eth0`,
    'link set eth0 up',
    'route add 169.254.1.1 dev eth0 scope link',
    'route add default via 169.254.1.1',
    `neigh add 169.254.1.1 lladdr ${MAC[side]} dev eth0 nud permanent`,
  );
};

/** A bridge that is the gateway: as plugins/bridge and plugins/vxlan. */
const bridged = async (lab: Lab, side: Side, mtu: number, length = 24): Promise<void> => {
  await lab.ip(
    host(side),
    `link add br0 mtu ${mtu} address ${MAC[side]} type bridge`,
    `address add ${GATEWAY[side]}/${length} dev br0`,
    'link set br0 up',
    `link add pod mtu ${mtu} type veth peer name eth0 mtu ${mtu} address ${POD_MAC[side]} netns ${lab.netns(pod(side))}`,
    'link set pod master br0 up',
  );
  await lab.ip(
    pod(side),
    `address add ${POD[side]}/${length} dev eth0`,
    'link set eth0 up',
    `route add default via ${GATEWAY[side]}`,
  );
};

const hostRoute = async (lab: Lab, side: Side): Promise<void> => {
  await lab.ip(host(side), `route add ${SUBNET[other(side)]} via ${HOST[other(side)]}`);
};

const device = async (lab: Lab, side: Side, mtu: number): Promise<void> => {
  await lab.ip(
    host(side),
    `link add vx mtu ${mtu - OVERHEAD} address ${VTEP_MAC[side]} type vxlan id 42 dstport 4789 local ${HOST[side]} dev uplink nolearning`,
    'link set vx up',
  );
};

const tunnel = async (lab: Lab, side: Side, mtu: number): Promise<void> => {
  await device(lab, side, mtu);
  const far = other(side);
  const via = `10.244.${far + 1}.0`;
  await lab.ip(
    host(side),
    `route add ${SUBNET[far]} via ${via} dev vx onlink`,
    `neigh add ${via} lladdr ${VTEP_MAC[far]} dev vx nud permanent`,
  );
  await lab.must(host(side), 'bridge', ...`fdb append ${VTEP_MAC[far]} dev vx dst ${HOST[far]}`.split(' '));
};

const stretched = async (lab: Lab, side: Side, mtu: number): Promise<void> => {
  await bridged(lab, side, mtu - OVERHEAD, 16);
  await device(lab, side, mtu);
  const far = other(side);
  await lab.ip(
    host(side),
    'link set vx master br0',
    `neigh add ${POD[far]} lladdr ${POD_MAC[far]} dev br0 nud permanent`,
  );
  await lab.must(
    host(side),
    'bridge',
    ...'link set dev vx learning off flood off neigh_suppress on'.split(' '),
  );
  await lab.must(host(side), 'bridge', ...`fdb add ${POD_MAC[far]} dev vx master static`.split(' '));
  await lab.must(host(side), 'bridge', ...`fdb append ${POD_MAC[far]} dev vx dst ${HOST[far]}`.split(' '));
};

/** What connection tracking and a masquerade rule that does not apply cost: weft's networks have them unless told otherwise. */
const masquerade: Build = async (lab, side) => {
  const rules = `table ip nat { chain out { type nat hook postrouting priority 100; ip saddr 10.244.0.0/16 ip daddr != 10.244.0.0/16 masquerade random; }; }`;
  await lab.must(host(side), 'nft', rules);
};

/** In the order in which they are shown. */
const BY_HAND: Readonly<Record<string, readonly Build[]>> = {
  'routed, by hand': [(lab, side, mtu) => single(lab, side, mtu), hostRoute],
  'routed through bridges, by hand': [(lab, side, mtu) => bridged(lab, side, mtu), hostRoute],
  'vxlan without bridges, by hand': [(lab, side, mtu) => single(lab, side, mtu - OVERHEAD), tunnel],
  'vxlan, by hand': [(lab, side, mtu) => bridged(lab, side, mtu - OVERHEAD), tunnel],
  'vxlan L2, by hand': [stretched],
};

const BY_WEFT: Readonly<Record<string, Record<string, unknown>>> = {
  'routed, weft': { type: 'routed' },
  'vxlan, weft': { type: 'vxlan' },
  'vxlan L2, weft': { type: 'vxlan', mode: 'l2' },
};

export interface PathOptions {
  ambient: Ambient;
  /** Folder of weft's executables. */
  bin: string;
  /** Bytes, of the wire. */
  mtu: number;
  /** With a masquerade rule on the hosts, ours and those by hand. */
  nat: boolean;
  /** Only those whose names have one of these words. */
  only: readonly string[];
}

/** Throws CniError; what was made so far is taken away. */
export async function openPaths(options: PathOptions): Promise<Path[]> {
  const { only } = options;
  const isWanted = (name: string) => only.length === 0 || only.some((word) => name.includes(word));
  const paths: Path[] = [];
  try {
    paths.push(await openPath(options, 'between hosts', async () => undefined));
    for (const [name, builds] of Object.entries(BY_HAND).filter(([name]) => isWanted(name))) {
      const steps = options.nat ? [...builds, masquerade] : builds;
      const path = await openPath(options, name, async (lab) => {
        for (const build of steps) for (const side of [0, 1] as const) await build(lab, side, options.mtu);
        return POD[1];
      });
      paths.push(path);
    }
    for (const [name, conf] of Object.entries(BY_WEFT).filter(([name]) => isWanted(name))) {
      paths.push(await openPath(options, name, (lab) => attach(lab, options, conf)));
    }
    return paths;
  } catch (error) {
    for (const { lab } of paths) await lab.close();
    throw error;
  }
}

/** `build` gives the address of the second container, or undefined where the hosts are measured. */
async function openPath(
  { ambient, bin, mtu }: PathOptions,
  name: string,
  build: (lab: Lab) => Promise<string | undefined>,
): Promise<Path> {
  const lab = await Lab.open(ambient, bin, {
    places: [host(0), host(1), pod(0), pod(1)],
    hosts: { [host(0)]: host(0), [host(1)]: host(1) },
    needs: ['ip', 'bridge', 'iperf3'],
    build: async (lab) => {
      await lab.ip(
        host(0),
        `link add uplink mtu ${mtu} type veth peer name uplink mtu ${mtu} netns ${lab.netns(host(1))}`,
      );
      for (const side of [0, 1] as const) {
        await lab.ip(host(side), `address add ${HOST[side]}/24 dev uplink`, 'link set uplink up');
        await lab.must(host(side), 'sysctl', '-q', '-w', 'net.ipv4.ip_forward=1');
      }
    },
  });
  try {
    const address = await build(lab);
    if (address === undefined) return { name, lab, from: host(0), to: host(1), address: HOST[1] };
    return { name, lab, from: pod(0), to: pod(1), address };
  } catch (error) {
    await lab.close();
    throw error;
  }
}

async function attach(lab: Lab, { bin, nat }: PathOptions, conf: Record<string, unknown>): Promise<string> {
  const weft = join(bin, 'weft');
  const list = {
    cniVersion: '1.0.0',
    name: 'bench',
    plugins: [{ ...conf, pool: '10.244.0.0/16', ipMasq: nat }],
  };
  for (const side of [0, 1] as const) {
    writeFileSync(join(lab.folders(host(side)).conf, '10-bench.conflist'), JSON.stringify(list));
    const agent = [weft, 'agent', '--registry', join(lab.folder, 'registry.yaml'), '--node', host(side)];
    await lab.daemon(host(side), `agent${side}.log`, /"joined"/, [...agent, '--address', HOST[side]]);
  }
  let address = '';
  for (const side of [0, 1] as const) {
    const netns = lab.netns(pod(side));
    const result = await lab.must(
      host(side),
      weft,
      'net',
      'add',
      'bench',
      netns,
      '--id',
      pod(side),
      '--json',
    );
    const { ips } = JSON.parse(result) as { ips: { address: string }[] };
    address = ips[0]?.address.replace(/\/\d+$/, '') ?? '';
  }
  return address;
}
