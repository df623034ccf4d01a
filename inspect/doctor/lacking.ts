/** What attachments need and have not, and what is left of those that are gone. */
import { FORWARD_CHAIN, ISOLATION_CHAIN, LET_SETS } from '../../firewall/forward-iptables-rules.ts';
import type { Finding } from '../finding.ts';
import type { Chain, Ruleset } from '../ruleset/model.ts';
import type { DoctorView } from './view.ts';

export function attachmentsLacking({ lacking, nat }: DoctorView): Finding[] {
  return lacking.map(({ network, containerId, ifname, kind, what, mend }) => {
    const isIdle = kind === 'rules' && what.every((line) => letsThrough(line, nat.host.ruleset));
    return {
      code: kind === 'rules' ? 'rules-missing' : 'attachment-incomplete',
      severity: isIdle ? 'note' : 'error',
      what: `${ifname} of container ${containerId} on network ${network} lacks ${some(what)}`,
      why: isIdle
        ? 'it lets through what this host does not drop: nothing is lost, until somebody makes iptables drop what is forwarded'
        : 'ADD made it and somebody took it away: the container works in part, or not at all. A running agent (weft agent) puts it back',
      mend,
      // Done by what ADD does, which hurts nobody.
      safe: true,
      subject: `${network} ${containerId} ${ifname}`,
    };
  });
}

/**
 * What the firewall plugin has in iptables lets packets through where iptables drop them. Rules of others that only let through make iptables
 * one of the places where a host decides, and ours are then missed there (firewall/forward-places.ts), without any need.
 */
function letsThrough(line: string, { tables }: Ruleset): boolean {
  const family = familyOf(line);
  const filters = tables.filter(
    (one) => one.variant !== 'nftables' && one.name === 'filter' && one.family === family,
  );
  const drops = filters.some(({ chains }) => {
    const forward = chains.find(({ base }) => base?.hook === 'forward');
    return forward?.base?.policy === 'drop' || (forward !== undefined && chains.some(mayDrop));
  });
  return family !== undefined && !drops;
}

/** Of what lets packets through; undefined of all else that attachments have. */
function familyOf(line: string): 'ip' | 'ip6' | undefined {
  const [, rule = '', program] = /^rule "(.*)" in (ip6?tables) table filter$/.exec(line) ?? [];
  const [, set] = /^entry \S+ in ipset (\S+)$/.exec(line) ?? [];
  const [, chain = ''] = /^-A (\S+)/.exec(rule) ?? [];
  if (set !== undefined) return set === LET_SETS[6] ? 'ip6' : set === LET_SETS[4] ? 'ip' : undefined;
  if (!['FORWARD', FORWARD_CHAIN].includes(chain) || rule.endsWith(`-j ${ISOLATION_CHAIN}`)) return undefined;
  return program === 'ip6tables' ? 'ip6' : 'ip';
}

/** The chains of what a host itself takes do not matter. */
function mayDrop({ rules, base }: Chain): boolean {
  if (base !== undefined && base.hook !== 'forward') return false;
  return rules.some(({ statements }) =>
    statements.some(
      (one) =>
        one.kind === 'unknown' ||
        (one.kind === 'verdict' && /^(?:drop|reject|queue)$/.test(one.verdict.kind)),
    ),
  );
}

export function attachmentsLeft({ remains }: DoctorView): Finding[] {
  return remains.map(({ network, containerId, ifname, dead, reason }) => ({
    code: 'attachment-left-behind',
    severity: dead ? 'warning' : 'note',
    what: `container ${containerId} ${dead ? 'is gone' : 'may be gone'}, and its attachment to ${network} (${ifname}) is not: ${reason}`,
    why: 'its runtime never called DEL: its addresses stay leased, its rules stay',
    mend: [`weft net del ${network} --id ${containerId} --ifname ${ifname}`],
    safe: dead,
    subject: `${network} ${containerId} ${ifname}`,
  }));
}

/** Where base rules are gone, each of them is. */
function some([first = '', second, ...more]: readonly string[]): string {
  if (second === undefined) return first;
  return more.length === 0 ? `${first}, ${second}` : `${first}, and ${more.length + 1} more`;
}
