import { configSchema } from '../../cni/config.ts';
import { validateMacArg } from '../asked-mac.ts';
import type { Definition } from '../definition.ts';
import { withMembership } from '../membership.ts';
import { clusterNetwork } from './network.ts';
import { poolsOf, routedAddresses, routedAnswer, routedLinks } from './plan.ts';
import { type RoutedConf, schema } from './schema.ts';
import { validate } from './validate.generated.ts';

// Apart: TypeScript gives up on inferring the schema's type where a type is expected already.
const config = configSchema(schema, validate);

export const routed: Definition<RoutedConf> = {
  type: 'routed',
  about: 'weft routed: connects containers of many hosts by routes, without a bridge or a tunnel',
  config,
  knownArgs: ['MAC', 'IP', 'GATEWAY'],
  validate: (conf) => void clusterNetwork(conf),
  validateArgs: validateMacArg,
  resolve: (conf, ambient, verb) =>
    withMembership(conf, { layout: 'single' }, () => poolsOf(conf), ambient, verb),
  links: routedLinks,
  complete: routedAnswer,
  addresses: routedAddresses,
};
