import { configSchema } from '../../cni/config.ts';
import type { Definition } from '../definition.ts';
import { insideAnswer } from '../inside-link.ts';
import { stackedReady } from '../stacked.ts';
import { ipvlanAddresses, ipvlanHanded, ipvlanLinks } from './plan.ts';
import { type IpvlanConf, schema } from './schema.ts';
import { validate } from './validate.generated.ts';

// Apart: TypeScript gives up on inferring the schema's type where a type is expected already.
const config = configSchema(schema, validate);

export const ipvlan: Definition<IpvlanConf> = {
  type: 'ipvlan',
  about: 'weft ipvlan: gives each container a link of its own that shares the MAC of a link of the host',
  config,
  knownArgs: ['IP', 'GATEWAY'],
  links: ipvlanLinks,
  complete: insideAnswer,
  handed: ipvlanHanded,
  addresses: ipvlanAddresses,
  ready: stackedReady('ipvlan'),
};
