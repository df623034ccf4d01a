import { CniError, ErrorCode } from '../../cni/errors.ts';
import type { NetlinkError } from '../../netlink/door.ts';
import { createBridge, deleteLink, getLink, type Link, listLinks, setLink } from '../../netlink/link.ts';
import { tolerating } from '../../netlink/message.ts';
import type { Difference } from '../difference.ts';
import { codeOf } from '../failure.ts';
import type { StepKind } from '../kind.ts';
import { inheritedMtu } from '../mtu.ts';
import { ipCommand } from '../render.ts';
import { type Run, Vanished } from '../run.ts';
import type { BridgeStep } from '../step.ts';

/** What the kernel gives a bridge without ports (ETH_DATA_LEN). */
const KERNEL_MTU = 1500;

/** Asks for the bridge; throws CniError(conflict) when the name is that of another kind of link. */
async function look(name: string, run: Run): Promise<Link | undefined> {
  const reply = await run.ask('host', tolerating(getLink(name), 'ENODEV'));
  if (!reply.ok) return undefined;
  const { kind } = reply.value;
  if (kind === 'bridge') return reply.value;
  throw new CniError(
    ErrorCode.conflict,
    `wanted a bridge ${name}, found a link of that name that is ${kind ? `of kind ${kind}` : 'no virtual link'}: ` +
      'choose another name for the bridge or remove the link',
  );
}

/** Whether others depend on a bridge: it has ports besides those of this plan. */
export async function hasOtherPorts(name: string, run: Run): Promise<boolean> {
  const { host } = run.surroundings;
  const [bridge, links] = await host.send(tolerating(getLink(name), 'ENODEV'), listLinks());
  if (!bridge.ok || !links.ok) return false;
  const own = new Set(run.plan.flatMap((step) => (step.kind === 'veth' ? [step.host.name] : [])));
  return links.value.some(({ master, name }) => master === bridge.value.index && !own.has(name));
}

function noVlans(name: string, error?: NetlinkError): CniError {
  return new CniError(
    ErrorCode.noKernelSupport,
    `bridge ${name} cannot filter VLANs: the kernel of this host is built without CONFIG_BRIDGE_VLAN_FILTERING; ` +
      'remove vlan and vlanTrunk',
    error?.message,
  );
}

/** Undefined when somebody else was faster. */
async function create(step: BridgeStep, run: Run): Promise<Link | undefined> {
  const { name, mac, promisc, vlanFiltering } = step;
  const { host } = run.surroundings;
  const mtu = step.mtu ?? (await inheritedMtu(run));
  const made = await run.ask(
    'host',
    tolerating(createBridge({ name, mac, up: true, ...(vlanFiltering && { vlanFiltering }) }), 'EEXIST'),
    {
      undo: {
        what: `delete bridge ${name}`,
        async undo() {
          if (!(await hasOtherPorts(name, run))) await host.send(tolerating(deleteLink(name), 'ENODEV'));
        },
      },
      partly: true,
      explain: (error) => (vlanFiltering && error.errno === 'EOPNOTSUPP' ? noVlans(name, error) : undefined),
    },
  );
  if (!made.ok) return undefined;
  if (mtu !== KERNEL_MTU) {
    // Set apart from the creation: only then the kernel takes it as meant, and does not follow the ports' MTU.
    run.push('host', setLink(name, { mtu }));
  }
  if (promisc) run.push('host', setLink(name, { promiscuous: true }));
  await ignoreRouterAdvertisements(name, run);
  return { ...made.value, mtu };
}

/** A bridge that we made gets its addresses from us, not from routers among the containers. */
async function ignoreRouterAdvertisements(name: string, run: Run): Promise<void> {
  try {
    await run.surroundings.host.writeFile(`/proc/sys/net/ipv6/conf/${name}/accept_ra`, '0');
  } catch (error) {
    const code = codeOf(error);
    // No IPv6 here, or /proc is read-only.
    if (code !== 'ENOENT' && code !== 'EROFS' && code !== 'EACCES') throw error;
  }
}

function adjust(step: BridgeStep, found: Link, run: Run): void {
  if (!found.up || (step.promisc && !found.promiscuous)) {
    run.push('host', setLink(step.name, { up: true, ...(step.promisc && { promiscuous: true }) }));
  }
  if (step.vlanFiltering && !found.bridge?.vlanFiltering) throw noVlansOn(step.name, found);
}

/** Filtering is never switched on under the feet of a bridge's other ports. */
function noVlansOn(name: string, { bridge }: Link): CniError {
  // br_fill_info tells the default VLAN only where VLAN filtering is built in.
  if (bridge?.defaultVlan === undefined) return noVlans(name);
  return new CniError(
    ErrorCode.conflict,
    `bridge ${name} exists without VLAN filtering: switch it on (ip link set ${name} type bridge vlan_filtering 1) ` +
      'or choose another bridge',
  );
}

export const bridge: StepKind<BridgeStep> = {
  async apply(step, run) {
    const before = await look(step.name, run);
    const made = before ? undefined : await create(step, run);
    const link = made ?? before ?? (await look(step.name, run));
    // Another ADD made it, and was undone before we could look.
    if (!link)
      throw new Vanished(new CniError(ErrorCode.tryAgain, `bridge ${step.name} comes and goes: try again`));
    if (!made) adjust(step, link, run);
    run.learn('host', step.name, { index: link.index, mac: link.mac, mtu: link.mtu });
  },

  async verify(step, look): Promise<Difference[]> {
    const what = `bridge ${step.name} on the host`;
    const link = await look.link('host', step.name);
    if (!link) return [{ what, wanted: 'present', found: 'no such link' }];
    if (link.kind !== 'bridge') return [{ what, wanted: 'a bridge', found: `a link of kind ${link.kind}` }];
    const differences: Difference[] = [];
    if (!link.up) differences.push({ what, wanted: 'up', found: 'down' });
    if (step.promisc && !link.promiscuous) {
      differences.push({ what, wanted: 'promiscuous', found: 'not promiscuous' });
    }
    if (step.vlanFiltering && !link.bridge?.vlanFiltering) {
      differences.push({ what, wanted: 'VLAN filtering', found: 'none' });
    }
    return differences;
  },

  render({ name, mac, mtu, promisc, vlanFiltering }, { netns }) {
    const ip = (...words: Parameters<typeof ipCommand>[2][]) => ipCommand('host', netns, ...words);
    return [
      ip(
        'link',
        'add',
        name,
        'address',
        mac,
        'up',
        'type',
        'bridge',
        ...(vlanFiltering ? ['vlan_filtering', 1] : []),
      ),
      ...(mtu ? [ip('link', 'set', name, 'mtu', mtu)] : []),
      ...(promisc ? [ip('link', 'set', name, 'promisc', 'on')] : []),
    ];
  },
};
