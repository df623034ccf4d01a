import { familyOf } from '../../cni/prefix.ts';
import { setLink } from '../../netlink/link.ts';
import { codeOf } from '../failure.ts';
import type { StepKind } from '../kind.ts';
import { command, ipCommand } from '../render.ts';
import type { AnnounceStep } from '../step.ts';
import { namespaceOf } from '../surroundings.ts';

/** With these set, the kernel announces a link's addresses whenever its MAC is set (ip-sysctl.rst). */
const keysOf = ({ dev, addresses }: AnnounceStep) => [
  ...(addresses.some((address) => familyOf(address) === 4) ? [`net/ipv4/conf/${dev}/arp_notify`] : []),
  ...(addresses.some((address) => familyOf(address) === 6) ? [`net/ipv6/conf/${dev}/ndisc_notify`] : []),
];

/** Where nobody may write settings, neighbours learn the address when they ask for it, as without an announcement. */
const READ_ONLY = ['EROFS', 'EACCES', 'EPERM'];

/**
 * The kernel sends the announcements itself: setting a MAC, also to what it is, notifies. A packet socket of ours would do
 * as well, but closing one waits for an RCU grace period (docs/decisions/0003-announcements-by-the-kernel.md).
 */
export const announce: StepKind<AnnounceStep> = {
  async apply(step, run) {
    const { dev, mac } = step;
    // After the last address: an answer to the announcement must find it.
    run.atEnd(async () => {
      await run.flush();
      const container = namespaceOf(run.surroundings, 'container');
      for (const key of keysOf(step)) {
        try {
          await container.writeFile(`/proc/sys/${key}`, '1');
        } catch (error) {
          if (!READ_ONLY.includes(codeOf(error) ?? '')) throw error;
        }
      }
      run.push('container', setLink(dev, { mac }));
    });
  },

  // An announcement leaves nothing to look at.
  verify: async () => [],

  render: (step, { netns }) => [
    ...keysOf(step).map((key) => command('container', netns, `sysctl -w ${key}=1`)),
    ipCommand('container', netns, 'link', 'set', step.dev, 'address', step.mac),
  ],
};
