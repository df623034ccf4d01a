/** The vlan plugin: one VLAN of a link of the host is the container's. */
import { configSchema } from '../../cni/config.ts';
import { hostLinkName } from '../../plan/names.ts';
import type { Definition } from '../definition.ts';
import { aliasOf, insideAddresses, insideAnswer, upAtBirth } from '../inside-link.ts';
import { stackedReady } from '../stacked.ts';
import { schema, type VlanConf } from './schema.ts';
import { validate } from './validate.generated.ts';

// Apart: TypeScript gives up on inferring the schema's type where a type is expected already.
const config = configSchema(schema, validate);

/** Its MAC is that of the link below. */
const ANNOUNCING = { by: 'up' } as const;

export const vlan: Definition<VlanConf> = {
  type: 'vlan',
  about: 'weft vlan: gives each container one VLAN of a link of the host',
  config,
  knownArgs: ['IP', 'GATEWAY'],
  links: ({ config, attachment }, answer) => [
    {
      kind: 'upper',
      in: 'container',
      name: attachment.ifname,
      lower: { in: config.linkInContainer ? 'container' : 'host', name: config.master },
      as: { type: 'vlan', id: config.vlanId },
      ...(config.mtu && { mtu: config.mtu }),
      up: upAtBirth(ANNOUNCING, answer),
      alias: aliasOf(attachment),
      spare: hostLinkName(attachment.network, attachment),
    },
  ],
  complete: insideAnswer,
  addresses: ({ attachment }, answer) => insideAddresses(attachment.ifname, answer, ANNOUNCING),
  ready: stackedReady('vlan'),
};
