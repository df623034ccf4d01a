/** Whether links can stand on the host's, for macvlan, ipvlan and vlan. */
import { CniError, ErrorCode } from '../cni/errors.ts';
import { lookForLink } from '../plan/look.ts';
import { linkToOutside } from '../plan/mtu.ts';
import { requireKind } from '../plan/steps/inside-link.ts';
import type { Surroundings } from '../plan/surroundings.ts';

interface StackedConf {
  master?: string | undefined;
  mtu?: number | undefined;
  linkInContainer?: boolean | undefined;
}

const notReady = (why: string) => new CniError(ErrorCode.notAvailable, `no ADD can succeed: ${why}`);

/** For STATUS: that the kernel has such links, and the host the one they are to stand on. Throws CniError(notAvailable). */
export function stackedReady(kind: 'macvlan' | 'ipvlan' | 'vlan') {
  return async ({ master, mtu, linkInContainer }: StackedConf, surroundings: Surroundings): Promise<void> => {
    const { host } = surroundings;
    await requireKind(host, kind);
    // What is in a container that is not there yet, nobody knows.
    if (linkInContainer) return;
    const link = master
      ? await lookForLink(surroundings, 'host', master)
      : await linkToOutside(async (op) => {
          const [reply] = await host.send(op);
          return reply as never;
        });
    if (!link)
      throw notReady(
        master
          ? `master: wanted a link on the host, found none named ${master}`
          : 'master: missing, and the host has no default route whose link could be meant: name a link',
      );
    if (mtu && mtu > link.mtu)
      throw notReady(`mtu: found ${mtu}, wanted at most ${link.mtu}, that of ${link.name}`);
  };
}
