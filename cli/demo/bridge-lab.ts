/** The simulated host of `weft demo bridge`: two containers, and an outside host at the other end of its uplink. */
import type { Ambient } from '../../cni/ambient.ts';
import { Lab } from './lab.ts';

/** Prefixes for documentation (RFC 5737, RFC 3849), so that nothing else can be meant. */
export const UPLINK = {
  host: { v4: '203.0.113.2', v6: '2001:db8:113::2' },
  outside: { v4: '203.0.113.1', v6: '2001:db8:113::1' },
} as const;

export async function openBridgeLab(ambient: Ambient, home: string): Promise<Lab> {
  return await Lab.open(ambient, home, {
    places: ['host', 'outside', 'red', 'blue'],
    hosts: { host: '' },
    needs: ['ip', 'nsenter', 'ping'],
    build: async (lab) => {
      await lab.ip(
        'host',
        `link add uplink type veth peer name uplink netns ${lab.netns('outside')}`,
        `address add ${UPLINK.host.v4}/24 dev uplink`,
        `address add ${UPLINK.host.v6}/64 dev uplink nodad`,
        'link set uplink up',
      );
      await lab.ip(
        'outside',
        `address add ${UPLINK.outside.v4}/24 dev uplink`,
        `address add ${UPLINK.outside.v6}/64 dev uplink nodad`,
        'link set uplink up',
      );
      await lab.ip(
        'host',
        `route add default via ${UPLINK.outside.v4}`,
        `-6 route add default via ${UPLINK.outside.v6}`,
      );
    },
  });
}
