/** The macvlan plugin as a plan: a link of the container's own on a link of the host, each with its MAC. */
import type { IpamResult } from '../../ipam/ipam.ts';
import { hostLinkName, linkMac } from '../../plan/names.ts';
import type { Step } from '../../plan/step.ts';
import { askedMac } from '../asked-mac.ts';
import type { PlanInput } from '../definition.ts';
import { type Announcing, aliasOf, insideAddresses, upAtBirth } from '../inside-link.ts';
import type { MacvlanConf } from './schema.ts';

/** Undefined: that of the link below, which a macvlan of mode passthru takes over, and would change if it were given another. */
function macOf({ config, args, attachment }: PlanInput<MacvlanConf>): string | undefined {
  const asked = askedMac(config, args) ?? (config.mac ? config.mac.toLowerCase() : undefined);
  if (asked || config.mode === 'passthru') return asked;
  return linkMac(attachment.network, attachment, 'container');
}

function announcing(input: PlanInput<MacvlanConf>): Announcing {
  const mac = macOf(input);
  return mac === undefined || input.config.mode === 'passthru' ? { by: 'up' } : { by: 'mac', mac };
}

export function macvlanLinks(input: PlanInput<MacvlanConf>, answer?: IpamResult): Step[] {
  const { config, attachment } = input;
  const mac = macOf(input);
  return [
    {
      kind: 'upper',
      in: 'container',
      name: attachment.ifname,
      lower: {
        in: config.linkInContainer ? 'container' : 'host',
        ...(config.master && { name: config.master }),
      },
      as: {
        type: 'macvlan',
        mode: config.mode || 'bridge',
        ...(config.bcqueuelen && { broadcastQueueLength: config.bcqueuelen }),
      },
      ...(mac && { mac }),
      ...(config.mtu && { mtu: config.mtu }),
      up: upAtBirth(announcing(input), answer),
      alias: aliasOf(attachment),
      spare: hostLinkName(attachment.network, attachment),
    },
  ];
}

export function macvlanAddresses(input: PlanInput<MacvlanConf>, answer: IpamResult): Step[] {
  return insideAddresses(input.attachment.ifname, answer, announcing(input));
}
