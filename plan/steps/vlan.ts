import { CniError, ErrorCode } from '../../cni/errors.ts';
import { addBridgeVlans, deleteBridgeVlans, listBridgeVlans } from '../../netlink/bridge-vlan.ts';
import type { NetlinkError } from '../../netlink/door.ts';
import { deleteLink, getLink, type Link, setLink } from '../../netlink/link.ts';
import { createVlan } from '../../netlink/link-kinds.ts';
import { tolerating } from '../../netlink/message.ts';
import type { StepKind } from '../kind.ts';
import { ipCommand, quote } from '../render.ts';
import { type KnownLink, type Run, Vanished } from '../run.ts';
import type { VlanStep } from '../step.ts';
import { hasOtherPorts } from './bridge.ts';

function noKernel({ name }: VlanStep, error: NetlinkError): CniError {
  return new CniError(
    ErrorCode.noKernelSupport,
    `cannot make ${name}, the gateway's link in its VLAN: the kernel of this host has no VLAN links (CONFIG_VLAN_8021Q); ` +
      'remove vlan or isGateway',
    error.message,
  );
}

/** What keeps a link of that name from being the VLAN's; the reference plugin makes a veth in its place, which serves as well. */
function fault({ id }: VlanStep, bridge: number | undefined, found: Link): string | undefined {
  if (found.kind === 'veth') return undefined;
  if (found.kind !== 'vlan') return `a link of kind ${found.kind ?? 'none'}`;
  if (found.vlan?.id !== id) return `VLAN ${found.vlan?.id}`;
  return found.link === bridge ? undefined : `a VLAN of link ${found.link}`;
}

async function create(step: VlanStep, bridge: KnownLink, run: Run): Promise<Link | undefined> {
  const { name, id } = step;
  const { host } = run.surroundings;
  const op = createVlan({ name, lower: bridge.index, id, up: true });
  const reply = await run.ask('host', tolerating(op, 'EEXIST'), {
    undo: {
      what: `delete link ${name}`,
      // Another attachment's gateway may be on it by now.
      async undo() {
        if (await hasOtherPorts(step.bridge, run)) return;
        await host.send(
          tolerating(deleteLink(name), 'ENODEV'),
          tolerating(deleteBridgeVlans(bridge.index, [{ vid: id }], true), 'ENOENT', 'ENODEV', 'EOPNOTSUPP'),
        );
      },
    },
    partly: true,
    explain: (error) => (error.errno === 'EOPNOTSUPP' ? noKernel(step, error) : undefined),
  });
  return reply.ok ? reply.value : undefined;
}

export const vlan: StepKind<VlanStep> = {
  async apply(step, run) {
    const { name, id } = step;
    const bridge = await run.link('host', step.bridge);
    const look = async () => {
      const reply = await run.ask('host', tolerating(getLink(name), 'ENODEV'));
      return reply.ok ? reply.value : undefined;
    };
    const found = (await look()) ?? (await create(step, bridge, run)) ?? (await look());
    if (!found)
      throw new Vanished(new CniError(ErrorCode.tryAgain, `link ${name} comes and goes: try again`));
    const wrong = fault(step, bridge.index, found);
    if (wrong !== undefined) {
      throw new CniError(
        ErrorCode.conflict,
        `wanted ${name} to be VLAN ${id} of bridge ${step.bridge}, found ${wrong} of that name: remove it`,
      );
    }
    // The bridge hands frames of the VLAN up only where it is in the VLAN itself. Repeating it changes nothing.
    if (found.kind === 'vlan') run.push('host', addBridgeVlans(bridge.index, [{ vid: id }], true));
    if (!found.up) run.push('host', setLink(found.index, { up: true }));
    run.learn('host', name, { index: found.index, mac: found.mac, mtu: found.mtu });
  },

  async verify(step, look) {
    const what = `link ${step.name} on the host`;
    const [link, bridge] = await Promise.all([look.link('host', step.name), look.link('host', step.bridge)]);
    if (!link) return [{ what, wanted: 'present', found: 'no such link' }];
    const wrong = fault(step, bridge?.index, link);
    if (wrong !== undefined) {
      return [{ what, wanted: `VLAN ${step.id} of bridge ${step.bridge}`, found: wrong }];
    }
    const differences = link.up ? [] : [{ what, wanted: 'up', found: 'down' }];
    if (link.kind !== 'vlan' || !bridge) return differences;
    const [reply] = await look.surroundings.host.send(listBridgeVlans(bridge.index));
    if (reply.ok && reply.value.some(({ vid }) => vid === step.id)) return differences;
    return [
      ...differences,
      { what: `bridge ${step.bridge} on the host`, wanted: `in VLAN ${step.id}`, found: 'not in it' },
    ];
  },

  render: ({ name, bridge, id }, { netns }) => [
    ipCommand('host', netns, 'link', 'add', 'link', bridge, 'name', name, 'up', 'type', 'vlan', 'id', id),
    `bridge vlan add dev ${quote(bridge)} vid ${id} self`,
  ],
};
