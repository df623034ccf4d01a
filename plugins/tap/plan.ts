/** The tap plugin as a plan: a link of the container's whose other end is a program, such as a virtual machine's. */
import { CniError, ErrorCode } from '../../cni/errors.ts';
import type { IpamResult } from '../../ipam/ipam.ts';
import { linkMac } from '../../plan/names.ts';
import type { Step } from '../../plan/step.ts';
import { askedMac } from '../asked-mac.ts';
import type { PlanInput } from '../definition.ts';
import { aliasOf, insideAddresses } from '../inside-link.ts';
import type { TapConf } from './schema.ts';

/** Throws CniError(unsupportedField). */
export function validateTap({ selinuxContext }: TapConf): void {
  if (!selinuxContext) return;
  // A tap link has the context of the process that makes it, not that of its sockets (selinux_tun_dev_create,
  // selinux_tun_dev_alloc_security in security/selinux/hooks.c): only a process started for it could be given another.
  throw new CniError(
    ErrorCode.unsupportedField,
    `selinuxContext: found ${JSON.stringify(selinuxContext)}, which is not supported: the link has the context of the ` +
      'process that calls this plugin; remove the field',
  );
}

export function tapLinks({ config, args, attachment }: PlanInput<TapConf>): Step[] {
  const { network, ifname } = attachment;
  const { mac, mtu, owner, group, multiQueue, bridge } = config;
  return [
    {
      kind: 'tap',
      in: 'container',
      name: ifname,
      mac: askedMac(config, args) ?? (mac ? mac.toLowerCase() : linkMac(network, attachment, 'container')),
      ...(mtu && { mtu }),
      up: true,
      alias: aliasOf(attachment),
      ...(owner !== undefined && { owner }),
      ...(group !== undefined && { group }),
      ...(multiQueue && { multiQueue }),
      ...(bridge && { master: bridge }),
    },
  ];
}

/** Nobody is told of the addresses: no program has opened the link yet. */
export function tapAddresses({ attachment }: PlanInput<TapConf>, answer: IpamResult): Step[] {
  return insideAddresses(attachment.ifname, answer, { by: 'nothing' });
}
