import { configSchema } from '../../cni/config.ts';
import { validateMacArg } from '../asked-mac.ts';
import type { Definition } from '../definition.ts';
import { insideAnswer } from '../inside-link.ts';
import { tapAddresses, tapLinks, validateTap } from './plan.ts';
import { schema, type TapConf } from './schema.ts';
import { validate } from './validate.generated.ts';

// Apart: TypeScript gives up on inferring the schema's type where a type is expected already.
const config = configSchema(schema, validate);

export const tap: Definition<TapConf> = {
  type: 'tap',
  about: 'weft tap: gives each container a link whose other end is a program',
  config,
  knownArgs: ['MAC', 'IP', 'GATEWAY'],
  validate: validateTap,
  validateArgs: validateMacArg,
  links: tapLinks,
  complete: insideAnswer,
  addresses: tapAddresses,
  async ready() {
    const { requireTun } = await import('../../plan/steps/tap.ts');
    requireTun();
  },
};
