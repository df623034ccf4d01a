import { configSchema } from '../../cni/config.ts';
import { validateMacArg } from '../asked-mac.ts';
import type { Definition } from '../definition.ts';
import { withMembership } from '../membership.ts';
import { isL2 } from './network.ts';
import { poolsOf, validateVxlan, vxlanAddresses, vxlanAnswer, vxlanLinks } from './plan.ts';
import { schema, type VxlanConf } from './schema.ts';
import { validate } from './validate.generated.ts';

// Apart: TypeScript gives up on inferring the schema's type where a type is expected already.
const config = configSchema(schema, validate);

export const vxlan: Definition<VxlanConf> = {
  type: 'vxlan',
  about: 'weft vxlan: connects containers of many hosts by a tunnel between the hosts',
  config,
  knownArgs: ['MAC', 'IP', 'GATEWAY'],
  validate: validateVxlan,
  validateArgs: validateMacArg,
  resolve: (conf, ambient, verb) =>
    withMembership(conf, { layout: isL2(conf) ? 'stretched' : 'subnet' }, () => poolsOf(conf), ambient, verb),
  links: vxlanLinks,
  complete: vxlanAnswer,
  addresses: vxlanAddresses,
};
