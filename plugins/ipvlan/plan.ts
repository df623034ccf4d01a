/** The ipvlan plugin as a plan: a link of the container's own on a link of the host, whose MAC it shares. */
import type { Result } from '../../cni/types.ts';
import type { IpamResult } from '../../ipam/ipam.ts';
import { hostLinkName } from '../../plan/names.ts';
import type { Step } from '../../plan/step.ts';
import type { PlanInput } from '../definition.ts';
import { aliasOf, insideAddresses, upAtBirth } from '../inside-link.ts';
import type { IpvlanConf } from './schema.ts';

/** Its MAC cannot be set. */
const ANNOUNCING = { by: 'up' } as const;

/** Later in a chain: the one link that the plugins before made. Undefined: the link of the default route. */
function masterOf({ config, attachment, prevResult }: PlanInput<IpvlanConf>): string | undefined {
  if (config.master) return config.master;
  const before = prevResult?.interfaces.filter(({ name, sandbox }) => name !== attachment.ifname || !sandbox);
  return before?.length === 1 ? before[0]?.name : undefined;
}

export function ipvlanLinks(input: PlanInput<IpvlanConf>, answer?: IpamResult): Step[] {
  const { config, attachment } = input;
  const master = masterOf(input);
  return [
    {
      kind: 'upper',
      in: 'container',
      name: attachment.ifname,
      lower: { in: config.linkInContainer ? 'container' : 'host', ...(master && { name: master }) },
      as: { type: 'ipvlan', mode: config.mode || 'l2' },
      ...(config.mtu && { mtu: config.mtu }),
      up: upAtBirth(ANNOUNCING, answer),
      alias: aliasOf(attachment),
      spare: hostLinkName(attachment.network, attachment),
    },
  ];
}

export function ipvlanAddresses({ attachment }: PlanInput<IpvlanConf>, answer: IpamResult): Step[] {
  return insideAddresses(attachment.ifname, answer, ANNOUNCING);
}

/** The addresses that the plugins before got, whatever link they meant them for. */
export function ipvlanHanded({ ips, routes, dns }: Result): IpamResult {
  return { ips: ips.map(({ interface: _, ...ip }) => ip), routes, dns };
}
