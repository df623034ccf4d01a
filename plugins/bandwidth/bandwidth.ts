/** The bandwidth plugin: limits what a container sends and receives. */
import { configSchema } from '../../cni/config.ts';
import type { ChainedDefinition } from '../chained.ts';
import { bandwidthPlan, bandwidthRemoval, bandwidthResult, validateBandwidth } from './plan.ts';
import { type BandwidthConf, schema } from './schema.ts';
import { validate } from './validate.generated.ts';

// Apart: TypeScript gives up on inferring the schema's type where a type is expected already.
const config = configSchema(schema, validate);

export const bandwidth: ChainedDefinition<BandwidthConf> = {
  type: 'bandwidth',
  about: 'weft bandwidth: limits what a container sends and receives',
  config,
  knownArgs: [],
  validate: validateBandwidth,
  plan: bandwidthPlan,
  removal: bandwidthRemoval,
  result: bandwidthResult,
  async removeDebris({ attachment, prevResult }, { host }) {
    const { removeReferenceIfb } = await import('./reference.ts');
    await removeReferenceIfb(host, attachment, prevResult);
  },
  async madeElsewhere({ prevResult }, { host }) {
    const { shapedByReference } = await import('./reference.ts');
    return await shapedByReference(host, prevResult);
  },
  async collect({ config, valid }, session) {
    const { collectIfbs } = await import('../../plan/steps/shape.ts');
    return await collectIfbs(config.name, valid, session);
  },
  async ready(_config, { host }) {
    const { requireShaping } = await import('./ready.ts');
    await requireShaping(host);
  },
};
