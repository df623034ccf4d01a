import { configSchema } from '../../cni/config.ts';
import { validateMacArg } from '../asked-mac.ts';
import type { Definition } from '../definition.ts';
import { bridgeAddresses, bridgeAnswer, bridgeLinks, validateBridge } from './plan.ts';
import { bridgeReady } from './ready.ts';
import { type BridgeConf, schema } from './schema.ts';
import { validate } from './validate.generated.ts';

// Apart: TypeScript gives up on inferring the schema's type where a type is expected already.
const config = configSchema(schema, validate);

export const bridge: Definition<BridgeConf> = {
  type: 'bridge',
  about: 'weft bridge: connects containers to a bridge on the host',
  config,
  knownArgs: ['MAC', 'IP', 'GATEWAY'],
  validate: validateBridge,
  validateArgs: validateMacArg,
  links: bridgeLinks,
  complete: bridgeAnswer,
  addresses: bridgeAddresses,
  ready: bridgeReady,
};
