/** A link on another link: macvlan, ipvlan, vlan. */
import { CniError, ErrorCode } from '../../cni/errors.ts';
import type { NetlinkError } from '../../netlink/door.ts';
import { deleteLink, getLink, type Link, setLink } from '../../netlink/link.ts';
import { createStacked, IPVLAN_MODES, MACVLAN_MODES, type Stacked } from '../../netlink/link-kinds.ts';
import { tolerating } from '../../netlink/message.ts';
import type { Difference } from '../difference.ts';
import type { StepKind } from '../kind.ts';
import { linkToOutside } from '../mtu.ts';
import { ipCommand, netnsName } from '../render.ts';
import type { Run } from '../run.ts';
import type { UpperStep } from '../step.ts';
import { namespaceOf, place } from '../surroundings.ts';
import { explainKind, insideDifferences, missingInside, removeInside } from './inside-link.ts';

/** Throws CniError(invalidConfig) when there is none. */
async function findLower({ lower }: UpperStep, run: Run): Promise<Link> {
  const where = place(lower.in);
  if (lower.name === undefined) {
    const link = await linkToOutside((op) => run.ask(lower.in, op));
    if (link) return link;
    throw new CniError(
      ErrorCode.invalidConfig,
      `master: missing, and there is no default route ${where} whose link could be meant: name a link`,
    );
  }
  const reply = await run.ask(lower.in, tolerating(getLink(lower.name), 'ENODEV'));
  if (reply.ok) return reply.value;
  throw new CniError(
    ErrorCode.invalidConfig,
    `master: wanted a link ${where}, found none named ${lower.name}`,
  );
}

function requireFittingMtu({ mtu, as }: UpperStep, lower: Link): void {
  if (mtu === undefined || mtu <= lower.mtu) return;
  throw new CniError(
    ErrorCode.invalidConfig,
    `mtu: found ${mtu}, wanted at most ${lower.mtu}, that of ${lower.name}, which the ${as.type} stands on`,
  );
}

/** The kernel says little of why a link cannot carry another (drivers/net/macvlan.c, drivers/net/ipvlan, net/8021q). */
function explain({ as, name }: UpperStep, lower: Link, error: NetlinkError): Error | undefined {
  const refuse = (why: string) =>
    new CniError(
      ErrorCode.conflict,
      `cannot make ${as.type} ${name} on ${lower.name}: ${why}`,
      error.message,
      {
        cause: error,
      },
    );
  if (error.errno === 'EBUSY')
    return refuse(`another user has ${lower.name} for itself: a bridge, a bond, an ipvlan or a macvlan`);
  if (error.errno === 'EINVAL' && error.kernelMessage === undefined) {
    return refuse(
      as.type === 'macvlan'
        ? 'wanted an Ethernet link without a macvlan of mode passthru, which is alone on its link'
        : 'wanted an Ethernet link',
    );
  }
  if (error.errno === 'EEXIST' && as.type === 'vlan' && error.kernelMessage !== undefined)
    return refuse(`VLAN ${as.id} of it is in use already: each container needs a VLAN of its own`);
  return explainKind(as.type, error);
}

/** Makes the link in the container, in one message, also where the host has a link of the same name. */
async function make(step: UpperStep, lower: Link, run: Run): Promise<void> {
  const { name, spare, as, mac, mtu } = step;
  const container = namespaceOf(run.surroundings, 'container');
  const placement = {
    lower: lower.index,
    as,
    netnsFd: step.lower.in === 'host' ? container.fd : undefined,
  };
  const hooks = (made: string) => ({
    undo: {
      what: `delete link ${made} in the container`,
      undo: () => container.send(tolerating(deleteLink(made), 'ENODEV')),
    },
    explain: (error: NetlinkError) => explain(step, lower, error),
  });
  const op = createStacked({ name, mac, mtu }, placement);
  const reply = await run.ask(step.lower.in, tolerating(op, 'EEXIST'), hooks(name));
  if (reply.ok) return;
  const taken = explain(step, lower, reply.error);
  if (taken || step.lower.in === 'container' || (await isTaken(name, run))) throw taken ?? nameTaken(name);
  // Before Linux 6.14 a name that the host has was refused for the container, too.
  await run.ask('host', createStacked({ name: spare, mac, mtu }, placement), hooks(spare));
  const found = await run.ask('container', getLink(spare));
  if (!found.ok) throw found.error;
  run.push('container', setLink(found.value.index, { rename: name }), hooks(name));
}

const nameTaken = (name: string) =>
  new CniError(
    ErrorCode.conflict,
    `the container has a link ${name} already: CNI_IFNAME must be a free name`,
  );

async function isTaken(name: string, run: Run): Promise<boolean> {
  return (await run.ask('container', tolerating(getLink(name), 'ENODEV'))).ok;
}

function modeOf(as: Stacked, link: Link): [wanted: string, found: string] {
  const nameOf = (modes: Readonly<Record<string, number>>, mode: number | undefined) =>
    Object.entries(modes).find(([, number]) => number === mode)?.[0] ?? `${mode}`;
  if (as.type === 'macvlan') return [`mode ${as.mode}`, `mode ${nameOf(MACVLAN_MODES, link.macvlan?.mode)}`];
  if (as.type === 'ipvlan') return [`mode ${as.mode}`, `mode ${nameOf(IPVLAN_MODES, link.ipvlan?.mode)}`];
  return [`VLAN ${as.id}`, `VLAN ${link.vlan?.id}`];
}

export const upper: StepKind<UpperStep> = {
  async apply(step, run) {
    const lower = await findLower(step, run);
    requireFittingMtu(step, lower);
    await make(step, lower, run);
    const { name, up, alias, mac } = step;
    run.push('container', setLink(name, { up: up || undefined, alias }), {
      explain: (error) =>
        error.errno === 'EADDRINUSE'
          ? new CniError(ErrorCode.conflict, `MAC ${mac} is in use on ${lower.name} already`, error.message)
          : undefined,
    });
    const reply = await run.ask('container', getLink(name));
    if (reply.ok) run.learn('container', name, reply.value);
  },

  async verify(step, look) {
    const { name, lower, as } = step;
    const link = await look.link('container', name);
    if (!link) return [missingInside(name)];
    const differences: Difference[] = insideDifferences(step, as.type, link);
    const [wanted, found] = modeOf(as, link);
    const what = `link ${name} in the container`;
    if (link.kind === as.type && wanted !== found) differences.push({ what, wanted, found });
    if (lower.name === undefined) return differences;
    const carrier = await look.link(lower.in, lower.name);
    const on = `link ${lower.name} ${place(lower.in)}`;
    if (!carrier) differences.push({ what: on, wanted: 'present', found: 'no such link' });
    else if (link.link !== carrier.index)
      differences.push({ what, wanted: `on ${on}`, found: `on link ${link.link}` });
    return differences;
  },

  remove: (step, surroundings) => removeInside(step, step.as.type, surroundings),

  render({ name, lower, as, mac, mtu, up, alias }, { netns }) {
    const optional = (word: string, value: string | number | undefined) => (value ? [word, value] : []);
    // A person's shell finds the link of the default route.
    const words = ['link', 'add', 'link', lower.name ?? 'MASTER', 'name', name];
    const kind =
      as.type === 'vlan'
        ? ['id', as.id]
        : [
            'mode',
            as.mode,
            ...(as.type === 'macvlan' ? optional('bcqueuelen', as.broadcastQueueLength) : []),
          ];
    const line = ipCommand(
      lower.in,
      netns,
      ...words,
      ...optional('address', mac),
      ...optional('mtu', mtu),
      ...(lower.in === 'host' ? ['netns', netnsName(netns) ?? netns] : []),
      ...['type', as.type, ...kind],
    );
    const route = ipCommand(lower.in, netns, 'route', 'show', 'default');
    const found = `"$(${route} | sed -n 's/.* dev \\([^ ]*\\).*/\\1/p;q')"`;
    return [
      lower.name === undefined ? line.replace(' MASTER ', ` ${found} `) : line,
      ipCommand('container', netns, 'link', 'set', name, up && 'up', 'alias', alias),
    ];
  },
};
