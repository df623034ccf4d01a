/** Whether what a tunnel takes gets to the other hosts: one ping of its size, which must not be cut, and a small one beside it. */
import type { Ambient } from '../../cni/ambient.ts';
import { onHost, programEnv } from '../../firewall/program.ts';
import { carriers } from '../../inspect/doctor/members.ts';
import type { Membership, Probe } from '../../inspect/doctor/view.ts';
import type { Namespace } from '../../netlink/door.ts';
import type { Link } from '../../netlink/link.ts';

/** Headers of IP and ICMP, and what a VXLAN tunnel adds outside of the packet that it carries (RFC 7348), in bytes. */
const SIZES = { 4: { ping: 28, tunnel: 50 }, 6: { ping: 48, tunnel: 70 } } as const;
/** Hosts that are asked, for each network. */
const MOST = 16;

/** Pings the other members of networks with a tunnel, all at once. Whoever answers no ping is left out. */
export async function probeMembers(
  memberships: readonly Membership[],
  host: Pick<Namespace, 'path'>,
  links: readonly Link[],
  ambient: Pick<Ambient, 'env' | 'run'>,
): Promise<Probe[]> {
  const asked = memberships.flatMap(({ network, mtu, device, members }) => {
    const tunnel = links.find(({ name }) => name === device);
    const others = members.filter(({ self }) => !self).slice(0, MOST);
    if (mtu === undefined || tunnel === undefined) return [];
    return others.flatMap((member) =>
      carriers(member.addresses, tunnel).map((address) => ({ network, host: member.host, address, mtu })),
    );
  });
  const answered = async (address: string, size: number): Promise<boolean> => {
    const words = ['-n', '-q', '-c', '2', '-i', '0.2', '-W', '1', '-M', 'do', '-s', String(size), address];
    const [file, args] = onHost(host, 'ping', words);
    return (await ambient.run(file, args, { env: programEnv(ambient.env) })).status === 0;
  };
  const probes = await Promise.all(
    asked.map(async ({ mtu, ...one }): Promise<Probe[]> => {
      const { ping, tunnel } = SIZES[one.address.includes(':') ? 6 : 4];
      const size = mtu + tunnel;
      // One after the other: the first finds the neighbour.
      if (!(await answered(one.address, 0))) return [];
      return [{ ...one, size, fits: await answered(one.address, size - ping) }];
    }),
  );
  return probes.flat();
}
