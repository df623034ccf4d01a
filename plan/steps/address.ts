import { CniError, ErrorCode } from '../../cni/errors.ts';
import { canonical, familyOf, overlap } from '../../cni/prefix.ts';
import { type Address, addAddress, deleteAddress, listAddresses } from '../../netlink/address.ts';
import type { NetlinkError } from '../../netlink/door.ts';
import { tolerating } from '../../netlink/message.ts';
import { explainError } from '../failure.ts';
import type { StepKind } from '../kind.ts';
import { ipCommand } from '../render.ts';
import { type Run, Vanished } from '../run.ts';
import type { AddressStep } from '../step.ts';
import { namespaceOf, place } from '../surroundings.ts';
import { hasOtherPorts } from './bridge.ts';

/** RT_SCOPE_LINK and beyond: the kernel's own addresses. */
const LINK_SCOPE = 253;
const DAD_TRIES = 50;
const DAD_PAUSE = 200;

/** Disabled IPv6 on the link is refused with EACCES (6.x) or EPERM: ipv6_add_addr in net/ipv6/addrconf.c. */
const IPV6_OFF = ['EACCES', 'EPERM'];

function newAddress(step: AddressStep, index: number) {
  const noDad = familyOf(step.address) === 6 && !step.dad;
  return addAddress({ link: index, address: step.address, noDad, noPrefixRoute: step.noPrefixRoute });
}

/** Switches IPv6 on for the one link, where the namespace has it off by default. */
async function enableIpv6(step: AddressStep, run: Run, error: NetlinkError): Promise<boolean> {
  if (familyOf(step.address) !== 6 || !IPV6_OFF.includes(error.errno)) return false;
  const file = `/proc/sys/net/ipv6/conf/${step.dev}/disable_ipv6`;
  const namespace = namespaceOf(run.surroundings, step.in);
  try {
    if ((await namespace.readFile(file)).trim() === '0') return false;
    await namespace.writeFile(file, '0');
    return true;
  } catch (cause) {
    throw new CniError(
      ErrorCode.kernel,
      `cannot add ${step.address} to ${step.dev} ${place(step.in)}: IPv6 is disabled there and cannot be enabled`,
      cause instanceof Error ? cause.message : undefined,
      { cause },
    );
  }
}

/** Waits until duplicate address detection has let the address through; throws CniError(conflict) when a neighbour has it. */
async function waitForDad(step: AddressStep, index: number, run: Run): Promise<void> {
  for (let tries = 0; tries < DAD_TRIES; tries += 1) {
    const [reply] = await namespaceOf(run.surroundings, step.in).send(listAddresses({ link: index }));
    const found = reply.ok ? reply.value.find(({ cidr }) => cidr === canonical(step.address)) : undefined;
    if (found?.dadFailed) {
      throw new CniError(
        ErrorCode.conflict,
        `${step.address} on ${step.dev}: a neighbour has this address already`,
      );
    }
    if (found && !found.tentative) return;
    await run.surroundings.sleep(DAD_PAUSE);
  }
  const waited = (DAD_TRIES * DAD_PAUSE) / 1000;
  throw new CniError(
    ErrorCode.tryAgain,
    `${step.address} on ${step.dev}: duplicate address detection did not end within ${waited} s`,
  );
}

/**
 * Addresses that cannot stand beside the wanted one: a second IPv4 address would become its secondary or the source
 * of the host's packets; IPv6 links have many, so only those of an overlapping prefix count.
 */
export function conflicting(
  step: AddressStep,
  plan: readonly AddressStep[],
  found: readonly Address[],
): string[] {
  const planned = new Set(plan.map(({ address }) => canonical(address)));
  const family = familyOf(step.address);
  return found
    .filter(({ scope, cidr }) => scope < LINK_SCOPE && familyOf(cidr) === family && !planned.has(cidr))
    .filter(({ cidr }) => family === 4 || overlap(cidr, step.address))
    .map(({ cidr }) => cidr);
}

/** Whose ports share the address: the bridge that it is on, or whose VLAN it is on. */
function bridgeOf({ dev }: AddressStep, run: Run): string {
  for (const step of run.plan) if (step.kind === 'vlan' && step.name === dev) return step.bridge;
  return dev;
}

/** An address of a link that many attachments share: a bridge's, as their gateway. */
async function applyShared(step: AddressStep, index: number, run: Run): Promise<void> {
  const reply = await run.once(`addresses of ${index} ${place(step.in)}`, () =>
    run.ask(step.in, listAddresses({ link: index })),
  );
  const found = reply.ok ? reply.value : [];
  const siblings = run.plan.filter(
    (other): other is AddressStep =>
      other.kind === 'address' && other.dev === step.dev && other.in === step.in,
  );
  const others = step.shared === 'beside' ? [] : conflicting(step, siblings, found);
  if (others.length > 0 && step.shared !== 'replace') {
    throw new CniError(
      ErrorCode.conflict,
      `${bridgeOf(step, run) === step.dev ? 'bridge' : 'link'} ${step.dev} has address ${others.join(', ')}, configuration wants ${step.address}: ` +
        'set forceAddress or remove the address',
    );
  }
  const namespace = namespaceOf(run.surroundings, step.in);
  for (const other of others) {
    run.push(step.in, tolerating(deleteAddress(index, other), 'EADDRNOTAVAIL'), {
      undo: {
        what: `put ${other} back on ${step.dev}`,
        undo: () =>
          namespace.send(tolerating(addAddress({ link: index, address: other }), 'EEXIST', 'ENODEV')),
      },
    });
  }
  if (found.some(({ cidr }) => cidr === canonical(step.address))) return;
  run.push(step.in, tolerating(newAddress(step, index), 'EEXIST'), {
    undo: {
      what: `take ${step.address} off ${step.dev}`,
      // Another attachment may count on it by now.
      async undo() {
        if (await hasOtherPorts(bridgeOf(step, run), run)) return;
        await namespace.send(tolerating(deleteAddress(index, step.address), 'EADDRNOTAVAIL', 'ENODEV'));
      },
    },
    explain: (error) => (error.errno === 'ENODEV' ? new Vanished(explainError(error)) : undefined),
    recover: (error) => enableIpv6(step, run, error),
  });
}

export const address: StepKind<AddressStep> = {
  async apply(step, run) {
    const { index } = await run.link(step.in, step.dev);
    if (step.shared) return await applyShared(step, index, run);
    run.push(step.in, newAddress(step, index), {
      recover: (error) => enableIpv6(step, run, error),
      explain: (error) =>
        error.errno === 'EEXIST'
          ? new CniError(ErrorCode.conflict, `${step.dev} has address ${step.address} already`, error.message)
          : undefined,
    });
    if (step.dad) run.atEnd(() => waitForDad(step, index, run));
  },

  async verify(step, look) {
    const found = await look.addresses(step.in, step.dev);
    const wanted = canonical(step.address);
    const match = found.find(({ cidr }) => cidr === wanted);
    const what = `address ${wanted} on ${step.dev} ${place(step.in)}`;
    if (match?.dadFailed) return [{ what, wanted: 'usable', found: 'a duplicate on the network' }];
    if (match) return [];
    const others = found.filter(
      ({ scope, family }) => scope < LINK_SCOPE && (family === 2) === (familyOf(wanted) === 4),
    );
    const list = others.map(({ cidr }) => cidr).join(', ');
    return [{ what, wanted: 'present', found: list || 'nothing' }];
  },

  render({ in: where, dev, address, dad, noPrefixRoute }, { netns }) {
    const ipv6 = familyOf(address) === 6;
    return [
      ipCommand(
        ...([where, netns, ipv6 && '-6', 'addr', 'add', address, 'dev', dev] as const),
        ipv6 && !dad && 'nodad',
        noPrefixRoute && 'noprefixroute',
      ),
    ];
  },
};
