import { familyOf } from '../../cni/prefix.ts';
import type { Namespace } from '../../netlink/door.ts';
import { setLink } from '../../netlink/link.ts';
import { slow, tolerating } from '../../netlink/message.ts';
import { codeOf } from '../failure.ts';
import type { StepKind } from '../kind.ts';
import { command, ipCommand } from '../render.ts';
import type { Run } from '../run.ts';
import type { AnnounceStep } from '../step.ts';
import { namespaceOf } from '../surroundings.ts';

/** With these set, the kernel announces a link's addresses whenever its MAC is set (ip-sysctl.rst). */
const KEYS = { 4: 'arp_notify', 6: 'ndisc_notify' } as const;

const hasFamily = ({ addresses }: AnnounceStep, family: 4 | 6) =>
  addresses.some((address) => familyOf(address) === family);

const keyOf = ({ dev }: AnnounceStep, family: 4 | 6) => `net/ipv${family}/conf/${dev}/${KEYS[family]}`;

async function notifyNeighbours(step: AnnounceStep, container: Namespace): Promise<void> {
  try {
    await container.writeFile(`/proc/sys/${keyOf(step, 6)}`, '1');
  } catch (error) {
    if (!READ_ONLY.includes(codeOf(error) ?? '')) throw error;
  }
}

/** A bridge gives an announcement to each of its ports before the kernel answers. The link may be gone again by then. */
async function notify(step: AnnounceStep, mac: string, container: Namespace): Promise<void> {
  if (hasFamily(step, 6)) await notifyNeighbours(step, container);
  await container.send(slow(tolerating(setLink(step.dev, { mac }), 'ENODEV')));
}

/** The kernel announces when the link is set up, which is a step of its own. */
async function notifyLater(step: AnnounceStep, run: Run): Promise<void> {
  if (!hasFamily(step, 6)) return;
  await run.flush();
  await notifyNeighbours(step, namespaceOf(run.surroundings, 'container'));
}

/** Where nobody may write settings, neighbours learn the address when they ask for it, as without an announcement. */
const READ_ONLY = ['EROFS', 'EACCES', 'EPERM'];

/**
 * The kernel sends the announcements itself: setting a MAC, also to what it is, notifies. A packet socket of ours would do
 * as well, but closing one waits for an RCU grace period (docs/decisions/0003-announcements-by-the-kernel.md).
 */
export const announce: StepKind<AnnounceStep> = {
  async apply(step, run) {
    const { dev, mac } = step;
    // By message where there is one: a file in the container's /proc needs a thread that goes there.
    if (hasFamily(step, 4))
      run.push('container', tolerating(setLink(dev, { arpNotify: true }), 'EAFNOSUPPORT'));
    if (mac === undefined) return await notifyLater(step, run);
    // After the last address: an answer to the announcement must find it.
    run.atEnd(async () => {
      const { afterwards } = run.surroundings;
      if (afterwards) return afterwards(() => notify(step, mac, namespaceOf(run.surroundings, 'container')));
      await run.flush();
      await notify(step, mac, namespaceOf(run.surroundings, 'container'));
    });
  },

  // An announcement leaves nothing to look at.
  verify: async () => [],

  render: (step, { netns }) => [
    ...([4, 6] as const)
      .filter((family) => hasFamily(step, family))
      .map((family) => command('container', netns, `sysctl -w ${keyOf(step, family)}=1`)),
    ...(step.mac === undefined
      ? []
      : [ipCommand('container', netns, 'link', 'set', step.dev, 'address', step.mac)]),
  ],
};
