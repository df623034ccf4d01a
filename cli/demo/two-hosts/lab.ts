/** Simulated hosts on a wire, two containers on each, and a host outside that is everybody's router to the world. */
import { join } from 'node:path';
import type { Ambient } from '../../../cni/ambient.ts';
import { Lab, type Program } from '../lab.ts';

export interface ClusterHost {
  name: string;
  v4: string;
  v6: string;
  /** Names of its containers' namespaces. */
  containers: readonly string[];
}

/** Prefixes for documentation (RFC 5737, RFC 3849), so that nothing else can be meant. */
export const OUTSIDE = { v4: '203.0.113.1', v6: '2001:db8:113::1' } as const;
/** Every host's link to the wire, and the wire itself: a bridge. */
export const UPLINK = 'uplink';
const WIRE = 'wire';

export interface ClusterLabOptions {
  hosts: number;
  needs: readonly Program[];
  /** Bytes, of the wire: 1500. */
  mtu?: number;
}

export class ClusterLab {
  readonly lab: Lab;
  readonly hosts: readonly ClusterHost[];

  private constructor(lab: Lab, hosts: readonly ClusterHost[]) {
    this.lab = lab;
    this.hosts = hosts;
  }

  /** Throws CniError; then nothing is left. */
  static async open(ambient: Ambient, home: string, options: ClusterLabOptions): Promise<ClusterLab> {
    const { needs, mtu = 1500 } = options;
    const hosts = Array.from({ length: options.hosts }, (_, i): ClusterHost => {
      const n = i + 1;
      const hex = (10 + n).toString(16);
      const containers = [`red${n}`, `blue${n}`];
      return { name: `host${n}`, v4: `203.0.113.${10 + n}`, v6: `2001:db8:113::${hex}`, containers };
    });
    const lab = await Lab.open(ambient, home, {
      places: [WIRE, 'outside', ...hosts.flatMap(({ name, containers }) => [name, ...containers])],
      hosts: Object.fromEntries(hosts.map(({ name }) => [name, name])),
      needs: ['ip', 'nsenter', 'ping', ...needs],
      build: async (lab) => {
        await lab.ip(WIRE, `link add ${WIRE} mtu ${mtu} type bridge`, `link set ${WIRE} up`);
        await connect(lab, 'outside', OUTSIDE, mtu);
        for (const host of hosts) {
          await connect(lab, host.name, host, mtu);
          await lab.ip(
            host.name,
            `route add default via ${OUTSIDE.v4}`,
            `-6 route add default via ${OUTSIDE.v6}`,
          );
        }
      },
    });
    return new ClusterLab(lab, hosts);
  }

  /** Takes everything away, and BIRD with it, which stays when an agent ends. Repeatable. */
  async close(): Promise<void> {
    const { lab } = this;
    // First whoever would start it again.
    await lab.stop();
    for (const { name } of this.hosts) await lab.endPid(join(lab.folders(name).run, 'bird', 'bird.pid'));
    await lab.close();
  }
}

/** Plugs a place into the wire. */
async function connect(
  lab: Lab,
  place: string,
  { v4, v6 }: { v4: string; v6: string },
  mtu: number,
): Promise<void> {
  await lab.ip(
    WIRE,
    `link add ${place} mtu ${mtu} type veth peer name ${UPLINK} mtu ${mtu} netns ${lab.netns(place)}`,
  );
  await lab.ip(WIRE, `link set ${place} master ${WIRE} up`);
  await lab.ip(
    place,
    `address add ${v4}/24 dev ${UPLINK}`,
    `address add ${v6}/64 dev ${UPLINK} nodad`,
    `link set ${UPLINK} up`,
  );
}
