import { configSchema } from '../../cni/config.ts';
import { validateMacArg } from '../asked-mac.ts';
import type { Definition } from '../definition.ts';
import { insideAnswer } from '../inside-link.ts';
import { stackedReady } from '../stacked.ts';
import { macvlanAddresses, macvlanLinks } from './plan.ts';
import { type MacvlanConf, schema } from './schema.ts';
import { validate } from './validate.generated.ts';

// Apart: TypeScript gives up on inferring the schema's type where a type is expected already.
const config = configSchema(schema, validate);

export const macvlan: Definition<MacvlanConf> = {
  type: 'macvlan',
  about: 'weft macvlan: gives each container a link of its own on a link of the host',
  config,
  knownArgs: ['MAC', 'IP', 'GATEWAY'],
  validateArgs: validateMacArg,
  links: macvlanLinks,
  complete: insideAnswer,
  addresses: macvlanAddresses,
  ready: stackedReady('macvlan'),
};
