import { configSchema } from '../../cni/config.ts';
import type { Definition } from '../definition.ts';
import { ptpAddresses, ptpAnswer, ptpLinks, validatePtp } from './plan.ts';
import { type PtpConf, schema } from './schema.ts';
import { validate } from './validate.generated.ts';

// Apart: TypeScript gives up on inferring the schema's type where a type is expected already.
const config = configSchema(schema, validate);

export const ptp: Definition<PtpConf> = {
  type: 'ptp',
  about: 'weft ptp: connects each container to the host by a link of its own',
  config,
  knownArgs: ['IP', 'GATEWAY'],
  validate: validatePtp,
  links: ptpLinks,
  complete: ptpAnswer,
  addresses: ptpAddresses,
};
