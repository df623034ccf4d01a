/** The sbr plugin: a container with several links answers by the one that it was asked on. */
import { configSchema } from '../../cni/config.ts';
import { CniError, ErrorCode } from '../../cni/errors.ts';
import { tolerating } from '../../netlink/message.ts';
import { listRules } from '../../netlink/rule.ts';
import type { ChainedDefinition } from '../chained.ts';
import { sbrPlan, sbrRemoval, sbrResult, validateSbr } from './plan.ts';
import { type SbrConf, schema } from './schema.ts';
import { validate } from './validate.generated.ts';

// Apart: TypeScript gives up on inferring the schema's type where a type is expected already.
const config = configSchema(schema, validate);

export const sbr: ChainedDefinition<SbrConf> = {
  type: 'sbr',
  about: 'weft sbr: routes by source address, for containers with several links',
  config,
  knownArgs: [],
  validate: validateSbr,
  plan: sbrPlan,
  removal: sbrRemoval,
  result: sbrResult,
  async ready(_config, { host }) {
    const [rules] = await host.send(tolerating(listRules(), 'EOPNOTSUPP'));
    if (rules.ok) return;
    throw new CniError(
      ErrorCode.notAvailable,
      'the kernel of this host has no policy rules (CONFIG_IP_MULTIPLE_TABLES): routes cannot be chosen by source',
    );
  },
};
