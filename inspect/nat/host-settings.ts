/** Settings of the host without which translations do nothing, or other than they seem to. */
import { quote } from '../../plan/render.ts';
import type { Finding } from '../finding.ts';
import { lookUp } from '../path/routing.ts';
import { containerAddress, type NatView } from './view.ts';

/** Addresses whose links are looked at; on a host with thousands of containers they share a few. */
const SAMPLES = 256;

export function forwardingOff(view: NatView): Finding[] {
  const { entries, host } = view;
  const found: Finding[] = [];
  const families = new Set(entries.flatMap((entry) => familyOf(containerAddress(entry)) ?? []));
  if (families.has(4) && host.sysctls.get('ipv4/ip_forward') === 0)
    found.push(off('IPv4', 'net.ipv4.ip_forward'));
  else if (families.has(4)) found.push(...linksOff(view));
  if (families.has(6) && host.sysctls.get('ipv6/conf/all/forwarding') === 0) {
    found.push(off('IPv6', 'net.ipv6.conf.all.forwarding'));
  }
  return found;
}

function familyOf(address: string | undefined): 4 | 6 | undefined {
  if (address === undefined) return undefined;
  return address.includes(':') ? 6 : 4;
}

function off(family: string, sysctl: string): Finding {
  return {
    code: 'forwarding-off',
    severity: 'error',
    what: `${family} forwarding is off (${sysctl} = 0)`,
    why: 'the kernel drops every packet between a container and another host; addresses are rewritten for nothing',
    mend: [`sysctl -w ${quote(`${sysctl}=1`)}`],
    // A host may be no router on purpose.
    safe: false,
    subject: family,
  };
}

/** The switch of one link counts for what comes in by it. */
function linksOff({ entries, host }: NatView): Finding[] {
  const addresses = new Set(entries.flatMap((entry) => containerAddress(entry) ?? []));
  const names = new Set<string>();
  for (const address of [...addresses].slice(0, SAMPLES)) {
    if (!/^[\d.]+$/.test(address)) continue;
    const { kind, link } = lookUp(host, { tuple: { family: 4, destination: address } });
    if (kind === 'unicast' && link && host.sysctls.get(`ipv4/conf/${link.name}/forwarding`) === 0)
      names.add(link.name);
  }
  return [...names].map((name) => ({
    // With slashes: a link's name may have dots.
    ...off('IPv4', `net/ipv4/conf/${name}/forwarding`),
    what: `IPv4 forwarding is off for ${name} (net/ipv4/conf/${name}/forwarding = 0)`,
    why: `the kernel drops every packet that containers behind ${name} send to another host`,
    subject: name,
  }));
}

/** Harmless where nothing forwarded is dropped, which is how the kernel begins. */
export function bridgeCallsIptables({ host }: NatView): Finding[] {
  const bridges = host.links.filter(({ kind }) => kind === 'bridge').map(({ name }) => name);
  const on = (['iptables', 'ip6tables'] as const).filter(
    (program) => host.sysctls.get(`bridge/bridge-nf-call-${program}`) === 1 && dropsForwarded(host, program),
  );
  if (bridges.length === 0 || on.length === 0) return [];
  return [
    {
      code: 'bridge-nf-call',
      severity: 'note',
      what: `frames between ports of one bridge go through ${on.join(' and ')} (net.bridge.bridge-nf-call-${on[0]} = 1), whose FORWARD drops`,
      why:
        `containers of one bridge (${bridges.slice(0, 5).join(', ')}) reach each other only where a rule lets them, and NAT may rewrite their ` +
        'addresses. kube-proxy needs it on; elsewhere it is better off',
      mend: on.map((program) => `sysctl -w net.bridge.bridge-nf-call-${program}=0`),
      safe: false,
      subject: 'bridge-nf-call-iptables',
    },
  ];
}

function dropsForwarded({ ruleset }: NatView['host'], program: 'iptables' | 'ip6tables'): boolean {
  const family = program === 'iptables' ? 'ip' : 'ip6';
  return ruleset.tables.some(
    (table) =>
      (table.family === family || table.family === 'inet') &&
      table.chains.some(({ base }) => base?.hook === 'forward' && base.policy === 'drop'),
  );
}

/** Of the table's size. */
const NEARLY = 0.9;

export function conntrackFull({ host }: NatView): Finding[] {
  const count = host.sysctls.get('netfilter/nf_conntrack_count');
  const max = host.sysctls.get('netfilter/nf_conntrack_max');
  if (count === undefined || max === undefined || max === 0 || count < max * NEARLY) return [];
  const full = count >= max;
  return [
    {
      code: full ? 'conntrack-full' : 'conntrack-nearly-full',
      severity: full ? 'error' : 'warning',
      what: `the table of connections is ${full ? 'full' : 'nearly full'}: ${count} of ${max}`,
      why: 'a packet that begins a connection is dropped where there is no room for it ("nf_conntrack: table full" in the kernel log)',
      mend: [`sysctl -w net.netfilter.nf_conntrack_max=${2 * max}`],
      safe: true,
      subject: 'nf_conntrack',
    },
  ];
}

/** Rules of one are invisible to the other, and both decide. */
export function bothIptables({ host }: NatView): Finding[] {
  const rules = (variant: string) =>
    host.ruleset.tables
      .filter((table) => table.variant === variant)
      .flatMap(({ family, name, chains }) =>
        chains.some((chain) => chain.rules.length > 0) ? [`${family} ${name}`] : [],
      );
  const [nft, legacy] = [rules('iptables-nft'), rules('iptables-legacy')];
  if (nft.length === 0 || legacy.length === 0) return [];
  return [
    {
      code: 'iptables-both-variants',
      severity: 'warning',
      what: `both iptables have rules: iptables-nft in ${nft.join(', ')}; iptables-legacy in ${legacy.join(', ')}`,
      why:
        'both are asked for each packet, and who lists one does not see the other; of two that rewrite a packet the first wins. Programs of ' +
        'this host should use one of them (update-alternatives --config iptables)',
      mend: [],
      safe: false,
      subject: 'iptables',
    },
  ];
}

export function rulesUnread({ host }: NatView): Finding[] {
  return host.ruleset.unread.map((words) => ({
    code: 'rules-unread',
    severity: 'note',
    what: `not all rules could be read: ${words}`,
    why: 'what is not seen here may decide over packets all the same',
    mend: [],
    safe: false,
    subject: words.split(':')[0] ?? words,
  }));
}
