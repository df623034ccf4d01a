/** Membership of the container's link in a VRF: its packets are routed by a table of their own (Documentation/networking/vrf.rst). */
import { CniError, ErrorCode } from '../../cni/errors.ts';
import { type Address, addAddress, listAddresses } from '../../netlink/address.ts';
import { deleteLink, getLink, type Link, listLinks, setLink } from '../../netlink/link.ts';
import { createVrf } from '../../netlink/link-kinds.ts';
import { tolerating } from '../../netlink/message.ts';
import { addRouteBeside, listRoutes, type Route, RT_TABLE_MAIN } from '../../netlink/route.ts';
import type { StepKind } from '../kind.ts';
import { lookForLink } from '../look.ts';
import { ipCommand } from '../render.ts';
import { type KnownLink, type Run, Vanished } from '../run.ts';
import type { VrfStep } from '../step.ts';
import { namespaceOf, type Surroundings } from '../surroundings.ts';
import { explainKind, missingInside } from './inside-link.ts';

const AF_INET6 = 10;
/** RTPROT_KERNEL: routes that come back by themselves. */
const KERNEL = 2;
/** RT_TABLE_DEFAULT, RT_TABLE_MAIN, RT_TABLE_LOCAL; 0 stands for none. */
const RESERVED = [0, 253, 254, 255];
const FIRST = 1;

/** The first table that no VRF and no route of the namespace has. */
export function freeTable(links: readonly Link[], routes: readonly Route[]): number {
  const taken = new Set([
    ...RESERVED,
    ...links.flatMap(({ vrf }) => vrf?.table ?? []),
    ...routes.map(({ table }) => table),
  ]);
  for (let table = FIRST; ; table += 1) if (!taken.has(table)) return table;
}

/** Undefined when there is no link of that name. Throws CniError(conflict) when it is not the VRF that is wanted. */
async function look({ name, table }: VrfStep, run: Run): Promise<Link | undefined> {
  const reply = await run.ask('container', tolerating(getLink(name), 'ENODEV'));
  if (!reply.ok) return undefined;
  const { kind, vrf } = reply.value;
  const conflict = (found: string) =>
    new CniError(
      ErrorCode.conflict,
      `vrfname: wanted VRF ${name}${table ? ` with table ${table}` : ''} in the container, found ${found}`,
    );
  if (kind !== 'vrf') throw conflict(`a link of that name that is of kind ${kind ?? 'none'}`);
  if (table && vrf?.table !== table) throw conflict(`it with table ${vrf?.table}`);
  return reply.value;
}

/** Undefined when somebody else was faster. */
async function create({ name, table }: VrfStep, run: Run): Promise<Link | undefined> {
  const [links, routes] = await namespaceOf(run.surroundings, 'container').send(listLinks(), listRoutes());
  if (!links.ok) throw links.error;
  const op = createVrf({
    name,
    up: true,
    table: table || freeTable(links.value, routes.ok ? routes.value : []),
  });
  const reply = await run.ask('container', tolerating(op, 'EEXIST'), {
    undo: { what: `delete VRF ${name}`, undo: () => removeIfEmpty(name, run.surroundings) },
    partly: true,
    explain: (error) => explainKind('vrf', error),
  });
  return reply.ok ? reply.value : undefined;
}

async function removeIfEmpty(name: string, surroundings: Surroundings): Promise<void> {
  const container = namespaceOf(surroundings, 'container');
  const [links] = await container.send(listLinks());
  const vrf = links.ok ? links.value.find((link) => link.name === name && link.kind === 'vrf') : undefined;
  if (!vrf || (links.ok && links.value.some(({ master }) => master === vrf.index))) return;
  await container.send(tolerating(deleteLink(vrf.index), 'ENODEV'));
}

/**
 * The kernel sets a link that gets a master down and up again (cycle_netdev in drivers/net/vrf.c): its IPv6 addresses and the routes
 * that somebody added are lost. They are put back, the routes into the VRF's table.
 */
async function enslave({ dev }: VrfStep, vrf: KnownLink & { table: number }, run: Run): Promise<void> {
  const container = namespaceOf(run.surroundings, 'container');
  const { index } = await run.link('container', dev);
  const [addresses, routes] = await container.send(
    listAddresses({ link: index, family: AF_INET6 }),
    listRoutes({ link: index }),
  );
  run.push('container', setLink(index, { master: vrf.index }), {
    undo: {
      what: `take ${dev} out of its VRF`,
      undo: () => container.send(tolerating(setLink(dev, { master: 0 }), 'ENODEV')),
    },
  });
  for (const address of addresses.ok ? addresses.value : []) {
    if (isKept(address)) run.push('container', again(address, index));
  }
  for (const route of routes.ok ? routes.value : []) {
    if (route.table !== RT_TABLE_MAIN || route.protocol === KERNEL) continue;
    run.push('container', tolerating(addRouteBeside({ ...route, link: index, table: vrf.table }), 'EEXIST'));
  }
}

/** RT_SCOPE_LINK: the kernel makes those itself. */
const isKept = ({ scope }: Address) => scope < 253;

const again = ({ cidr }: Address, link: number) =>
  tolerating(addAddress({ link, address: cidr, noDad: true }), 'EEXIST');

export const vrf: StepKind<VrfStep> = {
  async apply(step, run) {
    const found = (await look(step, run)) ?? (await create(step, run)) ?? (await look(step, run));
    const table = found?.vrf?.table;
    if (!found || table === undefined)
      throw new Vanished(new CniError(ErrorCode.tryAgain, `VRF ${step.name} comes and goes: try again`));
    const member = await run.ask('container', getLink(step.dev));
    if (!member.ok) throw member.error;
    const { master } = member.value;
    if (master === found.index) return;
    if (master !== undefined) {
      throw new CniError(
        ErrorCode.conflict,
        `wanted ${step.dev} in VRF ${step.name}, found that it is a port of link ${master} already`,
      );
    }
    run.learn('container', step.dev, member.value);
    await enslave(step, { index: found.index, table }, run);
  },

  async verify({ name, dev, table }, look) {
    const [link, member] = await Promise.all([look.link('container', name), look.link('container', dev)]);
    const what = `VRF ${name} in the container`;
    if (!link) return [{ what, wanted: 'present', found: 'no such link' }];
    if (link.kind !== 'vrf')
      return [{ what, wanted: 'a VRF', found: `a link of kind ${link.kind ?? 'none'}` }];
    if (table && link.vrf?.table !== table)
      return [{ what, wanted: `table ${table}`, found: `table ${link.vrf?.table}` }];
    if (!member) return [missingInside(dev)];
    if (member.master === link.index) return [];
    return [
      { what: `link ${dev} in the container`, wanted: `member of VRF ${name}`, found: 'no member of it' },
    ];
  },

  async remove({ name, dev }, surroundings) {
    const { container } = surroundings;
    if (!container) return;
    const [link, member] = await Promise.all([
      lookForLink(surroundings, 'container', name),
      lookForLink(surroundings, 'container', dev),
    ]);
    if (link?.kind !== 'vrf') return;
    if (member?.master === link.index)
      await container.send(tolerating(setLink(member.index, { master: 0 }), 'ENODEV'));
    await removeIfEmpty(name, surroundings);
  },

  render: ({ name, dev, table }, { netns }) => [
    ipCommand('container', netns, 'link', 'add', name, 'up', 'type', 'vrf', 'table', table || FIRST),
    ipCommand('container', netns, 'link', 'set', dev, 'master', name),
  ],
};
