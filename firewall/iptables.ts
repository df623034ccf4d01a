/**
 * The iptables backend, for hosts that run on legacy iptables or have no nf_tables, and where the configuration wants it: sets
 * where the host has ipset (iptables-sets.ts), else a chain with a rule per container (iptables-chains.ts).
 */
import type { Ambient } from '../cni/ambient.ts';
import { CniError, ErrorCode } from '../cni/errors.ts';
import type { AttachmentId } from '../cni/types.ts';
import type { Namespace } from '../netlink/door.ts';
import { parseSources } from './address.ts';
import type { FirewallBackend, Membership } from './firewall.ts';
import { addToChains, collectChains, removeFromChains, verifyChains } from './iptables-chains.ts';
import { renderCommands } from './iptables-rules.ts';
import {
  addToSets,
  collectSets,
  entriesOf,
  installSets,
  removeFromSets,
  removeSets,
  verifySets,
} from './iptables-sets.ts';
import { iptablesNames } from './ownership.ts';
import { findProgram, withFirewallLock } from './program.ts';
import { hostIptables, whereChains } from './xtables.ts';

/**
 * Opens nothing and changes nothing; `host` and `ambient` are used by the methods.
 * @param useSets whether to use ipset where the kernel has it
 */
export function iptablesBackend(host: Namespace, ambient: Ambient, useSets = true): FirewallBackend {
  return {
    name: 'iptables',
    addMasquerade: (member) => add(host, ambient, member, useSets),
    removeMasquerade: (member) => remove(host, ambient, member),
    verifyMasquerade: (member) => verify(host, ambient, member),
    collectMasquerade: (network, valid) => collect(host, ambient, network, valid),
    renderMasquerade: renderCommands,
    probe: () => probe(ambient),
  };
}

async function add(host: Namespace, ambient: Ambient, member: Membership, useSets: boolean): Promise<void> {
  if (member.sources.length === 0) return;
  const state = useSets ? await addToSets(host, member) : 'unsupported';
  if (state === 'standing') return;
  assertInstalled(ambient, ErrorCode.program);
  const command = hostIptables(host, ambient);
  await withFirewallLock(ambient, async () => {
    const inSets = state === 'missing' && (await triedSets(() => installSets(host, command, member)));
    if (!inSets) await addToChains(command, member);
  });
}

/** False where the programs or the kernel know sets, but not rules that match them. */
async function triedSets(install: () => Promise<boolean>): Promise<boolean> {
  try {
    return await install();
  } catch (error) {
    if (error instanceof CniError && error.code === ErrorCode.noKernelSupport) return false;
    throw error;
  }
}

async function remove(host: Namespace, ambient: Ambient, member: Omit<Membership, 'except'>): Promise<void> {
  const wanted = parseSources(member.sources).length;
  const taken = await removeFromSets(host, member);
  if (wanted > 0 && taken === wanted) return;
  // What was not in the sets may be in chains, from a time without ipset.
  for (const { variant, family } of await whereChains(host, [iptablesNames(member.network).chain])) {
    const command = hostIptables(host, ambient, variant);
    await withFirewallLock(ambient, () => removeFromChains(command, member, family));
  }
}

async function verify(host: Namespace, ambient: Ambient, member: Membership): Promise<string[]> {
  const command = hostIptables(host, ambient);
  const inSets = await verifySets(host, command, member);
  if (inSets.length === 0) return [];
  const chains = await whereChains(host, [iptablesNames(member.network).chain]);
  if (chains.length === 0) return inSets;
  const inChains = await verifyChains(command, member);
  return inChains.length < inSets.length ? inChains : inSets;
}

async function collect(
  host: Namespace,
  ambient: Ambient,
  network: string,
  valid: readonly AttachmentId[],
): Promise<string[]> {
  const { removed, left } = await collectSets(host, network, valid);
  if (valid.length === 0 && left === 0) {
    const command = hostIptables(host, ambient);
    await withFirewallLock(ambient, async () => {
      if ((await entriesOf(host, network)).length === 0) await removeSets(host, command, network);
    });
  }
  for (const { variant, family } of await whereChains(host, [iptablesNames(network).chain])) {
    const command = hostIptables(host, ambient, variant);
    await withFirewallLock(ambient, async () => {
      removed.push(...(await collectChains(command, network, family, valid)));
    });
  }
  return removed;
}

async function probe(ambient: Ambient): Promise<void> {
  assertInstalled(ambient, ErrorCode.notAvailable);
}

/** Before sets are made that no rule would match. */
function assertInstalled(ambient: Ambient, code: number): void {
  if (findProgram(ambient.env, 'iptables-restore')) return;
  throw new CniError(
    code,
    'the iptables backend cannot work: iptables-restore is not installed (or not on PATH): install iptables',
  );
}
