/** The vrf plugin: the link that the plugins before made becomes member of a VRF in the container. */

import { configSchema } from '../../cni/config.ts';
import { linkNameFault } from '../../cni/environment.ts';
import { CniError, ErrorCode } from '../../cni/errors.ts';
import type { Step } from '../../plan/step.ts';
import { requireKind } from '../../plan/steps/inside-link.ts';
import type { ChainedDefinition, ChainedInput } from '../chained.ts';
import { schema, type VrfConf } from './schema.ts';
import { validate } from './validate.generated.ts';

// Apart: TypeScript gives up on inferring the schema's type where a type is expected already.
const config = configSchema(schema, validate);

/** What the runtime's arguments say wins. */
const nameOf = ({ vrfname, args }: VrfConf) => args?.cni?.vrfname || vrfname;

export function vrfPlan({ config, attachment }: ChainedInput<VrfConf>): Step[] {
  const { table } = config;
  return [
    {
      kind: 'vrf',
      in: 'container',
      name: nameOf(config),
      dev: attachment.ifname,
      ...(table && { table }),
    },
  ];
}

export const vrf: ChainedDefinition<VrfConf> = {
  type: 'vrf',
  about: "weft vrf: gives a container's link a routing table of its own",
  config,
  knownArgs: [],
  validate(config) {
    const fault = linkNameFault(nameOf(config));
    if (fault !== undefined) throw new CniError(ErrorCode.invalidConfig, `vrfname ${fault}`);
  },
  plan: vrfPlan,
  // A configuration that ADD would refuse has made nothing.
  removal: (input) => (input.config.vrfname ? vrfPlan(input) : []),
  ready: (_, { host }) => requireKind(host, 'vrf'),
};
