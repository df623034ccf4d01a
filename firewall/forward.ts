/**
 * Lets containers' packets through (forward-rules.ts): each change is one iptables-save to see what is there and one
 * `iptables-restore --noflush` with exactly the difference, for each family, under the firewall's lock.
 */
import type { Ambient } from '../cni/ambient.ts';
import { CniError, ErrorCode } from '../cni/errors.ts';
import type { AttachmentId } from '../cni/types.ts';
import type { Namespace } from '../netlink/door.ts';
import type { IpFamily } from './address.ts';
import {
  type Admission,
  adminJump,
  FILTER,
  FORWARD_CHAIN,
  FORWARD_CHAINS,
  FORWARD_JUMP,
  forwardOwner,
  ISOLATION_JUMP,
  isAdminJump,
  isReferenceRule,
  memberRules,
  policyRules,
  REFERENCE_CHAIN,
} from './forward-rules.ts';
import { hasChain } from './iptables-chains.ts';
import { removeLines } from './iptables-removal.ts';
import { deletion } from './iptables-rules.ts';
import { publicationMark, publicationPrefix } from './ports-ruleset.ts';
import { findProgram, withFirewallLock } from './program.ts';
import { hostIptables, whereChains } from './xtables.ts';

export interface ForwardRules {
  /** Idempotent. */
  admit(admission: Admission): Promise<void>;
  /** Idempotent. Also what the reference let through of these addresses, which may be none. */
  withdraw(admission: Pick<Admission, keyof AttachmentId | 'network' | 'addresses'>): Promise<void>;
  /** One line per missing thing, empty when all is there. */
  verify(admission: Admission): Promise<string[]>;
  /** Whether the reference lets all of these addresses through. */
  madeByReference(addresses: Admission['addresses']): Promise<boolean>;
  /** Removes what belongs to none of the network's valid attachments; returns what it removed, readable. */
  collect(network: string, valid: readonly AttachmentId[]): Promise<string[]>;
  /** Throws CniError(notAvailable). */
  probe(): Promise<void>;
}

const NO_IPTABLES =
  'what this host forwards cannot be let through or kept apart: iptables-restore is not installed (or not on PATH): install iptables';

const familiesOf = ({ addresses }: Pick<Admission, 'addresses'>): IpFamily[] =>
  ([4, 6] as const).filter((family) => addresses.some((one) => one.family === family));

/** Opens nothing and changes nothing; `host` and `ambient` are used by the methods. */
export function forwardRules(host: Namespace, ambient: Ambient): ForwardRules {
  const isInstalled = () => findProgram(ambient.env, 'iptables-restore') !== undefined;
  return {
    async admit(admission) {
      if (isInstalled()) return await admit(host, ambient, admission);
      if (admission.required) throw new CniError(ErrorCode.program, NO_IPTABLES);
    },
    async withdraw(admission) {
      const mark = publicationMark(admission);
      await removeLines(
        host,
        ambient,
        PLACE,
        (line) => forwardOwner(line) === mark || isReferenceRule(line, admission.addresses),
      );
    },
    verify: async (admission) =>
      isInstalled() || admission.required ? await verify(host, ambient, admission) : [],
    async madeByReference(addresses) {
      const saved: string[] = [];
      for (const { variant, family } of await whereChains(host, [REFERENCE_CHAIN], FILTER))
        saved.push(...(await hostIptables(host, ambient, variant).save(family, FILTER)).split('\n'));
      return (
        addresses.length > 0 && addresses.every((one) => saved.some((line) => isReferenceRule(line, [one])))
      );
    },
    collect: (network, valid) => collect(host, ambient, network, valid),
    probe: async () => {
      if (!isInstalled()) throw new CniError(ErrorCode.notAvailable, NO_IPTABLES);
    },
  };
}

/** The lines that turn what iptables-save printed into what the admission wants; empty when it is all there. */
function additions(admission: Admission, family: IpFamily, saved: string): string[] {
  const present = saved.split('\n');
  const missing = (lines: readonly string[]) => lines.filter((line) => !present.includes(line));
  const first = (line: string) => line.replace(/^-A (\S+)/, '-I $1 1');
  const own = memberRules(admission, family);
  const mark = publicationMark(admission);
  const isApart = present.includes(ISOLATION_JUMP);
  // The administrator's rules come first, whatever has to be put before ours.
  const admins = isApart ? [] : present.filter(isAdminJump);
  const wantedAdmins = [...new Set([...admins, ...missing([adminJump(admission.adminChain)])])];
  return [
    ...[...FORWARD_CHAINS, admission.adminChain]
      .filter((chain) => !hasChain(saved, chain))
      .map((chain) => `:${chain} - [0:0]`),
    ...admins.map(deletion),
    ...(isApart ? [] : [first(ISOLATION_JUMP)]),
    ...wantedAdmins.map(first),
    ...missing(policyRules(admission)),
    ...present.filter((line) => forwardOwner(line) === mark && !own.includes(line)).map(deletion),
    ...missing(own),
    ...missing([FORWARD_JUMP]).map(first),
  ];
}

async function admit(host: Namespace, ambient: Ambient, admission: Admission): Promise<void> {
  const command = hostIptables(host, ambient);
  await withFirewallLock(ambient, async () => {
    for (const family of familiesOf(admission)) {
      const lines = additions(admission, family, await command.save(family, FILTER));
      if (lines.length > 0) await command.restore(family, FILTER, lines);
    }
  });
}

const PLACE = { table: FILTER, chains: [FORWARD_CHAIN, REFERENCE_CHAIN] } as const;

async function verify(host: Namespace, ambient: Ambient, admission: Admission): Promise<string[]> {
  const command = hostIptables(host, ambient);
  const missing: string[] = [];
  for (const family of familiesOf(admission)) {
    const present = (await command.save(family, FILTER)).split('\n');
    const program = family === 4 ? 'iptables' : 'ip6tables';
    const wanted = [
      ...[FORWARD_JUMP, adminJump(admission.adminChain)],
      ...(admission.policy === 'open' ? [] : [ISOLATION_JUMP, ...policyRules(admission)]),
      ...memberRules(admission, family),
    ];
    missing.push(
      ...wanted
        .filter((line) => !present.includes(line))
        .map((line) => `rule "${line}" in ${program} table ${FILTER}`),
    );
  }
  return missing;
}

async function collect(
  host: Namespace,
  ambient: Ambient,
  network: string,
  valid: readonly AttachmentId[],
): Promise<string[]> {
  const marks = new Set(valid.map((id) => publicationMark({ ...id, network })));
  const prefix = publicationPrefix(network);
  const removed = await removeLines(host, ambient, PLACE, (line) => {
    const owner = forwardOwner(line);
    return owner?.startsWith(prefix) === true && !marks.has(owner);
  });
  return [...new Set(removed.map(forwardOwner))].map((owner) => `forwarding of ${owner}`);
}
